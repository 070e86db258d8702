"""Fixtures: servers on this machine, and memories on them that are always closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from defaults import set_default
from inside import RemoteLimits
from langchain_kronvex import KronvexMemory

from .bad_server import BadServer, FaultyServer
from .plain_server import KEY, PlainServer

Open = Callable[..., KronvexMemory]
Limit = Callable[..., None]


@pytest.fixture
def plain() -> Iterator[PlainServer]:
    with PlainServer() as server:
        yield server


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server


@pytest.fixture
def bad() -> Iterator[BadServer]:
    with BadServer() as server:
        yield server


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets limits of the memories that are opened afterwards."""

    def limit_(**changes: float) -> None:
        for name, value in changes.items():
            set_default(monkeypatch, RemoteLimits, name, value)

    return limit_


@pytest.fixture
def told() -> list[Exception]:
    """The errors that were reported to `on_error`."""
    return []


@pytest.fixture
def open_on(told: list[Exception]) -> Iterator[Open]:
    """Opens memories on a server, and closes them."""
    opened: list[KronvexMemory] = []

    def open_(server: PlainServer, **options: Any) -> KronvexMemory:
        given = {"api_key": KEY, "timeout_seconds": 2.0, "on_error": told.append, **options}
        opened.append(KronvexMemory(server.url, **given))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()
