"""Time passes between processes: what expires, what is pinned, what was counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from langchain_kronvex import KronvexMemory

OpenMemory = Callable[..., KronvexMemory]
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Clock:
    """Tells whatever time it is set to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **units: float) -> None:
        self.now += timedelta(**units)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _contents(memory: KronvexMemory) -> list[str]:
    listed = sorted(m.content for m in memory.memories(user_id="ana"))
    recalled = sorted(m.content for m in memory.recall("tea", user_id="ana", top_k=50))
    assert recalled == listed
    assert memory.stats().memories == len(listed)
    return listed


def _rows(url: str) -> int:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
    finally:
        connection.close()


def test_memories_expire_on_time_across_restarts(open_memory: OpenMemory, clock: Clock) -> None:
    with open_memory(clock=clock) as memory:
        stored = memory.remember("tea for a day", user_id="ana", ttl_days=1)
        assert stored.expires_at == START + timedelta(days=1)
        memory.remember("tea for a week", user_id="ana", ttl_days=7)
        memory.remember("tea for ever", user_id="ana")
        memory.remember("tea pinned", user_id="ana", ttl_days=1, pinned=True)
        memory.save_exchange("tea?", "for an hour", user_id="ana", ttl_days=1 / 24)
    everything = ["tea for a day", "tea for a week", "tea for ever", "tea pinned"]
    clock.advance(days=1, microseconds=-1)
    with open_memory(clock=clock) as memory:
        assert _contents(memory) == everything
        clock.advance(microseconds=1)
        assert _contents(memory) == everything[1:]
        assert memory.get(stored.id) is None
        with pytest.raises(LookupError):
            memory.update(stored.id, pinned=True)
    clock.advance(days=7)
    with open_memory(clock=clock) as memory:
        assert _contents(memory) == ["tea for ever", "tea pinned"]
        [pinned] = [m for m in memory.memories(user_id="ana") if m.pinned]
        memory.update(pinned.id, pinned=False)
        assert _contents(memory) == ["tea for ever"]


def test_expired_memories_are_removed_at_the_next_opening(
    open_memory: OpenMemory, clock: Clock, store_url: str
) -> None:
    with open_memory(clock=clock) as memory:
        for number in range(10):
            memory.remember(f"tea {number}", user_id="ana", ttl_days=1)
        memory.remember("tea pinned", user_id="ana", ttl_days=1, pinned=True)
        memory.remember("tea", user_id="ana")
        memory.chat_history("s", "ana").add_user_message("more tea")
    assert _rows(store_url) == 14
    clock.advance(days=2)
    with open_memory(clock=clock, agent_id="another agent"):
        pass
    with open_memory(clock=clock) as memory:
        assert _contents(memory) == ["User: more tea", "tea", "tea pinned"]
    assert _rows(store_url) == 4


def test_expiry_is_seen_by_a_memory_that_stays_open(open_memory: OpenMemory, clock: Clock) -> None:
    memory, other = open_memory(clock=clock), open_memory(clock=clock)
    memory.remember("tea for a day", user_id="ana", ttl_days=1)
    memory.remember("tea for ever", user_id="ana")
    assert len(_contents(other)) == len(_contents(memory)) == 2
    clock.advance(days=1)
    assert _contents(other) == _contents(memory) == ["tea for ever"]
    open_memory(clock=clock)  # removes what has expired from under the other two
    assert _contents(other) == _contents(memory) == ["tea for ever"]
    memory.remember("tea for a day", user_id="ana", ttl_days=1)
    assert _contents(other) == _contents(memory) == ["tea for a day", "tea for ever"]


