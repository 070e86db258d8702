"""Moving house between SQLite and PostgreSQL, and back: everything is exactly as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.drivers import Clock, Driver
from contract.test_moving import furnish, recalled_once, records, seen, uncounted
from langchain_kronvex import KronvexMemory

OpenDriver = Callable[[str], Driver]


@pytest.fixture(params=["sync", "async"])
def open_driver(request: pytest.FixtureRequest, clock: Clock) -> Iterator[OpenDriver]:
    opened: list[Driver] = []

    def open_(url: str) -> Driver:
        opened.append(Driver(KronvexMemory(url, clock=clock), request.param))
        return opened[-1]

    yield open_
    for driver in opened:
        driver.end()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("vectors", [False, True], ids=["without vectors", "with vectors"])
def test_from_sqlite_to_postgres_and_back(
    vectors: bool, open_driver: OpenDriver, clock: Clock, store_url: str, tmp_path: Path
) -> None:
    places = [f"sqlite:///{tmp_path / 'old.db'}", store_url, f"sqlite:///{tmp_path / 'new.db'}"]
    old, middle, new = (open_driver(url) for url in places)
    furnish(old, clock)
    recalled_once(old)
    summaries: list[Any] = []
    for number, (source, target) in enumerate(((old, middle), (middle, new))):
        file = tmp_path / f"{number}.jsonl"
        summaries.append(source.export(file, vectors=vectors))
        summaries.append(target.import_(file))

    assert len(set(summaries)) == 1
    assert records(old) == records(middle) == records(new)
    before = seen(old)
    for memory in (middle, new):
        there = seen(memory)
        assert {**there, "recalled": []} == {**before, "recalled": []}
    if vectors:
        assert [[m.content for m in found] for found in seen(new)["recalled"]] == [
            [m.content for m in found] for found in seen(old)["recalled"]
        ]
    assert uncounted(records(new)) == uncounted(records(old))
