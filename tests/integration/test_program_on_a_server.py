"""A chat program in one process and the server of its memory in another."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from defaults import limit_pauses
from langchain_kronvex import KronvexMemory
from server.running import Process

from .crew import HERE, PATIENCE, run_python

OpenMemory = Callable[..., KronvexMemory]
WRITERS = 8

PROGRAM = f"""
import json, sys
sys.path[:0] = [{str(HERE.parent)!r}, {str(HERE)!r}]
from parts import PROMPT
from surfaces.models import FakeModel
from langchain_kronvex import KronvexMemory, KronvexMemoryContext, with_memory

url, session, says, reply = sys.argv[1:]
model = FakeModel(replies=[reply])
ana = {{"configurable": {{"user_id": "ana", "session_id": session}}}}
with KronvexMemory(url) as memory:
    before = [each.page_content for each in memory.as_retriever(k=3, user_id="ana").invoke(says)]
    context = KronvexMemoryContext(memory=memory).invoke({{"input": says}}, ana)["memory_context"]
    answer = with_memory(PROMPT | model, memory).invoke({{"input": says}}, ana)
    other = KronvexMemoryContext(memory=memory, user_id="ben").invoke({{"input": says}})
    print(json.dumps({{
        "retrieved": before, "context": context, "answer": answer.text, "shown": model.shown,
        "bens": other["memory_context"], "errors": memory.stats().last_error,
    }}))
"""


@pytest.fixture
def serve(tmp_path: Path, store_url: str) -> Iterator[Callable[..., Process]]:
    """Starts servers on one store; those that still run are stopped."""
    started: list[Process] = []

    def start(*options: str) -> Process:
        log = tmp_path / f"server-{len(started)}.log"
        started.append(Process(store_url, log, *options))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def run_program(process: Process, home: Path, session: str, says: str, reply: str) -> Any:
    """Run the program once, on a machine that has nothing but the server's address."""
    arguments = (process.base_url, session, says, reply)
    return run_python(PROGRAM, *arguments, XDG_DATA_HOME=str(home))


def test_a_restarted_program_remembers(serve: Callable[..., Process], tmp_path: Path) -> None:
    process = serve()
    said = "My dog is called Biscuit."
    first = run_program(process, tmp_path / "here", "monday", said, "What a name!")
    assert first["answer"] == "What a name!"
    assert first["retrieved"] == []
    assert first["errors"] is None

    again = run_program(process, tmp_path / "there", "monday", "And now?", "A walk.")
    assert again["shown"].index(said) < again["shown"].index("What a name!")

    asks = "What is my dog called?"
    later = run_program(process, tmp_path / "elsewhere", "tuesday", asks, "Biscuit.")
    remembered = f"User: {said}\nAssistant: What a name!"
    assert later["retrieved"][0] == remembered
    assert "Biscuit" in later["context"]
    system, _, rest = later["shown"].partition("human: ")
    assert "Biscuit" in system
    assert "Biscuit" not in rest  # another session: not in the history
    assert "Biscuit" not in later["bens"]
    assert later["errors"] is None


class Writer(threading.Thread):
    """Saves one exchange after the other until it is told to stop."""

    def __init__(self, memory: KronvexMemory, number: int) -> None:
        super().__init__(daemon=True)
        self._memory = memory
        self._stopping = threading.Event()
        self.user = f"writer{number}"
        self.acknowledged: list[str] = []

    def run(self) -> None:
        while not self._stopping.wait(0.05):
            number = len(self.acknowledged)
            asked, answered = f"{self.user} asks question {number}", f"answer {number}"
            self._memory.save_exchange(asked, answered, user_id=self.user)
            self.acknowledged.append(f"User: {asked}\nAssistant: {answered}")

    def stop(self) -> None:
        self._stopping.set()
        self.join(PATIENCE)
        assert not self.is_alive()


def wait_for(writers: list[Writer], more: int) -> None:
    """Wait until each writer has had this many more exchanges acknowledged."""
    wanted = {writer.user: len(writer.acknowledged) + more for writer in writers}
    deadline = time.monotonic() + PATIENCE
    while any(len(writer.acknowledged) < wanted[writer.user] for writer in writers):
        assert time.monotonic() < deadline
        assert all(writer.is_alive() for writer in writers)
        time.sleep(0.002)


def on_server(process: Process) -> Counter[str]:
    """What the server holds, asked without the client."""
    address = f"{process.base_url}/api/v1/agents/default/memories/export"
    answer = httpx.get(address, timeout=PATIENCE, verify=False)
    if answer.status_code == 404:  # the agent is made by the first memory
        return Counter()
    return Counter(memory["content"] for memory in answer.raise_for_status().json()["memories"])


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_server_neither_loses_nor_duplicates_memories(
    serve: Callable[..., Process], open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_pauses(monkeypatch, 0.1)
    process = serve()
    port = str(urlsplit(process.base_url).port)
    told: list[Exception] = []
    memory = open_memory(process.base_url, on_error=told.append)
    writers = [Writer(memory, number) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    while sum(on_server(process).values()) < WRITERS:  # some are there, others are under way
        wait_for(writers, 1)
    process.kill()
    wait_for(writers, 5)  # saving goes on without the server
    process = serve("--port", port)
    wait_for(writers, 2)
    for writer in writers:
        writer.stop()

    assert memory.flush(PATIENCE)
    assert told  # of the server that was away
    acknowledged = Counter(text for writer in writers for text in writer.acknowledged)
    assert set(acknowledged.values()) == {1}
    assert on_server(process) == acknowledged
    for writer in writers:
        found = memory.memories(user_id=writer.user, limit=10_000)
        assert sorted(each.content for each in found) == sorted(writer.acknowledged)
    assert memory.stats().pending == 0
