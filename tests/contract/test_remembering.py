"""Storing: every field comes back exactly, and several drafts are stored together or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import product

import pytest

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import InvalidInput, MemoryDraft

TYPES = ["episodic", "semantic", "procedural", "fact", "preference", "context"]

METADATA = {
    "text": "naïve ☕ 日本 \u202e 'quote' \"double\" \\ \n\t",
    "nul": "a\0b",
    "int": 2**70,
    "negative": -1,
    "float": 0.1 + 0.2,
    "tiny": 5e-324,
    "true": True,
    "none": None,
    "list": [1, [2, {"deep": [None, False]}], ""],
    "": {"empty key": {}},
    "kind": "memory",
}


def test_remember_returns_the_given_values_and_the_defaults(memory: Driver) -> None:
    stored = memory.remember("Ana likes tea.")
    assert stored.id
    assert (stored.content, stored.memory_type) == ("Ana likes tea.", "episodic")
    assert (stored.user_id, stored.session_id) == (None, None)
    assert stored.metadata == {}
    assert stored.created_at == NOW
    assert stored.expires_at is None
    assert stored.pinned is False
    assert stored.access_count == 0
    assert stored.deduplicated is False


def test_every_field_comes_back_from_every_reading_verb(memory: Driver) -> None:
    said = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    stored = memory.remember(
        "  Ana \n likes\ttea ☕.  ",
        memory_type="preference",
        user_id=" ana ",
        session_id="séance/1",
        ttl_days=1000.5,
        pinned=True,
        metadata=METADATA,
        created_at=said,
    )
    assert stored.content == "  Ana \n likes\ttea ☕.  "
    assert stored.memory_type == "preference"
    assert (stored.user_id, stored.session_id) == (" ana ", "séance/1")
    assert stored.metadata == METADATA
    assert stored.created_at == said
    assert stored.created_at.utcoffset() == timedelta(0)
    assert stored.expires_at == said + timedelta(days=1000.5)
    assert stored.pinned is True

    assert memory.get(stored.id) == stored
    assert memory.memories(user_id=" ana ") == [stored]
    found = memory.recall("tea", user_id=" ana ")[0]
    injected = memory.inject_context("tea", user_id=" ana ").memories[0]
    for recalled in (found, injected):
        for name in (
            "id content memory_type user_id session_id metadata created_at expires_at pinned"
        ).split():
            assert getattr(recalled, name) == getattr(stored, name), name


def test_every_memory_type_is_kept_and_recalled(memory: Driver) -> None:
    for type_ in TYPES:
        memory.remember("Tea at four.", memory_type=type_, user_id=type_)
        assert [m.memory_type for m in memory.recall("tea", user_id=type_)] == [type_]
        assert [m.memory_type for m in memory.memories(user_id=type_, memory_type=type_)] == [type_]


def test_metadata_is_a_copy_both_ways(memory: Driver) -> None:
    given = {"tags": ["a"]}
    stored = memory.remember("Tea.", user_id="ana", metadata=given)
    given["tags"].append("b")
    stored.metadata["tags"].append("c")
    assert memory.get(stored.id).metadata == {"tags": ["a"]}


def test_expiry_counts_from_the_date_of_the_memory(memory: Driver) -> None:
    said = NOW - timedelta(hours=1)
    for ttl_days in (1, 0.5, 36_500, 1e-3):
        stored = memory.remember(f"Tea for {ttl_days}.", ttl_days=ttl_days, created_at=said)
        assert stored.expires_at == said + timedelta(days=ttl_days)


def test_any_date_is_kept_to_the_microsecond_and_can_be_recalled(memory: Driver) -> None:
    for moment in (
        datetime.min.replace(tzinfo=timezone.utc),
        datetime(1, 1, 2, tzinfo=timezone.utc),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
        datetime(1970, 1, 1, tzinfo=timezone.utc),
        datetime(2100, 2, 28, 12, 0, 0, 1, tzinfo=timezone.utc),
        datetime.max.replace(tzinfo=timezone.utc),
    ):
        whose = {"user_id": str(moment)}
        stored = memory.remember("Tea at four.", created_at=moment, **whose)
        assert memory.get(stored.id).created_at == moment
        assert [m.created_at for m in memory.recall("tea", **whose)] == [moment]
        assert memory.inject_context("tea", **whose).context.endswith("Tea at four.")


def test_remember_many_stores_in_order_with_each_drafts_own_fields(
    memory: Driver, clock: Clock
) -> None:
    drafts = [
        MemoryDraft(content="first", user_id="ana"),
        MemoryDraft(
            content="second", memory_type="semantic", user_id="bob", session_id="s", pinned=True
        ),
        MemoryDraft(content="third", metadata={"n": 3}, ttl_days=2),
    ]
    stored = memory.remember_many(drafts)
    assert [m.content for m in stored] == ["first", "second", "third"]
    assert [(m.user_id, m.session_id) for m in stored] == [
        ("ana", None),
        ("bob", "s"),
        (None, None),
    ]
    assert stored[1].memory_type == "semantic"
    assert stored[1].pinned
    assert stored[2].metadata == {"n": 3}
    assert stored[2].expires_at == clock.now + timedelta(days=2)
    assert len({m.id for m in stored}) == 3
    assert all(memory.get(m.id) == m for m in stored)


def test_remember_many_accepts_any_iterable_even_an_empty_one(memory: Driver) -> None:
    assert memory.remember_many([]) == []
    stored = memory.remember_many(MemoryDraft(content=f"note {n}") for n in range(3))
    assert [m.content for m in stored] == ["note 0", "note 1", "note 2"]
    assert memory.stats().memories == 3


BAD_DRAFTS: list[object] = [
    MemoryDraft(content=" "),
    MemoryDraft(content="ok", user_id=""),
    MemoryDraft(content="ok", memory_type="gossip"),
    MemoryDraft(content="ok", ttl_days=-1),
    MemoryDraft(content="ok", metadata={"x": float("nan")}),
    MemoryDraft(content="ok", created_at=datetime(2026, 1, 1)),
    "no draft",
    None,
]


def test_one_bad_draft_stores_none(memory: Driver) -> None:
    good = [MemoryDraft(content="good 1"), MemoryDraft(content="good 2")]
    for bad, place in product(BAD_DRAFTS, range(3)):
        with pytest.raises(InvalidInput):
            memory.remember_many([*good[:place], bad, *good[place:]])
        assert memory.memories() == []
    assert memory.stats().memories == 0


def test_remember_many_of_thousands_keeps_all(memory: Driver) -> None:
    stored = memory.remember_many(
        [MemoryDraft(content=f"note {n}", user_id="ana") for n in range(3000)]
    )
    assert len({m.id for m in stored}) == 3000
    assert memory.stats().memories == 3000
    assert len(memory.recall("note", user_id="ana", top_k=3000)) == 3000


def test_an_exchange_is_one_memory_holding_both_sides(memory: Driver) -> None:
    stored = memory.save_exchange(
        "Where is the ladder?", "In the shed.", user_id="ana", session_id="s", ttl_days=3
    )
    assert len(stored) == 1
    assert stored[0].content == "User: Where is the ladder?\nAssistant: In the shed."
    assert stored[0].memory_type == "episodic"
    assert (stored[0].user_id, stored[0].session_id) == ("ana", "s")
    assert stored[0].expires_at == NOW + timedelta(days=3)
    assert memory.memories(user_id="ana", session_id="s") == stored


def test_an_exchange_is_found_by_the_users_words_before_the_answers(memory: Driver) -> None:
    memory.save_exchange("How do I bake sourdough?", "Mind the zeppelin.", user_id="ana")
    memory.save_exchange("What did the zeppelin cost?", "Sourdough is cheap.", user_id="ana")
    best = memory.recall("sourdough", user_id="ana", top_k=1)[0]
    assert best.content.startswith("User: How do I bake sourdough?")
    both = memory.recall("zeppelin", user_id="ana", order_by="similarity")
    assert both[0].content.startswith("User: What did the zeppelin cost?")
    assert 0 < both[1].similarity < both[0].similarity


def test_a_pair_too_long_for_one_memory_gives_two(memory: Driver) -> None:
    said, answer = "word " * 120_000, "reply " * 120_000
    stored = memory.save_exchange(said, answer, user_id="ana")
    assert [m.content for m in stored] == [said, answer]
    found = memory.recall("word", user_id="ana")
    assert {m.id for m in found} == {m.id for m in stored}
    assert all(m.similarity > 0 for m in found)


def test_a_pair_that_just_fits_is_one_memory(memory: Driver) -> None:
    room = 1_048_576 - len("User: \nAssistant: ")
    stored = memory.save_exchange("a" * (room - 1), "b", user_id="ana")
    assert len(stored) == 1
    assert len(stored[0].content) == 1_048_576
    assert len(memory.save_exchange("c" * room, "d", user_id="ana")) == 2


def test_stored_memories_are_recallable_at_once(memory: Driver) -> None:
    for n in range(20):
        memory.remember(f"fact number {n} about gadget{n}", user_id="ana")
        found = memory.recall(f"gadget{n}", user_id="ana", top_k=1)
        assert found[0].content == f"fact number {n} about gadget{n}"


def test_memories_outlive_the_object_that_stored_them(open_shared) -> None:
    first = open_shared()
    stored = first.remember("Ana likes tea.", user_id="ana", metadata=METADATA)
    first.close()
    second = open_shared()
    assert second.get(stored.id) == stored
    assert [m.id for m in second.recall("tea", user_id="ana")] == [stored.id]


def test_two_open_memories_see_each_others_writes_at_once(open_shared) -> None:
    one, two = open_shared(), open_shared()
    for n in range(5):
        stored = one.remember(f"note {n} on gadget{n}", user_id="ana")
        assert two.recall(f"gadget{n}", user_id="ana", top_k=1)[0].id == stored.id
        assert one.forget(id=two.remember("passing", user_id="ana").id) == 1
        assert all(m.content != "passing" for m in two.recall("passing", user_id="ana", top_k=99))


def test_the_first_argument_of_a_draft_is_its_content(memory: Driver) -> None:
    assert memory.remember_many([MemoryDraft("first", user_id="ana")])[0].content == "first"