def test_a_repeated_memory_is_renewed_across_restarts(
    open_memory: OpenMemory, clock: Clock
) -> None:
    with open_memory(clock=clock) as memory:
        first = memory.remember("tea", user_id="ana", ttl_days=2)
    clock.advance(days=1)
    with open_memory(clock=clock) as memory:
        again = memory.remember("tea", user_id="ana", ttl_days=2)
        assert (again.id, again.deduplicated) == (first.id, True)
        assert again.expires_at == START + timedelta(days=3)
    clock.advance(days=1.5)
    with open_memory(clock=clock) as memory:
        assert _contents(memory) == ["tea"]
    clock.advance(days=1)
    with open_memory(clock=clock) as memory:
        assert _contents(memory) == []
        new = memory.remember("tea", user_id="ana")
        assert (new.deduplicated, new.access_count) == (False, 0)
        assert _contents(memory) == ["tea"]


def test_a_changed_expiry_holds_after_a_restart(open_memory: OpenMemory, clock: Clock) -> None:
    with open_memory(clock=clock) as memory:
        stored = memory.remember("tea", user_id="ana", ttl_days=1)
        memory.update(stored.id, ttl_days=10, metadata={"kind": "green"})
    clock.advance(days=5)
    with open_memory(clock=clock) as memory:
        [kept] = memory.memories(user_id="ana")
        assert kept.expires_at == START + timedelta(days=10)
        assert dict(kept.metadata) == {"kind": "green"}
        assert memory.update(stored.id, ttl_days=None).expires_at is None
    clock.advance(days=500)
    with open_memory(clock=clock) as memory:
        assert _contents(memory) == ["tea"]


def test_access_counts_survive_closing(open_memory: OpenMemory, clock: Clock) -> None:
    with open_memory(clock=clock) as memory:
        memory.remember("tea", user_id="ana")
        for expected in range(3):
            assert memory.recall("tea", user_id="ana")[0].access_count == expected
    with open_memory(clock=clock) as memory:
        assert [m.access_count for m in memory.memories(user_id="ana")] == [3]
        memory.inject_context("tea", user_id="ana")
        memory.as_retriever(user_id="ana").invoke("tea")
        assert memory.flush(30)
        assert [m.access_count for m in memory.memories(user_id="ana")] == [5]
    assert [m.access_count for m in open_memory(clock=clock).memories(user_id="ana")] == [5]


async def test_access_counts_survive_an_awaited_closing(open_memory: OpenMemory) -> None:
    async with open_memory() as memory:
        await memory.aremember("tea", user_id="ana")
        await memory.arecall("tea", user_id="ana")
    assert [m.access_count for m in open_memory().memories(user_id="ana")] == [1]


def test_access_counts_of_two_open_memories_add_up(open_memory: OpenMemory) -> None:
    memory, other = open_memory(), open_memory()
    memory.remember("tea", user_id="ana")
    for each in (memory, other, memory, other, other):
        each.recall("tea", user_id="ana")
    memory.close()
    other.close()
    assert [m.access_count for m in open_memory().memories(user_id="ana")] == [5]


@pytest.mark.slow
def test_a_memory_that_is_not_closed_saves_its_counts_at_exit(
    store_url: str, open_memory: OpenMemory
) -> None:
    from .crew import run_python

    script = """
import sys
from langchain_kronvex import KronvexMemory
memory = KronvexMemory(sys.argv[1])
memory.remember("tea", user_id="ana")
memory.recall("tea", user_id="ana")
print("1")
"""
    run_python(script, store_url)
    assert [m.access_count for m in open_memory().memories(user_id="ana")] == [1]


def test_an_older_created_at_is_kept_and_ages(open_memory: OpenMemory, clock: Clock) -> None:
    long_ago = START - timedelta(days=60)
    with open_memory(clock=clock) as memory:
        memory.remember("tea long ago", user_id="ana", created_at=long_ago)
        memory.remember("tea now", user_id="ana")
        [expired] = [memory.remember("gone", user_id="ana", created_at=long_ago, ttl_days=30)]
        assert expired.expires_at == long_ago + timedelta(days=30)
    with open_memory(clock=clock) as memory:
        found: dict[str, Any] = {m.content: m for m in memory.recall("tea", user_id="ana")}
        assert sorted(found) == ["tea long ago", "tea now"]
        assert found["tea long ago"].created_at == long_ago
        assert found["tea long ago"].confidence < found["tea now"].confidence
