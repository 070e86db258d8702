"""Every block of the migration page runs unchanged and keeps the existing data."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from importers.files import CHATGPT, KRONVEX, MEM0, ZEP, sqlite_store, written
from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app
from server.running import serving

from .openai_stub import openai_stub
from .pages import run_consoles
from .programs import run_program, settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
SECTIONS = {
    title.replace("`", ""): text
    for title, text in re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
CARRYING_OVER = "\nWhat you have already"
PEANUTS = "I am allergic to peanuts."
ANNOUNCED = "RunnableWithMessageHistory is deprecated"  # by LangChain, whatever we do
ONE_COMMAND = "With one command"
NEXT = "\n=== next block ===\n"
# What the blocks of a section print, in order. The model quotes its prompt.
PRINTED = {
    "From RunnableWithMessageHistory": [
        f"You are brief. | {PEANUTS}",
        "",
        f"| {PEANUTS} |",  # as history
        f"] User: {PEANUTS} Assistant:",  # as a memory of another session
    ],
    "From ConversationBufferMemory": ["4", "", f"| {PEANUTS} |"],
    "From the Kronvex SDK": [
        PEANUTS,
        "] Ana is vegetarian.",
        "MoveSummary(memories=3, messages=2,",
        f"User: {PEANUTS}",
    ],
    "From chats under keys": [PEANUTS, "", f"] {PEANUTS}", "{'language': 'pt'}"],
    "From LlamaIndex's SimpleChatStore": ["", "", f"{PEANUTS}\nUser: {PEANUTS}"],
}


def run(blocks: list[str], folder: Path, **more: str) -> list[str]:
    """Run blocks in a new process, each as a program; return what each printed."""
    programs = []
    for number, code in enumerate(blocks):
        programs.append(folder / f"block_{number}.py")
        programs[-1].write_text(code, encoding="utf-8")
    runner = folder / "runner.py"
    runner.write_text(
        "import runpy, sys\n"
        "for path in sys.argv[1:]:\n"
        f"    runpy.run_path(path, run_name='__main__'); print({NEXT!r}, end='', flush=True)\n"
    )
    with openai_stub() as model_url:
        environment = settings(folder, model_url, **more)
        done = run_program(runner, *programs, folder=folder, environment=environment, strict=True)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if ANNOUNCED not in line]
    return done.stdout.split(NEXT)[:-1]


def run_section(title: str, folder: Path, **more: str) -> None:
    """Run a section; migrate twice, as after an interruption."""
    before, after = (CODE.findall(text) for text in SECTIONS[title].split(CARRYING_OVER))
    printed = run([*before, after[0], *after], folder, **more)
    del printed[len(before) + 1]
    for told, expected in zip(printed, PRINTED[title], strict=True):
        assert expected in told
    agent_id = more.get("KRONVEX_AGENT_ID", "default")
    with KronvexMemory(f"sqlite:///{folder / 'memory.db'}", agent_id=agent_id) as memory:
        contents = [each.content for each in memory.memories(user_id="ana")]
        history = memory.chat_history("monday", user_id="ana").messages
    assert any(PEANUTS in content for content in contents)
    assert len(set(contents)) == len(contents)
    questions = [message.text for message in history if message.type == "human"]
    assert questions
    assert len(set(questions)) == len(questions)


def test_each_section_is_known() -> None:
    assert set(SECTIONS) == {ONE_COMMAND, *PRINTED}


def test_the_commands_print_what_the_page_says(
    shell: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unowned = {"memory": "Whose is this?"}
    messages = {"messages": ZEP["threads"][0]["messages"][:2]}
    thread = {**ZEP["threads"][0], **messages}
    for name, value in (
        ("mem0", {"results": [*MEM0["results"], unowned]}), ("export", KRONVEX),
        ("zep", {**ZEP, "threads": [thread]}),
    ):  # fmt: skip
        written(tmp_path / f"{name}.json", value)
    sqlite_store(tmp_path / "langgraph.db")
    with zipfile.ZipFile("chatgpt.zip", "w") as archive:
        archive.writestr("conversations.json", json.dumps(CHATGPT))
    printed = ["0 0 {}\n", "{'text': 'Ana is allergic to peanuts.'}\n"]
    for kind, code in re.findall(
        r"^```(console|python)\n(.*?)^```", SECTIONS[ONE_COMMAND], re.DOTALL | re.MULTILINE
    ):
        if kind == "console":
            assert run_consoles(f"```console\n{code}```", shell)
        else:
            exec(code, {"__name__": "__main__"})
            assert capsys.readouterr().out == printed.pop(0)
    assert not printed


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title in PRINTED if "SDK" not in title])
def test_section_runs(title: str, tmp_path: Path) -> None:
    run_section(title, tmp_path)


@pytest.mark.slow
def test_section_of_the_sdk_runs(tmp_path: Path) -> None:
    kept = KronvexMemory(f"sqlite:///{tmp_path / 'service.db'}", agent_id="support-bot")
    with kept, serving(create_app(kept)) as url:
        run_section(
            "From the Kronvex SDK", tmp_path,
            KRONVEX_API_KEY="kv-any", KRONVEX_BASE_URL=url, KRONVEX_AGENT_ID="support-bot",
        )  # fmt: skip
