"""The commands, called in this process, on each kind of store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from contract.served import APIS
from databases import DATABASES
from inside import main
from langchain_kronvex import KronvexMemory

EVIL = "ana\x1b[2J\u202e\nx"  # clears the screen, turns the line around, begins another
EVIL_TEXT = "she \x1b]0;owned\x07 said\r\n\u202egnihton \u2066peanuts\x9b"


@dataclass(frozen=True)
class Done:
    """What a command has left."""

    code: int
    out: str
    err: str

    @property
    def found(self) -> list[dict[str, Any]]:
        """The JSON objects it wrote."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture(params=["sqlite", "postgres", "api"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each kind."""
    if request.param == "postgres":
        return DATABASES.url(tmp_path)
    if request.param == "api":
        return APIS.url(tmp_path)
    return f"sqlite:///{tmp_path / 'memory.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def own_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of this package, without a server before it."""
    if request.param == "postgres":
        return DATABASES.url(tmp_path)
    return f"sqlite:///{tmp_path / 'memory.db'}"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; what it wrote is printable."""

    def run_(*arguments: str) -> Done:
        code = main(list(arguments))
        told = capsys.readouterr()
        assert (told.out + told.err).replace("\n", "").isprintable()
        return Done(code, told.out, told.err)

    return run_


@pytest.fixture
def filled(url: str) -> str:
    """A store with memories of Ana, of Bob and of a user with a hostile name."""
    with KronvexMemory(url) as memory:
        memory.remember("Ana is allergic to peanuts.", user_id="ana", session_id="monday")
        memory.remember("Ana lives in Porto.", user_id="ana", memory_type="semantic")
        memory.remember("Bob plays the cello.", user_id="bob")
        memory.remember(EVIL_TEXT, user_id=EVIL)
        memory.save_messages([HumanMessage("hi")], "monday", user_id="ana", remember=False)
        assert memory.flush(30)
    return url
