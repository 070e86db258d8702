"""The backends under test, in one list, and a memory of each, driven in both colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.drivers import Backend, Clock, Driver
from langchain_kronvex import KronvexMemory

BACKENDS = [
    Backend("sqlite-file", lambda folder: f"sqlite:///{folder / 'memory.db'}", shared=True),
    Backend("sqlite-ram", lambda folder: "sqlite://", shared=False),
]

OpenDriver = Callable[..., Driver]


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_driver(
    backend: Backend, colour: str, clock: Clock, tmp_path: Path
) -> Iterator[OpenDriver]:
    """Opens memories of the backend under test, all on the same URL, and closes them all."""
    opened: list[Driver] = []

    def open_(**options: Any) -> Driver:
        url = backend.url(tmp_path)
        opened.append(Driver(KronvexMemory(url, **{"clock": clock, **options}), colour))
        return opened[-1]

    yield open_
    for driver in opened:
        driver.end()


@pytest.fixture
def memory(open_driver: OpenDriver) -> Driver:
    """An empty memory whose clock is the `clock` fixture."""
    return open_driver()


@pytest.fixture
def open_shared(backend: Backend, open_driver: OpenDriver) -> OpenDriver:
    """Opens memories that see the same store; skips backends that have none to share."""
    if not backend.shared:
        pytest.skip("every opening of this backend is a store of its own")
    return open_driver
