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


def blocks_read(sql: Sql) -> int:
    """Return how many blocks of the table and its indexes were read so far."""
    counts = "heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit"
    ((read,),) = sql(f"SELECT {counts} FROM pg_statio_user_tables WHERE relname = 'records'")
    return int(read)
