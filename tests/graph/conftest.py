"""Stores for LangGraph on real files, in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

OpenMemory = Callable[..., KronvexMemory]
OpenStore = Callable[..., KronvexStore]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 4, 28, 12, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class Colour:
    """A store's verbs, called plainly or through their `a…` twins."""

    def __init__(self, store: KronvexStore, colour: str) -> None:
        self.store, self._colour = store, colour

    def __getattr__(self, verb: str) -> Any:
        if self._colour == "sync":
            return getattr(self.store, verb)
        twin = getattr(self.store, "a" + verb)
        return lambda *args, **kwargs: asyncio.run(twin(*args, **kwargs))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(open_memory: OpenMemory, clock: Clock) -> Iterator[OpenStore]:
    """Opens stores, all in the same file, and closes them all."""
    opened: list[KronvexStore] = []

    def open_(memory: KronvexMemory | None = None, **options: Any) -> KronvexStore:
        opened.append(KronvexStore(memory or open_memory(clock=clock), **options))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def plain(open_store: OpenStore) -> KronvexStore:
    """An empty store whose clock is the `clock` fixture."""
    return open_store()


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, plain: KronvexStore) -> Colour:
    """The same, in either colour."""
    return Colour(plain, request.param)
