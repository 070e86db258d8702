"""The same text of the same type in the same scope is stored once, and only then."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import MemoryDraft

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    "scope",
    [{}, {"user_id": "ana"}, {"session_id": "s"}, {"user_id": "ana", "session_id": "s"}],
    ids=repr,
)
def test_the_same_text_is_stored_once(memory: Driver, scope: dict) -> None:
    first = memory.remember("tea", **scope)
    again = memory.remember("tea", **scope)
    assert (first.deduplicated, again.deduplicated) == (False, True)
    assert again.id == first.id
    assert [m.id for m in memory.memories(**scope)] == [first.id]
    assert [m.id for m in memory.recall("tea", **scope)] == [first.id]
    assert memory.stats().memories == 1


def test_the_mark_is_on_the_answer_only(memory: Driver) -> None:
    memory.remember("tea", user_id="ana")
    again = memory.remember("tea", user_id="ana")
    assert memory.get(again.id).deduplicated is False
    assert memory.memories(user_id="ana")[0].deduplicated is False
    assert memory.recall("tea", user_id="ana")[0].deduplicated is False


OTHERS = [
    {"content": "Tea"},
    {"content": "tea "},
    {"content": "te\u0301a"},
    {"memory_type": "fact"},
    {"memory_type": "semantic"},
    {"user_id": "bob"},
    {"user_id": "Ana"},
    {"user_id": None},
    {"session_id": "s2"},
    {"session_id": None},
    {"user_id": "s", "session_id": "ana"},
    {"user_id": None, "session_id": None},
]


def test_whatever_differs_is_another_memory(memory: Driver) -> None:
    first = {"content": "tea", "user_id": "ana", "session_id": "s", "memory_type": "episodic"}
    stored = [memory.remember(**{**first, **other}) for other in [{}, *OTHERS]]
    assert not any(each.deduplicated for each in stored)
    assert len({each.id for each in stored}) == memory.stats().memories == 1 + len(OTHERS)
    assert [memory.get(each.id) for each in stored] == stored


def test_deduplication_does_not_cross_agents(open_shared) -> None:
    one, two = open_shared(agent_id="one"), open_shared(agent_id="two")
    first = one.remember("tea", user_id="ana")
    second = two.remember("tea", user_id="ana")
    assert second.id != first.id
    assert second.deduplicated is False


def test_it_is_stored_once_across_restarts(open_shared) -> None:
    first = open_shared()
    stored = first.remember("tea", user_id="ana")
    first.close()
    again = open_shared().remember("tea", user_id="ana")
    assert (again.id, again.deduplicated) == (stored.id, True)


def test_the_later_date_is_kept(memory: Driver) -> None:
    for first, second, kept in ((0, 5, 5), (5, 0, 5), (-3, -9, -3), (2, 2, 2)):
        whose = {"user_id": f"of {first} and {second}"}
        memory.remember("tea", created_at=NOW + first * DAY, **whose)
        again = memory.remember("tea", created_at=NOW + second * DAY, **whose)
        assert again.created_at == NOW + kept * DAY
        assert memory.get(again.id).created_at == NOW + kept * DAY
        assert memory.recall("tea", **whose)[0].created_at == NOW + kept * DAY


def test_the_later_expiry_is_kept(memory: Driver) -> None:
    for first, second in ((2, 9), (9, 2), (None, 2), (2, None), (None, None)):
        whose = {"user_id": f"of {first} and {second}"}
        memory.remember("tea", ttl_days=first, **whose)
        again = memory.remember("tea", ttl_days=second, **whose)
        expected = None if None in (first, second) else NOW + 9 * DAY
        assert again.expires_at == expected
        assert memory.get(again.id).expires_at == expected


def test_a_renewed_memory_lives_on_in_recall(memory: Driver, clock: Clock) -> None:
    memory.remember("tea", user_id="ana", ttl_days=2)
    assert memory.recall("tea", user_id="ana")
    clock.advance(days=1)
    memory.remember("tea", user_id="ana", ttl_days=2)
    clock.advance(days=1.5)
    assert len(memory.recall("tea", user_id="ana")) == 1
    clock.advance(days=1)
    assert memory.recall("tea", user_id="ana") == []


def test_a_pin_stays_and_new_metadata_is_laid_over_the_old(memory: Driver) -> None:
    memory.remember("tea", user_id="ana", pinned=True, metadata={"a": 1, "b": 1})
    again = memory.remember("tea", user_id="ana", metadata={"b": 2, "c": 2})
    assert again.pinned
    assert again.metadata == {"a": 1, "b": 2, "c": 2}
    assert memory.get(again.id).metadata == again.metadata
    memory.remember("coffee", user_id="ana")
    assert memory.remember("coffee", user_id="ana", pinned=True).pinned


def test_an_expired_text_stored_again_is_a_new_memory(memory: Driver, clock: Clock) -> None:
    old = memory.remember("tea", user_id="ana", ttl_days=1, metadata={"old": True})
    memory.recall("tea", user_id="ana")
    memory.flush()
    clock.advance(days=1)
    new = memory.remember("tea", user_id="ana")
    assert new.id != old.id
    assert (new.deduplicated, new.metadata, new.access_count) == (False, {}, 0)
    assert memory.get(old.id) is None
    assert memory.memories(user_id="ana") == [new]
    assert [(m.id, m.access_count) for m in memory.recall("tea", user_id="ana")] == [(new.id, 0)]
    assert memory.stats().memories == 1


def test_a_pinned_memory_past_its_expiry_is_renewed_not_replaced(
    memory: Driver, clock: Clock
) -> None:
    old = memory.remember("tea", user_id="ana", ttl_days=1, pinned=True)
    clock.advance(days=5)
    again = memory.remember("tea", user_id="ana", ttl_days=1)
    assert (again.id, again.deduplicated, again.pinned) == (old.id, True, True)


def test_doubles_within_one_batch_are_stored_once(memory: Driver) -> None:
    draft = MemoryDraft("tea", user_id="ana")
    stored = memory.remember_many([draft, MemoryDraft("coffee", user_id="ana"), draft])
    assert [m.deduplicated for m in stored] == [False, False, True]
    assert stored[0].id == stored[2].id
    assert memory.stats().memories == 2


def test_an_exchange_is_stored_once_for_each_answer(memory: Driver) -> None:
    first = memory.save_exchange("hi", "hello", user_id="ana")[0]
    again = memory.save_exchange("hi", "hello", user_id="ana")[0]
    other = memory.save_exchange("hi", "good day", user_id="ana")[0]
    assert (again.id, again.deduplicated) == (first.id, True)
    assert (other.id != first.id, other.deduplicated) == (True, False)
    assert memory.stats().memories == 2


def test_access_counts_survive_being_told_again(memory: Driver) -> None:
    memory.remember("tea", user_id="ana")
    memory.recall("tea", user_id="ana")
    memory.flush()
    assert memory.remember("tea", user_id="ana").access_count == 1
