"""Moving house between SQLite and PostgreSQL, and back: everything is exactly as it was."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contract.drivers import Clock, Driver
from contract.test_moving import furnish, recalled_once, records, seen, uncounted
from langchain_kronvex import KronvexMemory, MemoryDraft

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


@pytest.mark.slow
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


def exported_with_ids(user_id: str, ids: list[str], agent_id: str = "default") -> str:
    """Return an export in which a user's memories have certain ids."""
    with KronvexMemory("sqlite://", agent_id=agent_id) as memory:
        memory.remember_many(
            [MemoryDraft(f"{user_id} {n}", user_id=user_id) for n in range(len(ids))]
        )
        file = io.StringIO()
        memory.export(file)
    header, *records, footer = map(json.loads, file.getvalue().splitlines())
    records = [{**record, "id": id_} for record, id_ in zip(records, ids, strict=True)]
    return "".join(json.dumps(line) + "\n" for line in (header, *records, footer))


@pytest.mark.slow
def test_an_id_is_one_memorys_alone_also_when_two_workers_import_it_at_once(
    store_url: str, sql: Callable[..., list[Any]]
) -> None:
    ids = [f"id {n}" for n in range(300)]
    users = ("ana", "ben", "eve")
    start = threading.Barrier(len(users))
    memories = [KronvexMemory(store_url, agent_id=agent) for agent in ("one", "one", "two")]

    def import_(memory: KronvexMemory, file: str) -> int:
        start.wait(20)
        return memory.import_(io.StringIO(file)).stored

    # In opposite orders: nobody waits in a circle.
    files = [exported_with_ids(user, ids[:: -1 if user == "ben" else 1]) for user in users]
    with ThreadPoolExecutor(len(users)) as threads:
        assert list(threads.map(import_, memories, files)) == [300] * 3
    assert sql("SELECT count(*), count(DISTINCT id) FROM langchain_kronvex.records") == [(900, 900)]
    for memory, file in zip(memories, files, strict=True):
        assert memory.import_(io.StringIO(file)).stored == 0
        memory.close()


def test_to_forget_an_id_of_one_user_leaves_that_of_another(
    store_url: str, sql: Callable[..., list[Any]]
) -> None:
    with KronvexMemory(store_url) as memory:
        stored = [memory.remember("tea", user_id=user) for user in ("ana", "ben")]
        sql("UPDATE langchain_kronvex.records SET id = %s, key = %s", "same", "same")
        assert memory.forget(id="same", user_id="eve") == 0
        assert memory.forget(id="same", user_id="ana") == 1
        assert [m.id for m in memory.memories(user_id="ben")] == ["same"]
    assert len(stored) == 2
