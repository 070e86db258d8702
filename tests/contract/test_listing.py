"""Listing, getting, changing, and the counts of sessions and of the whole store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import (
    InvalidInput,
    MemoryDraft,
    MemoryNotFound,
    MemoryStats,
    SessionSummary,
    UserSummary,
)


def contents(memories) -> list[str]:
    return [m.content for m in memories]


def test_memories_are_listed_newest_first_by_their_date(memory: Driver) -> None:
    ages = {"yesterday": 1, "today": 0, "last week": 7, "last year": 365}
    for text, days in ages.items():
        memory.remember(text, user_id="ana", created_at=NOW - timedelta(days=days))
    assert contents(memory.memories(user_id="ana")) == [
        "today",
        "yesterday",
        "last week",
        "last year",
    ]


def test_of_the_same_date_the_later_written_comes_first(memory: Driver) -> None:
    memory.remember_many([MemoryDraft(content=f"note {n}", user_id="ana") for n in range(5)])
    assert contents(memory.memories(user_id="ana")) == [f"note {n}" for n in (4, 3, 2, 1, 0)]


def test_paging_has_neither_gap_nor_double(memory: Driver) -> None:
    memory.remember_many(
        [
            MemoryDraft(content=f"note {n}", user_id="ana", created_at=NOW - timedelta(days=n % 4))
            for n in range(57)
        ]
    )
    everything = contents(memory.memories(user_id="ana", limit=1000))
    assert sorted(everything) == sorted(f"note {n}" for n in range(57))
    for limit in (1, 2, 7, 50):
        paged: list[str] = []
        while page := memory.memories(user_id="ana", limit=limit, offset=len(paged)):
            assert len(page) == min(limit, 57 - len(paged))
            paged += contents(page)
        assert paged == everything


def test_a_page_holds_fifty_by_default(memory: Driver) -> None:
    memory.remember_many([MemoryDraft(content=f"note {n}", user_id="ana") for n in range(60)])
    assert len(memory.memories(user_id="ana")) == 50


def test_a_huge_limit_or_offset_returns_everything_or_nothing(memory: Driver) -> None:
    memory.remember("note", user_id="ana")
    for huge in (10**9, 2**63 - 1, 2**63, 10**30):
        assert contents(memory.memories(user_id="ana", limit=huge)) == ["note"]
        assert memory.memories(user_id="ana", offset=huge) == []


def test_a_type_limits_the_list(memory: Driver) -> None:
    memory.remember("a", user_id="ana", memory_type="fact")
    memory.remember("b", user_id="ana", memory_type="semantic")
    assert contents(memory.memories(user_id="ana", memory_type="fact")) == ["a"]
    assert memory.memories(user_id="ana", memory_type="context") == []


def test_shared_memories_join_the_list_when_asked_for(memory: Driver) -> None:
    memory.remember("shared")
    memory.remember("own", user_id="ana", session_id="s1")
    memory.remember("other session", user_id="ana", session_id="s2")
    memory.remember("bob's", user_id="bob", session_id="s1")
    listed = memory.memories(user_id="ana", include_shared=True)
    assert sorted(contents(listed)) == ["other session", "own", "shared"]
    of_session = memory.memories(user_id="ana", session_id="s1", include_shared=True)
    assert sorted(contents(of_session)) == ["own", "shared"]
    assert contents(memory.memories(include_shared=True)) == ["shared"]


def test_get_finds_by_id_and_gives_none_for_others(memory: Driver) -> None:
    stored = memory.remember("note", user_id="ana")
    assert memory.get(stored.id) == stored
    for unknown in ("nobody", stored.id.upper() + "x", stored.id[:-1], "%", stored.id + " "):
        assert memory.get(unknown) is None


# -- update ---------------------------------------------------------------------------------------


def test_update_changes_only_the_named_fields(memory: Driver) -> None:
    before = memory.remember(
        "note", user_id="ana", session_id="s", ttl_days=5, metadata={"a": 1, "b": 2}
    )
    after = memory.update(before.id, pinned=True)
    assert after == replace(before, pinned=True)
    after = memory.update(before.id, memory_type="fact")
    assert after == replace(before, pinned=True, memory_type="fact")
    after = memory.update(before.id, metadata={"c": 3})
    assert after.metadata == {"c": 3}
    after = memory.update(before.id, ttl_days=10)
    assert after.expires_at == before.created_at + timedelta(days=10)
    after = memory.update(before.id, ttl_days=None, pinned=False, metadata={})
    assert after == replace(before, memory_type="fact", expires_at=None, metadata={})
    assert memory.get(before.id) == after
    assert memory.update(before.id) == after
    assert memory.memories(user_id="ana") == [after]


def test_update_shows_in_recall_at_once(memory: Driver) -> None:
    stored = memory.remember("tea note", user_id="ana")
    memory.recall("tea", user_id="ana")
    memory.update(stored.id, memory_type="fact", metadata={"x": [1]}, pinned=True)
    assert memory.recall("tea", user_id="ana", memory_type="episodic") == []
    found = memory.recall("tea", user_id="ana", memory_type="fact")[0]
    assert (found.metadata, found.pinned) == ({"x": [1]}, True)


def test_a_change_that_does_not_fit_changes_nothing(memory: Driver) -> None:
    stored = memory.remember("note", user_id="ana", metadata={"a": 1}, ttl_days=5)
    for change in (
        {"memory_type": "gossip"},
        {"memory_type": None},
        {"metadata": {"x": {1, 2}}},
        {"metadata": [1]},
        {"ttl_days": 0},
        {"ttl_days": float("nan")},
        {"ttl_days": True},
        {"pinned": True, "ttl_days": -1},
    ):
        with pytest.raises(InvalidInput):
            memory.update(stored.id, **change)
        assert memory.get(stored.id) == stored, change


def test_updating_a_missing_memory_raises(memory: Driver) -> None:
    with pytest.raises(MemoryNotFound) as caught:
        memory.update("nobody", pinned=True)
    assert isinstance(caught.value, LookupError)
    gone = memory.remember("note")
    memory.forget(id=gone.id)
    with pytest.raises(MemoryNotFound):
        memory.update(gone.id, pinned=True)


def test_updating_into_an_existing_text_and_type_is_rejected(memory: Driver) -> None:
    fact = memory.remember("note", user_id="ana", memory_type="fact")
    other = memory.remember("note", user_id="ana", memory_type="semantic")
    with pytest.raises(InvalidInput):
        memory.update(other.id, memory_type="fact")
    assert memory.get(other.id) == other
    assert memory.get(fact.id) == fact
    elsewhere = memory.remember("note", user_id="bob", memory_type="semantic")
    assert memory.update(elsewhere.id, memory_type="fact").memory_type == "fact"


def test_updating_into_the_text_and_type_of_an_expired_memory_works(
    memory: Driver, clock: Clock
) -> None:
    memory.remember("note", user_id="ana", memory_type="fact", ttl_days=1)
    other = memory.remember("note", user_id="ana", memory_type="semantic")
    clock.advance(days=2)
    assert memory.update(other.id, memory_type="fact").memory_type == "fact"
    assert [m.id for m in memory.memories(user_id="ana")] == [other.id]


def test_the_text_of_a_retyped_memory_is_still_stored_once(memory: Driver) -> None:
    stored = memory.remember("note", user_id="ana")
    memory.update(stored.id, memory_type="fact")
    again = memory.remember("note", user_id="ana", memory_type="fact")
    assert (again.id, again.deduplicated) == (stored.id, True)
    assert memory.remember("note", user_id="ana").deduplicated is False


# -- sessions and stats ---------------------------------------------------------------------------


def test_sessions_are_counted_apart_the_last_written_to_first(memory: Driver, clock: Clock) -> None:
    memory.remember("a", user_id="ana", session_id="s1")
    memory.remember("b", user_id="ana", session_id="s1")
    clock.advance(hours=1)
    memory.remember("c", user_id="bob", session_id="s1")
    clock.advance(hours=1)
    memory.save_messages(
        [HumanMessage("hi"), AIMessage("hello")], "s2", user_id="ana", remember=False
    )
    clock.advance(hours=1)
    memory.remember("d")
    assert memory.sessions() == [
        SessionSummary(user_id=None, session_id=None, memories=1, messages=0, last_at=clock.now),
        SessionSummary(
            user_id="ana",
            session_id="s2",
            memories=0,
            messages=2,
            last_at=clock.now - timedelta(hours=1),
        ),
        SessionSummary(
            user_id="bob",
            session_id="s1",
            memories=1,
            messages=0,
            last_at=clock.now - timedelta(hours=2),
        ),
        SessionSummary(user_id="ana", session_id="s1", memories=2, messages=0, last_at=NOW),
    ]
    assert [s.session_id for s in memory.sessions(user_id="ana")] == ["s2", "s1"]
    assert memory.sessions(user_id="ANA") == []


def test_a_session_of_a_user_of_its_own_name_is_listed_under_it(memory: Driver) -> None:
    memory.remember("a", session_id="chat")
    only = SessionSummary(user_id=None, session_id="chat", memories=1, messages=0, last_at=NOW)
    assert memory.sessions(user_id="chat") == memory.sessions() == [only]


# -- all users ------------------------------------------------------------------------------------


def test_all_users_are_listed_the_newest_memory_first(memory: Driver, clock: Clock) -> None:
    memory.remember("a", user_id="ana", session_id="s", metadata={"n": 1})
    clock.advance(hours=1)
    memory.remember("b", session_id="ben", memory_type="fact", metadata={"n": 2})
    clock.advance(hours=1)
    old = memory.remember("c", user_id="ana", metadata={"n": 3})
    clock.advance(hours=1)
    memory.remember("d", user_id="ana", supersedes=old.id)
    memory.remember("e")
    memory.save_messages([HumanMessage("hi")], "s", user_id="ana", remember=False)
    assert contents(memory.memories(all_users=True)) == ["e", "d", "b", "a"]
    assert contents(memory.memories(all_users=True, limit=2, offset=1)) == ["d", "b"]
    assert contents(memory.memories(all_users=True, memory_type="fact")) == ["b"]
    assert contents(memory.memories(all_users=True, filter={"n": {"$gte": 2}})) == ["b"]
    assert contents(memory.memories(all_users=True, include_superseded=True)) == [*"edcba"]
    assert contents(memory.memories(all_users=True, until=NOW + timedelta(hours=1))) == ["a"]
    for ids in ({"user_id": "ana"}, {"session_id": "s"}):
        with pytest.raises(InvalidInput, match="all_users"):
            memory.memories(all_users=True, **ids)
    with pytest.raises(InvalidInput, match="all_users"):
        memory.memories(all_users="ana")


def test_agents_list_their_own_users(open_driver: Callable[..., Driver]) -> None:
    one, other = open_driver(), open_driver(agent_id="other")
    one.remember("a", user_id="ana")
    other.remember("b", user_id="ben")
    assert contents(one.memories(all_users=True)) == ["a"]
    assert [user.user_id for user in other.users()] == ["ben"]


def test_users_are_counted_the_last_written_to_first(memory: Driver, clock: Clock) -> None:
    assert memory.users() == []
    for text, session in (("a", "s1"), ("b", "s2")):
        memory.remember(text, user_id="ana", session_id=session)
        clock.advance(hours=1)
    memory.remember("c", session_id="ben")
    clock.advance(hours=1)
    memory.remember("d")
    memory.save_messages([HumanMessage("hi")], "s1", user_id="ana", remember=False)
    assert memory.users() == [
        UserSummary(user_id="ana", memories=2, messages=1, last_at=clock.now),
        UserSummary(user_id="ben", memories=1, messages=0, last_at=NOW + timedelta(hours=2)),
    ]


@pytest.mark.parametrize("verb", ["memories", "recall", "inject_context"])
def test_reading_without_ids_hints_at_the_users_once(
    memory: Driver, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    def read(**whose: str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "langchain_kronvex"):
            getattr(memory, verb)(*([] if verb == "memories" else ["tea"]), **whose)
        return [r.getMessage() for r in caplog.records if "pass user_id" in r.getMessage()]

    assert read() == []  # the store is empty
    memory.remember_many([MemoryDraft(f"tea {n}", user_id=f"user {n % 3}") for n in range(12)])
    assert read(user_id="nobody") == []
    (hint,) = read()
    assert "12 memories belong to 3 users" in hint
    assert "user 1" not in hint
    assert read() == []


def test_there_is_no_hint_where_some_memories_belong_to_nobody(
    memory: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    memory.remember("shared")
    memory.remember("tea", user_id="ana")
    with caplog.at_level(logging.WARNING, "langchain_kronvex"):
        assert memory.memories(memory_type="fact") == []
    assert caplog.records == []


def test_stats_count_visible_records(memory: Driver, clock: Clock) -> None:
    assert memory.stats().memories == memory.stats().messages == memory.stats().users == 0
    memory.remember("a", user_id="ana", ttl_days=1)
    memory.remember("b", user_id="bob")
    memory.remember("c")
    memory.save_messages([HumanMessage("hi"), AIMessage("hello")], "s", user_id="ana")
    stats = memory.stats()
    assert isinstance(stats, MemoryStats)
    assert stats.location == memory.memory.location
    assert (stats.memories, stats.messages, stats.users) == (4, 2, 3)
    assert (stats.unembedded, stats.pending, stats.failed, stats.degraded) == (0, 0, 0, 0)
    assert stats.last_error is None
    clock.advance(days=2)
    assert memory.stats().memories == 3


def test_flush_waits_for_the_background_work(memory: Driver) -> None:
    memory.remember("tea", user_id="ana")
    assert memory.flush() is True
    memory.recall("tea", user_id="ana")
    assert memory.flush(timeout=30) is True
    assert memory.stats().pending == 0
