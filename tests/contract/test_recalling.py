"""Recall: number, choice and order of the memories, and the meaning of the three scores."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import product

import pytest

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import MemoryDraft

TEXTS = [
    "Ana plays the cello in an orchestra.",
    "Ana's brother Tom lives in Lisbon.",
    "The car needs new tyres before winter.",
    "Ana is allergic to peanuts.",
    "The orchestra rehearses on Tuesday evenings.",
    "Tom visited in March 2023.",
    "Ana prefers window seats on trains.",
    "Deploy with `make release` after the tests pass.",
    "The cello was repaired in Lisbon.",
    "Winter tyres are stored in the garage.",
]
QUERIES = [
    "What does Ana play?",
    "Where does Tom live?",
    "When did Tom visit?",
    "tyres",
    "the of and",
    "Ana: cello orchestra Lisbon winter tyres garage peanuts 2023",
    "zzzz unknown words",
    "?",
]
ORDERS = ["confidence", "similarity"]


@pytest.fixture
def filled(memory: Driver, clock: Clock) -> Driver:
    """A memory with all kinds of memories of different ages, for one user."""
    types = ["episodic", "semantic", "episodic", "procedural", "context"]
    memory.remember_many(
        [
            MemoryDraft(
                text,
                memory_type=types[n % len(types)],
                user_id="ana",
                session_id=f"s{n % 3}",
                created_at=clock.now - timedelta(days=9 * n),
            )
            for n, text in enumerate(TEXTS)
        ]
    )
    for n in range(5):
        memory.save_exchange(f"Question {n} on tyres and Tom?", f"Answer {n}.", user_id="ana")
    return memory


def expected_confidence(found, now) -> float:
    age_days = (now - found.created_at).total_seconds() / 86_400
    fades = found.memory_type in ("episodic", "context")
    recency = 1 / (1 + math.exp(0.05 * (age_days - 30))) if fades else 1.0
    frequency = min(math.log(1 + found.access_count) / math.log(11), 1.0)
    return 0.6 * found.similarity + 0.2 * recency + 0.2 * frequency


def test_scores_are_shares_and_confidence_is_the_formula(filled: Driver, clock: Clock) -> None:
    for query, order_by in product(QUERIES, ORDERS):
        for found in filled.recall(query, user_id="ana", top_k=50, order_by=order_by):
            for score in (found.similarity, found.confidence, found.probability):
                assert isinstance(score, float)
                assert 0 <= score <= 1
            assert 0 < found.probability < 1
            assert found.confidence == pytest.approx(expected_confidence(found, clock.now))


def test_the_order_is_by_confidence_or_by_similarity(filled: Driver) -> None:
    for query, name in product(QUERIES, ORDERS):
        found = filled.recall(query, user_id="ana", top_k=50, order_by=name)
        scores = [getattr(each, name) for each in found]
        assert scores == sorted(scores, reverse=True), query


def test_recall_gives_exactly_top_k_while_there_are_enough(filled: Driver) -> None:
    for query in QUERIES:
        for top_k in (1, 2, 5, 14, 15):
            assert len(filled.recall(query, user_id="ana", top_k=top_k)) == top_k
        for top_k in (16, 10**9, 10**30):
            assert len(filled.recall(query, user_id="ana", top_k=top_k)) == 15


def test_recall_gives_five_by_default(filled: Driver) -> None:
    assert len(filled.recall("tyres", user_id="ana")) == 5


def test_the_most_similar_are_chosen_whatever_the_kind_of_memory(filled: Driver) -> None:
    for query in QUERIES:
        everything = filled.recall(query, user_id="ana", top_k=50, order_by="similarity")
        for top_k in (1, 2, 3, 7, 14):
            some = filled.recall(query, user_id="ana", top_k=top_k, order_by="similarity")
            assert [m.similarity for m in some] == [m.similarity for m in everything[:top_k]]


def test_both_orders_choose_the_same_memories(filled: Driver) -> None:
    for query in QUERIES:
        by_confidence = filled.recall(query, user_id="ana", top_k=4)
        by_similarity = filled.recall(query, user_id="ana", top_k=4, order_by="similarity")
        assert {m.id for m in by_confidence} == {m.id for m in by_similarity}, query


def test_a_threshold_keeps_exactly_the_memories_that_reach_it(filled: Driver) -> None:
    for query in QUERIES:
        similarity = {m.id: m.similarity for m in filled.recall(query, user_id="ana", top_k=50)}
        exact = sorted(similarity.values())[len(similarity) // 2]
        for threshold in (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.0, exact):
            found = filled.recall(query, user_id="ana", top_k=50, threshold=threshold)
            assert {m.id: m.similarity for m in found} == {
                id_: value for id_, value in similarity.items() if value >= threshold
            }, (query, threshold)


def test_a_memory_type_limits_recall_and_changes_no_score(filled: Driver) -> None:
    everything = {m.id: m for m in filled.recall("Tom tyres", user_id="ana", top_k=50)}
    for memory_type in ("episodic", "semantic", "procedural", "context", "fact"):
        found = filled.recall("Tom tyres", user_id="ana", top_k=50, memory_type=memory_type)
        assert {m.id for m in found} == {
            id_ for id_, m in everything.items() if m.memory_type == memory_type
        }
        assert all(m.similarity == everything[m.id].similarity for m in found)
        assert all(m.probability == everything[m.id].probability for m in found)


@pytest.mark.parametrize("memory_type", ["episodic", "semantic"])
def test_the_answer_comes_first(memory: Driver, memory_type: str) -> None:
    memory.remember_many(
        [MemoryDraft(text, memory_type=memory_type, user_id="ana") for text in TEXTS]
    )
    expected = {
        "Does Ana play in an orchestra?": "Ana plays the cello in an orchestra.",
        "peanut allergies": "Ana is allergic to peanuts.",
        "make release": "Deploy with `make release` after the tests pass.",
        "window seat": "Ana prefers window seats on trains.",
    }
    for query, answer in expected.items():
        found = memory.recall(query, user_id="ana", order_by="similarity")
        assert found[0].content == answer
        assert found[0].probability == max(m.probability for m in found)


def test_a_turn_with_all_words_of_the_query_beats_a_statement_with_one(memory: Driver) -> None:
    turn = memory.remember("Ana plays the cello in an orchestra.", user_id="ana")
    memory.remember("The orchestra is new.", memory_type="semantic", user_id="ana")
    found = memory.recall(
        "Does Ana play in an orchestra?", user_id="ana", top_k=1, order_by="similarity"
    )
    assert [m.id for m in found] == [turn.id]


def test_shared_memories_join_only_when_asked_for(memory: Driver) -> None:
    own = memory.remember("Ana's tea is green.", user_id="ana")
    shared = memory.remember("The office tea is black.")
    memory.remember("Bob's tea is white.", user_id="bob")
    assert [m.id for m in memory.recall("tea", user_id="ana")] == [own.id]
    both = memory.recall("tea", user_id="ana", include_shared=True)
    assert {m.id for m in both} == {own.id, shared.id}
    assert [m.id for m in memory.recall("tea", include_shared=True)] == [shared.id]
    assert len(memory.recall("tea", user_id="ana", include_shared=True, top_k=1)) == 1


def test_shared_memories_join_the_recall_of_one_session(memory: Driver) -> None:
    own = memory.remember("Ana's tea is green.", user_id="ana", session_id="s1")
    memory.remember("Ana's tea was red.", user_id="ana", session_id="s2")
    shared = memory.remember("The office tea is black.")
    found = memory.recall("tea", user_id="ana", session_id="s1", include_shared=True)
    assert {m.id for m in found} == {own.id, shared.id}


def test_an_empty_memory_recalls_nothing(memory: Driver) -> None:
    assert memory.recall("tea", user_id="ana") == []
    memory.remember("tea", user_id="bob")
    assert memory.recall("tea", user_id="ana") == []
    assert memory.recall("tea", user_id="bob", memory_type="fact") == []


def test_a_threshold_means_the_same_whatever_else_matches(memory: Driver) -> None:
    memory.remember("Ana likes green tea.", memory_type="semantic", user_id="ana")
    alone = memory.recall("green tea", user_id="ana")[0].similarity
    hopeless = memory.recall("submarine", user_id="ana")[0].similarity
    assert hopeless == 0 < alone < 1


@pytest.mark.slow
def test_other_users_memories_change_no_score(memory: Driver) -> None:
    texts = [*TEXTS, "Nothing in common."]
    memory.remember_many(
        [MemoryDraft(content=text, user_id="ana", session_id="s") for text in texts]
    )

    def scores() -> list[tuple[str, float, float]]:
        found = memory.recall("Ana cello Lisbon", user_id="ana", top_k=50, order_by="similarity")
        return [(m.id, m.similarity, m.probability) for m in found]

    before = scores()
    memory.remember_many(
        [
            MemoryDraft(
                content=f"Ana cello Lisbon tyres {n}", user_id=f"other{n % 7}", session_id="s"
            )
            for n in range(2000)
        ]
    )
    memory.remember_many([MemoryDraft(content=f"Ana cello {n}") for n in range(200)])
    assert scores() == before


def test_recency_counts_for_episodic_memories_only(memory: Driver, clock: Clock) -> None:
    old = NOW - timedelta(days=365)
    for memory_type in ("episodic", "semantic", "procedural", "fact", "preference", "context"):
        memory.remember("Ana likes tea.", memory_type=memory_type, user_id="ana", created_at=old)
    found = {m.memory_type: m for m in memory.recall("tea", user_id="ana", top_k=9)}
    for memory_type, m in found.items():
        recency = (m.confidence - 0.6 * m.similarity) / 0.2
        assert recency == pytest.approx(
            0 if memory_type in ("episodic", "context") else 1, abs=1e-6
        )


HARD_QUERIES = [
    "'; DROP TABLE records; --",
    '"unbalanced',
    "tea AND (",
    "NEAR(tea, 2)",
    "tea*",
    "^tea",
    "-tea",
    "content: tea",
    "[a-z]+(?:",
    "\\",
    "%",
    "_",
    "{}",
    "tea\0tea",
    "tea \ud800 tea",
    "\u202etea",
    "😀",
    "tea " * 262_144,
    "x" * 1_048_576,
    " ".join(f"w{n}" for n in range(20_000)),
    "日本語のお茶",
    "when " * 1000,
]


def test_any_text_is_a_query(memory: Driver) -> None:
    memory.remember("Ana likes tea. 100% of it_", user_id="ana")
    memory.remember("Bob likes tea.", user_id="bob")
    for query in HARD_QUERIES:
        for found in (
            memory.recall(query, user_id="ana"),
            memory.inject_context(query, user_id="ana").memories,
        ):
            assert [m.content for m in found] == ["Ana likes tea. 100% of it_"], query[:24]
            assert 0 <= found[0].similarity <= 1
        assert memory.stats().memories == 2
