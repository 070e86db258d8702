"""Stores of the last commit without consolidation open, hold all they held, and consolidate."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from consolidation.scripted import Rules, fact, said
from databases import DATABASES
from langchain_kronvex import KronvexMemory
from langchain_kronvex.consolidation import KronvexConsolidator

from . import MADE_AT

HERE = Path(__file__).parent
USERS = ("ana", "ben")


def unpacked(name: str) -> bytes:
    return gzip.decompress((HERE / f"{name}.gz").read_bytes())


@pytest.fixture(params=["sqlite", "postgres"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KronvexMemory]:
    """A memory on a copy of an old store."""
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    if request.param == "sqlite":
        (tmp_path / "memory.db").write_bytes(unpacked("memory.db"))
    else:
        url = DATABASES.bare()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute("SET check_function_bodies = off")
            connection.execute(unpacked("postgres.sql"))
    with KronvexMemory(url, clock=lambda: MADE_AT + timedelta(days=9)) as memory:
        yield memory


def statements(memory: KronvexMemory, user: str) -> list[str]:
    found = memory.memories(user_id=user, memory_type="semantic")
    return sorted(each.content for each in found)


def test_all_that_was_said_is_consolidated(memory: KronvexMemory) -> None:
    assert memory.stats().memories == 20
    assert memory.stats().messages == 4
    assert [statements(memory, user) for user in USERS] == [[fact("dog", "Rex")]] * 2
    model = Rules()
    consolidator = KronvexConsolidator(memory, model, batch_exchanges=3)
    assert consolidator.waiting() == [*USERS]
    report = consolidator.run()
    whole = [said("city", "Lisbon"), *(f"Hello {n}." for n in range(5)), said("city", "Porto")]
    assert model.exchanges == [*whole, said("cat", "Felix")] * 2
    known = [fact("cat", "Felix"), fact("city", "Porto"), fact("dog", "Rex")]
    assert [statements(memory, user) for user in USERS] == [known] * 2
    assert consolidator.run().calls == 0
    [source] = memory.recall("Felix", user_id="ana", top_k=1)[0].sources
    assert memory.forget(id=source) == 2
    assert consolidator.undo(report) == 5  # of six, one was forgotten
    assert statements(memory, "ana") == [fact("dog", "Rex")]
