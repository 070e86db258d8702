"""Which files of the package one warm call passes, in whatever threads it runs.

A file is passed when code of it runs between the start of the call and its end, in the caller's
thread or in any other. Each call has been made before, so that what happens only once, imports and
opening, is not counted. `recall` repeats a question; `POST /recall` asks a new one each time.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from langchain_kronvex import KronvexMemory

from .source import ROOT

QUESTION = "What must Ana not eat?"
WARM_UP = 3
RUNS = 5
PATIENCE_SECONDS = 30.0


class Trace:
    """The files of the package that run while a call is traced.

    Only threads that are started inside `watching` are seen, so everything that has threads of its
    own is opened there.
    """

    def __init__(self) -> None:
        self._on = False
        self._passed: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]

    def of(self, call: Callable[[], object]) -> set[str]:
        """Return the fewest files that a call passes: background work adds to some runs."""
        for _ in range(WARM_UP):
            call()
        return min((self._of_one(call) for _ in range(RUNS)), key=len)

    def _of_one(self, call: Callable[[], object]) -> set[str]:
        self._passed = set()
        self._on = True
        call()
        self._on = False
        return self._passed

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if self._on and event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT):
                self._passed.add(path.relative_to(ROOT).as_posix())


def files_passed() -> dict[str, set[str]]:
    """Return the files that each of four calls passes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            **_on_sqlite(f"sqlite:///{folder / 'memory.db'}"),
            "POST /recall": _of_the_server(f"sqlite:///{folder / 'served.db'}"),
            "remember and flush, REST": _on_a_server(folder),
        }


def _on_sqlite(url: str) -> dict[str, set[str]]:
    trace = Trace()
    with trace.watching(), KronvexMemory(url) as memory:
        return {
            "remember, SQLite": trace.of(_remembering(memory)),
            "recall, SQLite": trace.of(lambda: memory.recall(QUESTION, user_id="ana")),
        }


def _of_the_server(url: str) -> set[str]:
    from fastapi.testclient import TestClient

    from langchain_kronvex.server import create_app

    trace = Trace()
    numbers = itertools.count()
    with trace.watching(), KronvexMemory(url) as memory:
        _remembering(memory)()
        with TestClient(create_app(memory)) as client:
            return trace.of(lambda: _post(client, f"{QUESTION} {next(numbers)}"))


def _post(client: Any, query: str) -> None:
    body = {"query": query, "user_id": "ana"}
    answer = client.post("/api/v1/agents/default/recall", json=body)
    answer.raise_for_status()
    assert answer.json()["memories"] or answer.json()["results"]


def _on_a_server(folder: Path) -> set[str]:
    log = folder / "log"
    command = [sys.executable, "-m", "langchain_kronvex.cli", "serve", "--port", "0"]
    with log.open("w") as out:
        server = subprocess.Popen(
            [*command, "--url", f"sqlite:///{folder / 'remote.db'}"], stdout=out, stderr=out
        )
    try:
        url = _address(server, log)
        trace = Trace()
        outbox = folder / "outbox.db"
        with trace.watching(), KronvexMemory(url, api_key="kv-any", outbox=outbox) as memory:
            remember = _remembering(memory)
            return trace.of(lambda: (remember(), memory.flush(PATIENCE_SECONDS)))
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)


def _remembering(memory: KronvexMemory) -> Callable[[], object]:
    numbers = itertools.count()
    return lambda: memory.remember(f"Ana must not eat dish {next(numbers)}.", user_id="ana")


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"running on (http://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.02)
    sys.exit(f"the server did not start: {log.read_text()}")
