"""Calls a memory's sync or async verbs, so that each test body is written once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from langchain_kronvex import KronvexMemory

NOW = datetime(2026, 4, 28, 12, 30, 15, 123456, tzinfo=timezone.utc)


class Backend(NamedTuple):
    """A backend under test.

    `url` is given an empty folder. `shared` says whether a second memory opened on the same URL
    sees the same store.
    """

    name: str
    url: Callable[[Path], str]
    shared: bool


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class Driver:
    """The verbs of a memory, called plainly or through their `a…` twins."""

    def __init__(self, memory: KronvexMemory, colour: str) -> None:
        self.memory = memory
        self.colour = colour
        self._loop = asyncio.new_event_loop() if colour == "async" else None

    def __getattr__(self, verb: str) -> Any:
        if self._loop is None:
            return getattr(self.memory, verb)
        twin, loop = getattr(self.memory, "a" + verb), self._loop

        def awaited(*args: Any, **kwargs: Any) -> Any:
            return loop.run_until_complete(twin(*args, **kwargs))

        return awaited

    def end(self) -> None:
        """Close the memory and the event loop."""
        self.memory.close()
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
