"""The next process knows everything that one has stored, wherever it runs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.programs import run_program
from langchain_kronvex import KronvexMemory

from .crew import HERE

STORE = """
import json, sys
from langchain_core.messages import AIMessage, HumanMessage
from langchain_kronvex import KronvexMemory

with KronvexMemory(*sys.argv[1:2]) as memory:
    memory.remember("Ana is allergic to peanuts.", user_id="ana", pinned=True,
                    memory_type="semantic", metadata={"source": ["form", 7]})
    memory.save_exchange("Where do I live?", "You live in Porto.", user_id="ana", session_id="s")
    memory.chat_history("s", "ana").add_messages([HumanMessage("hi"), AIMessage("hello Ana")])
    print(json.dumps(memory.location))
"""
RECALL = """
import json, sys
from langchain_kronvex import KronvexMemory

with KronvexMemory(*sys.argv[1:2]) as memory:
    found = memory.recall("What is Ana allergic to?", user_id="ana", top_k=1)[0]
    print(json.dumps({
        "location": memory.location,
        "allergy": [found.content, found.memory_type, found.pinned, dict(found.metadata)],
        "home": [m.content for m in memory.recall("live", user_id="ana", session_id="s", top_k=1)],
        "messages": [[m.type, m.text] for m in memory.chat_history("s", "ana").messages],
        "others": [m.content for m in memory.recall("allergic peanuts live", user_id="ben")],
    }))
"""
CHAT = f"""
import json, sys
sys.path.insert(0, {str(HERE)!r})
from parts import seen_by_model
from langchain_kronvex import KronvexMemory, with_memory

chain, shown = seen_by_model()
with KronvexMemory(sys.argv[1]) as memory:
    config = {{"configurable": {{"user_id": "ana", "session_id": sys.argv[2]}}}}
    with_memory(chain, memory).invoke({{"input": sys.argv[3]}}, config)
print(json.dumps(shown[0]))
"""


def run_python(script: str, *arguments: str, cwd: Path | None = None, **environment: str) -> Any:
    """Run a script in a new process, warnings as errors; return the JSON it printed last."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.py")
        program.write_text(script, encoding="utf-8")
        done = run_program(
            program, *arguments, folder=cwd or Path(folder),
            environment={**os.environ, **environment}, strict=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


EXPECTED = {
    "allergy": ["Ana is allergic to peanuts.", "semantic", True, {"source": ["form", 7]}],
    "home": ["User: Where do I live?\nAssistant: You live in Porto."],
    "messages": [["human", "hi"], ["ai", "hello Ana"]],
    "others": [],
}


@pytest.mark.slow
def test_a_new_process_recalls_what_an_earlier_one_stored(store_url: str) -> None:
    location = run_python(STORE, store_url)
    assert run_python(RECALL, store_url) == {"location": location, **EXPECTED}


@pytest.mark.slow
def test_the_history_of_an_earlier_process_reaches_the_prompt(store_url: str) -> None:
    first = run_python(CHAT, store_url, "monday", "My dog is called Biscuit.")
    assert "Biscuit" in first  # as the question itself
    second = run_python(CHAT, store_url, "monday", "And now?")
    assert second.index("My dog is called Biscuit.") < second.index("answer 1")
    assert second.endswith("Human: And now?")


@pytest.mark.slow
def test_the_memory_of_an_earlier_session_reaches_the_prompt(store_url: str) -> None:
    run_python(CHAT, store_url, "monday", "My dog is called Biscuit.")
    prompt = run_python(CHAT, store_url, "tuesday", "What is my dog called?")
    system, _, rest = prompt.partition("Human: ")
    assert "Biscuit" in system
    assert "Biscuit" not in rest  # another session: not in the history


@pytest.mark.slow
def test_without_a_url_the_working_directory_does_not_matter(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    data = str(tmp_path / "shared-data")
    location = run_python(STORE, cwd=here, XDG_DATA_HOME=data)
    assert location.startswith(f"sqlite:///{data}/")
    assert run_python(RECALL, cwd=there, XDG_DATA_HOME=data) == {"location": location, **EXPECTED}
    assert not any([*here.iterdir(), *there.iterdir()])


@pytest.mark.slow
def test_a_url_from_the_environment_is_used(store_url: str, tmp_path: Path) -> None:
    location = run_python(STORE, KRONVEX_URL=store_url)
    assert location == store_url
    assert run_python(RECALL, store_url, cwd=tmp_path)["allergy"] == EXPECTED["allergy"]


def test_a_relative_path_is_resolved_when_the_memory_is_opened(
    open_memory: Callable[..., KronvexMemory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    memory = open_memory("sqlite:///x.db")
    monkeypatch.chdir(there)
    memory.remember("written from elsewhere", user_id="ana")
    assert memory.location == f"sqlite:///{here / 'x.db'}"
    assert (here / "x.db").exists()
    assert not any(there.iterdir())
    reopened = open_memory(memory.location)
    assert reopened.recall("elsewhere", user_id="ana")[0].content == "written from elsewhere"


def test_everything_stored_comes_back_unchanged(
    open_memory: Callable[..., KronvexMemory],
) -> None:
    awkward = [
        "  leading and trailing  ",
        "line\nbreak\ttab\r\n",
        "emoji 👩‍👩‍👧 and ‮right-to-left",
        "ß İ ñ \u0301 zero\u200bwidth",
        "'; DROP TABLE records; --",
        "x" * 1_048_576,
        "\x01\x02 control",
    ]
    with open_memory() as memory:
        for text in awkward:
            memory.remember(text, user_id="o'Brien %_*", metadata={"text": text[:100]})
    reopened = open_memory()
    stored = reopened.memories(user_id="o'Brien %_*")
    assert sorted(m.content for m in stored) == sorted(awkward)
    assert all(m.metadata["text"] == m.content[:100] for m in stored)
