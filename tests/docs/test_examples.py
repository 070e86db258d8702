"""Every example runs offline from an empty folder; the demo prints its promised result.

The one about PostgreSQL is given an empty database.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from databases import DATABASES

from .openai_stub import openai_stub
from .programs import example, run_program

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(
    path
    for path in EXAMPLES.glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
    and path.stem != "demo"  # has tests of its own
    and (path.stem != "deep_agent" or sys.version_info >= (3, 11))
)


def run(folder: Path, *arguments: object, **settings: str) -> CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")} | settings
    environment["XDG_DATA_HOME"] = str(folder / "data")
    return run_program(*arguments, folder=folder, environment=environment)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_example_runs(program: Path, tmp_path: Path) -> None:
    settings = {"KRONVEX_URL": DATABASES.fresh()} if "postgres" in program.stem else {}
    if "shard" in program.stem:
        settings = {"KRONVEX_SHARDS": " ".join(DATABASES.fresh() for _ in range(5))}
    done = run(tmp_path, program, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_the_demo_shows_each_question_its_fact_and_its_place(tmp_path: Path) -> None:
    done = run(tmp_path, EXAMPLES / "demo.py")
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lines) <= 80
    found = re.fullmatch(
        r"OK: (\d+) facts from process 1 reached the prompts of process 2, 0 of the other user",
        lines[-1],
    )
    assert found, lines[-1]
    assert int(found[1]) >= 10

    rows = [line for line in lines if line.startswith(("✓", "✗"))]
    assert all(re.match(r"✓ (ana|ben) .+\? +\S.* (\d+|none) of \d+$", row) for row in rows)
    assert len(rows) >= int(found[1]) + 2
    # An earlier question is no memory; an update is answered with what is new.
    assert "User: What " not in done.stdout
    assert any(re.match(r"✓ ana +Where do I live now\? +Porto +1 of", row) for row in rows)
    assert "] User: We live in Ghent" in done.stdout
    assert re.search(r"✓ ben +When is my sister Carla's birthday\? .*none of", done.stdout)
    assert any(line.startswith("Try next") for line in lines)


@pytest.mark.slow
def test_the_demo_fails_when_a_reply_is_wrong(tmp_path: Path) -> None:
    reply = "the 14th of March"  # which is right once
    examples = shutil.copytree(EXAMPLES, tmp_path / "examples")
    with (examples / "offline_chat_model.py").open("a") as stand_in:
        stand_in.write(f"\n\ndef answer(messages):\n    return {reply!r}\n")
    done = run(tmp_path, examples / "demo.py")
    assert done.returncode == 1
    assert f"the reply is: {reply}" in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert re.match(r"FAILED: 20 facts .*, 0 of the other user: the reply to .* is wrong", last)


@pytest.mark.slow
def test_the_demo_fails_when_a_fact_is_missing_or_another_users_is_shown(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    asked = [
        {"question": "What is my puppy called?", "expects": "Miso", "foreign": ["shiba inu"]},
        {"question": "What is my dog called?", "expects": "Zanzibar", "foreign": []},
    ]
    questions.write_text("".join(json.dumps({"user_id": "ana", **each}) + "\n" for each in asked))
    done = run(tmp_path, EXAMPLES / "demo.py", "--questions", questions)
    assert done.returncode == 1
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("FAILED: 1 facts"), last
    assert re.search(r"[1-9] of the other user", last)


@pytest.mark.slow
def test_the_demo_talks_to_openai_when_there_is_a_key(tmp_path: Path) -> None:
    with openai_stub() as url:
        done = run(tmp_path, EXAMPLES / "demo.py", OPENAI_API_KEY="not-a-key", OPENAI_BASE_URL=url)
    assert done.stdout.strip().splitlines()[-1].startswith("OK: "), done.stdout + done.stderr
    assert "System: " in done.stdout
    assert "OfflineChatModel" not in done.stdout
    assert "✗" not in done.stdout


@pytest.mark.slow
def test_the_demo_accepts_another_transcript(tmp_path: Path) -> None:
    transcript = tmp_path / "mine.jsonl"
    said = [
        ("cleo", "user", "My bicycle is a green tandem from Ghent."),
        ("cleo", "assistant", "A tandem!"),
        ("dan", "user", "My bicycle is a folding one."),
        ("dan", "assistant", "Handy."),
    ]
    lines = [
        {
            "session_id": f"{user}-1", "user_id": user, "role": role, "content": content,
            "created_at": "2026-03-01T10:00:00+00:00",
        }
        for user, role, content in said
    ]  # fmt: skip
    transcript.write_text("\n".join(map(json.dumps, lines)))
    done = run(tmp_path, EXAMPLES / "demo.py", "--transcript", transcript)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("OK: 2 facts")
    again = run(tmp_path, EXAMPLES / "demo.py", "--transcript", transcript, "--verbose")
    assert "Reply: From what you told me (2026-03-01): My bicycle is a folding one." in again.stdout
    assert again.stdout.count("| System: ") == again.stdout.count("| Reply: ") >= 2


def test_a_bad_transcript_is_rejected_with_its_line(tmp_path: Path) -> None:
    transcript = tmp_path / "bad.jsonl"
    transcript.write_text('{"session_id": "s"}\n')
    done = run(tmp_path, EXAMPLES / "demo.py", "--transcript", transcript)
    assert done.returncode == 2
    assert "bad.jsonl:1" in (done.stdout + done.stderr).replace("line ", "").replace(", ", ":")


MEMORIES = """\
[episodic, 2026-03-01] User: I live in Ghent. Assistant: Noted.
[episodic, 2026-05-01] User: I live in Porto now. Assistant: Noted.
[episodic, 2026-05-02] User: Where does Nora live? Assistant: I have nothing about that yet.
[semantic, 2026-04-01] My sister Carla was born in May.
[episodic, 2026-04-02] User: Our tester is called Viktor. Assistant: Does he live near?"""


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("Where do I live?", "I live in Porto now."),
        ("When was my sister Carla born?", "My sister Carla was born in May."),
        ("What is the tester's name, how is he called?", "Our tester is called Viktor."),
        ("When was my sister Nora born?", None),  # a line about somebody else
        ("Where does Nora live?", None),  # nothing but an earlier question
        ("What is my blood type?", None),
        ("What is my sister's phone number?", None),  # too little in common
    ],
)
def test_the_stand_in_quotes_the_right_line_or_says_that_there_is_none(
    question: str, reply: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = example("offline_chat_model", monkeypatch).OfflineChatModel()
    said = stand_in.invoke([SystemMessage(MEMORIES), HumanMessage(question)]).text
    if reply is None:
        assert said == "I have nothing about that yet."
    else:
        assert said.startswith("From what you told me (2026-0")
        assert said.endswith(f": {reply}")


def test_the_stand_in_knows_nothing_but_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = example("offline_chat_model", monkeypatch).OfflineChatModel()
    assert stand_in.invoke("Which food am I allergic to?").text == "I have nothing about that yet."
