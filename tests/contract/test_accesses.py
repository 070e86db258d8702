"""Access counts: counted and kept, without influence on which memories are found."""

from __future__ import annotations

import math
from typing import Any

import pytest

from contract.drivers import Driver
from inside import AccessCounter
from langchain_kronvex import KronvexMemory, MemoryDraft


def test_recall_and_context_count_and_other_reading_does_not(memory: Driver) -> None:
    stored = memory.remember("tea", user_id="ana")
    memory.remember("coffee", user_id="bob")
    for _ in range(3):
        memory.get(stored.id)
        memory.memories(user_id="ana")
        memory.sessions()
        memory.recall("coffee", user_id="bob")
    memory.flush()
    assert memory.get(stored.id).access_count == 0
    memory.recall("tea", user_id="ana")
    memory.inject_context("tea", user_id="ana")
    memory.flush()
    assert memory.get(stored.id).access_count == 2
    assert memory.memories(user_id="ana")[0].access_count == 2


def test_only_returned_memories_are_counted(memory: Driver) -> None:
    memory.remember_many([MemoryDraft(f"tea {'leaf ' * n}", user_id="ana") for n in range(6)])
    returned = {m.id for m in memory.recall("tea", user_id="ana", top_k=2)}
    shown = {m.content for m in memory.memories(user_id="ana")}
    memory.inject_context("tea", user_id="ana", already_shown=shown)
    memory.inject_context("tea", user_id="ana", max_tokens=1)
    memory.recall("tea", user_id="ana", threshold=1.0)
    memory.flush()
    counts = {m.id: m.access_count for m in memory.memories(user_id="ana")}
    assert {id_ for id_, count in counts.items() if count} == returned
    assert set(counts.values()) == {0, 1}


def test_a_count_is_known_at_once_and_only_once_written(memory: Driver) -> None:
    memory.remember("tea", user_id="ana")
    for n in range(12):
        assert memory.recall("tea", user_id="ana")[0].access_count == n
        if n % 4 == 3:
            assert memory.flush()


def test_frequency_is_a_part_of_confidence(memory: Driver) -> None:
    memory.remember("tea", user_id="ana", memory_type="semantic")
    for n in range(13):
        found = memory.recall("tea", user_id="ana")[0]
        frequency = min(math.log1p(n) / math.log(11), 1)
        expected = 0.6 * found.similarity + 0.2 + 0.2 * frequency
        assert found.confidence == pytest.approx(expected)


def test_counts_survive_closing_even_without_a_flush(open_shared) -> None:
    first = open_shared()
    stored = first.remember("tea", user_id="ana")
    for _ in range(3):
        first.recall("tea", user_id="ana")
    first.close()
    assert open_shared().get(stored.id).access_count == 3


def test_counts_of_two_open_memories_add_up(open_shared) -> None:
    one, two = open_shared(), open_shared()
    stored = one.remember("tea", user_id="ana")
    for memory in (one, two, two):
        memory.recall("tea", user_id="ana")
    assert one.flush()
    assert two.flush()
    assert one.get(stored.id).access_count == two.get(stored.id).access_count == 3


def test_frequent_recalls_do_not_displace_more_similar_memories(memory: Driver) -> None:
    memory.remember_many(
        [
            MemoryDraft(text, user_id="ana", memory_type="semantic")
            for text in (
                "Ana rides a bicycle to work.",
                "The bicycle of Ana is red and was made in Ghent.",
                "Ana sold the car.",
                "Bicycle lanes are closed.",
                "Ana likes tea.",
            )
        ]
    )
    query = "red bicycle from Ghent"
    before = [m.id for m in memory.recall(query, user_id="ana", top_k=2, order_by="similarity")]
    favourite = memory.recall("tea", user_id="ana", top_k=1)[0].id
    assert favourite not in before
    for _ in range(30):
        memory.recall("tea", user_id="ana", top_k=1)
    for order_by in ("similarity", "confidence"):
        found = memory.recall(query, user_id="ana", top_k=2, order_by=order_by)
        assert {m.id for m in found} == set(before)


def test_accesses_change_no_similarity(memory: Driver) -> None:
    memory.remember_many([MemoryDraft(f"tea note {n}", user_id="ana") for n in range(5)])

    def scores() -> dict[str, tuple[float, float]]:
        found = memory.recall("tea note 3", user_id="ana", top_k=5)
        return {m.id: (m.similarity, m.probability) for m in found}

    before = scores()
    for _ in range(10):
        memory.recall("note 1", user_id="ana", top_k=1)
    memory.flush()
    assert scores() == before


def test_counting_a_memory_forgotten_meanwhile_does_not_fail(memory: Driver) -> None:
    stored = memory.remember("tea", user_id="ana")
    memory.recall("tea", user_id="ana")
    memory.forget(id=stored.id)
    assert memory.flush()
    stats = memory.stats()
    assert (stats.failed, stats.last_error, stats.memories) == (0, None, 0)


def test_an_access_that_is_being_stored_counts_already() -> None:
    with KronvexMemory("sqlite://") as memory:
        stored = memory.remember("tea", user_id="ana")
        backend = memory.engine.backend
        seen = []

        class Storing:
            is_remote = is_read_only = False

            def count_accesses(self, counts: Any, now: Any) -> None:
                seen.append(counter.uncounted(stored.id))
                backend.count_accesses(counts, now)

        counter = AccessCounter(Storing(), memory.engine.writer, memory.engine.clock)
        counter.count([stored.id])
        counter.store()
        assert (seen, counter.uncounted(stored.id)) == ([1], 0)
        assert memory.get(stored.id).access_count == 1
