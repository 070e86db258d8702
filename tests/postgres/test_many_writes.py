"""Writing very many memories: the work for each stays the same while a user's memory grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from databases import DATABASES
from langchain_kronvex import KronvexMemory, MemoryDraft

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]


@pytest.fixture
def store_url() -> str:
    """The URL of a database without tables, of which the planner knows nothing."""
    return DATABASES.bare()


def drafts(start: int, count: int) -> list[MemoryDraft]:
    """Return new memories of one user."""
    return [MemoryDraft(f"plate {n}", user_id="ana") for n in range(start, start + count)]


@pytest.mark.slow
def test_a_write_reads_no_whole_session(open_memory: OpenMemory, sql: Sql) -> None:
    with open_memory() as memory:
        for start in range(0, 16_000, 4_000):  # indexes of different heights
            memory.remember_many(drafts(start, 4_000))
    before = blocks_read(sql)  # by connections that are closed, and have handed in their counts
    with open_memory() as memory:
        memory.remember_many(drafts(16_000, 400))
    assert blocks_read(sql) - before < 400 * 150  # not 16,000 records for each of the 400


@pytest.mark.slow
def test_changes_do_not_read_all_memories_of_the_user(open_memory: OpenMemory, sql: Sql) -> None:
    with open_memory() as memory:
        for start in range(0, 8_000, 4_000):
            memory.remember_many(drafts(start, 4_000))
        new = [memory.remember(f"cup {n}", user_id="ana", session_id=f"s{n}") for n in range(10)]
        memory.recall("cup", user_id="ana")
        memory.flush()
    for _ in range(2):  # before the planner knows anything, and after
        before = blocks_read(sql)
        with open_memory() as memory:
            for each in new:
                memory.update(each.id, content=f"{each.content}, again")
                later = memory.remember("a cup", user_id="ana", supersedes=each.id)
                memory.history(each.id)
                memory.restore(each.id)
                memory.forget(id=later.id)
            memory.forget(user_id="ana", session_id="s0")
        assert blocks_read(sql) - before < 8_000
        sql("ANALYZE")
        new = new[1:]


def blocks_read(sql: Sql) -> int:
    """Return how many blocks of the table and its indexes were read so far."""
    counts = "heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit"
    ((read,),) = sql(f"SELECT {counts} FROM pg_statio_user_tables WHERE relname = 'records'")
    return int(read)
