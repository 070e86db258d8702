"""Expired memories are invisible at once in every way of reading; pinned ones never expire."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contract.drivers import Clock, Driver
from langchain_kronvex import MemoryNotFound

MICROSECOND = timedelta(microseconds=1)


def seen(memory: Driver, id_: str, **scope: str) -> dict[str, bool]:
    """Return, for every way of reading, whether it returns the memory."""
    return {
        "get": memory.get(id_) is not None,
        "memories": any(m.id == id_ for m in memory.memories(**scope)),
        "recall": any(m.id == id_ for m in memory.recall("tea", **scope)),
        "shared": any(m.id == id_ for m in memory.recall("tea", include_shared=True, **scope)),
        "context": any(m.id == id_ for m in memory.inject_context("tea", **scope).memories),
        "text": "tea" in memory.inject_context("tea", **scope).context,
        "sessions": any(summary.memories for summary in memory.sessions()),
        "stats": memory.stats().memories == 1,
    }


@pytest.mark.parametrize(
    "scope", [{}, {"user_id": "ana"}, {"user_id": "ana", "session_id": "s"}], ids=repr
)
def test_expired_is_invisible_to_the_microsecond_in_every_reading(
    memory: Driver, clock: Clock, scope: dict
) -> None:
    stored = memory.remember("tea", ttl_days=1, **scope)
    assert all(seen(memory, stored.id, **scope).values())
    clock.now = stored.expires_at - MICROSECOND
    assert all(seen(memory, stored.id, **scope).values()), seen(memory, stored.id, **scope)
    clock.now = stored.expires_at
    assert not any(seen(memory, stored.id, **scope).values()), seen(memory, stored.id, **scope)
    with pytest.raises(MemoryNotFound):
        memory.update(stored.id, ttl_days=None)


@pytest.mark.parametrize("pinned_by", ["remember", "update", "again"])
def test_pinned_never_expires(memory: Driver, clock: Clock, pinned_by: str) -> None:
    stored = memory.remember("tea", user_id="ana", ttl_days=1, pinned=pinned_by == "remember")
    if pinned_by == "update":
        memory.update(stored.id, pinned=True)
    elif pinned_by == "again":
        memory.remember("tea", user_id="ana", ttl_days=1, pinned=True)
    clock.advance(days=10_000)
    assert all(seen(memory, stored.id, user_id="ana").values())
    assert memory.update(stored.id, pinned=False).pinned is False
    assert not any(seen(memory, stored.id, user_id="ana").values())


def test_a_memory_whose_time_was_over_before_it_was_stored_is_never_seen(
    memory: Driver, clock: Clock
) -> None:
    stored = memory.remember(
        "tea", user_id="ana", ttl_days=1, created_at=clock.now - timedelta(days=2)
    )
    assert not any(seen(memory, stored.id, user_id="ana").values())


def test_expiry_can_be_lengthened_and_taken_away(memory: Driver, clock: Clock) -> None:
    stored = memory.remember("tea", user_id="ana", ttl_days=1)
    memory.recall("tea", user_id="ana")
    memory.update(stored.id, ttl_days=3)
    clock.advance(days=2)
    assert all(seen(memory, stored.id, user_id="ana").values())
    memory.update(stored.id, ttl_days=None)
    clock.advance(days=5)
    assert all(seen(memory, stored.id, user_id="ana").values())
    memory.update(stored.id, ttl_days=1)
    assert not any(seen(memory, stored.id, user_id="ana").values())


def test_exchanges_expire_too(memory: Driver, clock: Clock) -> None:
    stored = memory.save_exchange("tea?", "tea!", user_id="ana", ttl_days=1)[0]
    assert all(seen(memory, stored.id, user_id="ana").values())
    clock.advance(days=1)
    assert not any(seen(memory, stored.id, user_id="ana").values())


def test_others_fill_the_places_of_the_expired(memory: Driver, clock: Clock) -> None:
    for n in range(10):
        memory.remember(f"tea tea tea {n}", user_id="ana", ttl_days=1)
        memory.remember(f"tea once upon a time {n}", user_id="ana")
    memory.recall("tea", user_id="ana")
    clock.advance(days=1)
    found = memory.recall("tea", user_id="ana", top_k=10)
    assert len(found) == 10
    assert all("once" in m.content for m in found)
    assert len(memory.memories(user_id="ana", limit=10)) == 10


def test_the_words_of_an_expired_memory_find_nothing(memory: Driver, clock: Clock) -> None:
    memory.remember("the passphrase is zeppelin", user_id="ana", session_id="s", ttl_days=1)
    memory.remember("good to know", user_id="ana", session_id="s")
    assert memory.recall("zeppelin", user_id="ana", top_k=9)
    clock.advance(days=1)
    found = memory.recall("zeppelin", user_id="ana", top_k=9)
    assert [m.content for m in found] == ["good to know"]
    assert found[0].similarity < 0.02


def test_expired_memories_stay_gone_after_reopening(open_shared, clock: Clock) -> None:
    first = open_shared()
    expiring = first.remember("tea", user_id="ana", ttl_days=1)
    staying = first.remember("more tea", user_id="ana")
    clock.advance(days=1)
    second = open_shared()
    assert second.get(expiring.id) is None
    assert [m.id for m in second.memories(user_id="ana")] == [staying.id]
    assert [m.id for m in first.recall("tea", user_id="ana")] == [staying.id]
