"""Search: results, their order and their scores, for any memories and queries."""

from __future__ import annotations

import math
import random
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inside import STOP_WORDS, Floats, Form, Hits, IndexRow, Limits, ScopeIndex, search
from langchain_kronvex import EmbeddingMismatch
from langchain_kronvex.embeddings import StaticEmbeddings

from .conversations import (
    NOW,
    QUERIES,
    VECTOR,
    WAYS,
    WORDS,
    asked,
    built,
    conversations,
    exchange,
    row,
    similarities,
    statement,
    unit,
)  # fmt: skip

in_both_ways = pytest.mark.parametrize("way", WAYS)
QUERY = st.sampled_from(QUERIES) | st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "session_id": st.sampled_from(["s1", "s2", "", "nobody"]),
        "memory_type": st.sampled_from(["episodic", "semantic", "fact"]),
    },
)


def test_an_empty_index_returns_nothing() -> None:
    assert search(ScopeIndex(), asked("tea")) == Hits([], [], [])
    assert search(built([row(1, "tea", expires=NOW)]), asked("tea")) == Hits([], [], [])


@pytest.mark.slow
@in_both_ways
@settings(max_examples=25, deadline=None)
@given(
    rows=conversations(most=40),
    vector=st.none() | VECTOR,
    query=QUERY,
    filters=FILTERS,
    limit=st.integers(1, 9),
)
def test_results_contain_only_allowed_memories(
    way: str, rows: list[IndexRow], vector: Floats | None, query: str, filters: Any, limit: int
) -> None:
    request = asked(query, vector=vector, limit=limit, **filters)
    found = search(built(rows), request, WAYS[way])
    same = search(built(rows), request, WAYS[way])
    assert found == same
    wanted = {
        each.seq
        for each in rows
        if each.expires > NOW
        and filters.get("session_id", each.session_id) == each.session_id
        and filters.get("memory_type", each.memory_type) == each.memory_type
    }
    assert set(found.seqs) <= wanted
    assert len(found.seqs) == len(set(found.seqs)) == min(limit, len(wanted))
    assert found.similarity == sorted(found.similarity, reverse=True)
    assert found.probability == sorted(found.probability, reverse=True)
    assert all(0 <= value <= 1 for value in found.similarity)
    assert all(0 < value < 1 for value in found.probability)


@pytest.mark.slow
@in_both_ways
@settings(max_examples=25, deadline=None)
@given(
    rows=conversations(most=40), vector=st.none() | VECTOR, query=QUERY, filters=FILTERS,
    limits=st.tuples(st.integers(1, 4), st.integers(1, 4)).map(sorted),
)  # fmt: skip
def test_a_smaller_limit_is_the_beginning_of_a_larger_one(
    way: str, rows: list[IndexRow], vector: Floats | None, query: str, filters: Any,
    limits: list[int],
) -> None:  # fmt: skip
    assume(way == "exact" or len(rows) > 4 * limits[1])  # else all are looked at after all
    few, many = limits
    index = built(rows)
    some, more = (
        search(index, asked(query, vector=vector, limit=limit, **filters), WAYS[way])
        for limit in limits
    )
    assert some.seqs == more.seqs[:few]
    assert some.similarity == more.similarity[:few]
    assert len(more.seqs) <= many


@pytest.mark.slow
@in_both_ways
@settings(max_examples=15, deadline=None)
@given(rows=conversations(most=40), vector=st.none() | VECTOR, query=QUERY)
def test_a_threshold_keeps_exactly_the_memories_that_reach_it(
    way: str, rows: list[IndexRow], vector: Floats | None, query: str
) -> None:
    index = built(rows)
    whole = search(index, asked(query, vector=vector, limit=9), WAYS[way])
    for threshold in (0.0, 0.1, 0.5, 0.9, *whole.similarity[:2]):
        request = asked(query, vector=vector, limit=9, threshold=threshold)
        some = search(index, request, WAYS[way])
        assert some.similarity == [s for s in whole.similarity if s >= threshold]
        assert some.seqs == whole.seqs[: len(some.seqs)]
        assert some.probability == whole.probability[: len(some.seqs)]


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    conversations(forms=[Form.EXCHANGE, Form.STATEMENT]),
    st.none() | VECTOR,
    st.randoms(use_true_random=False),
)
def test_the_order_of_writing_statements_and_exchanges_does_not_matter(
    rows: list[IndexRow], vector: Floats | None, random: Any
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    for query in QUERIES:
        found, other = (
            similarities(built(batch), query, vector=vector) for batch in (rows, shuffled)
        )
        assert found == pytest.approx(other, abs=1e-5)


SAID = [word for word in WORDS if word.isalpha() and word not in ("the", "of", "i", "my", "when")]


@in_both_ways
@pytest.mark.parametrize("form", list(Form))
@settings(max_examples=15, deadline=None)
@given(
    rows=conversations(),
    vectors=st.tuples(st.none() | VECTOR, st.none() | VECTOR),
    query=st.lists(st.sampled_from(SAID), min_size=1, max_size=4, unique=True),
    data=st.data(),
)
def test_a_memory_with_more_of_the_words_is_not_ranked_lower(
    way: str,
    form: Form,
    rows: list[IndexRow],
    vectors: tuple[Floats | None, Floats | None],
    query: list[str],
    data: st.DataObject,
) -> None:
    place = data.draw(st.integers(0, len(query) - 1))
    more = ["words", *query[: place + 1]]
    fewer = ["words", *query[:place], "else"]
    fields = {"form": form, "memory_type": "fact", "vector": vectors[0], "created": NOW - 10**7}
    rows = [
        *rows,
        row(100, " ".join(fewer), session_id="a", **fields),
        row(101, " ".join(more), session_id="b", **fields),
    ]
    index = built(rows)
    question = {"vector": vectors[1], "memory_type": "fact"}
    found = similarities(index, " ".join(query), way=way, limit=2, **question)
    best = search(index, asked(" ".join(query), limit=1, **question), WAYS[way])
    assert found[101] >= found[100]
    assert best.seqs == [101]


@in_both_ways
@settings(max_examples=15, deadline=None)
@given(
    rows=conversations(),
    vector=st.none() | VECTOR,
    query=st.lists(st.sampled_from(SAID), max_size=4),
)
def test_words_of_expired_memories_do_not_count(
    way: str, rows: list[IndexRow], vector: Floats | None, query: list[str]
) -> None:
    def secret(words: list[str], mark: str) -> str:
        return " ".join(mark + word for word in words)

    hidden = [
        replace(
            each, text=secret(each.text.split(), "gone"), reply=secret(each.reply.split(), "gone")
        )
        if each.expires <= NOW
        else each
        for each in rows
    ]
    index = built(hidden)
    found, expected = (
        search(index, asked(secret(query, mark), vector=vector, limit=3), WAYS[way])
        for mark in ("gone", "unknown")
    )
    assert found.seqs == expected.seqs
    assert found.similarity == pytest.approx(expected.similarity, abs=1e-6)


def test_the_vector_of_an_expired_memory_does_not_count() -> None:
    query, other = unit([1, 0, 0]), unit([0, 1, 0])
    rows = [
        row(1, "a", vector=query, expires=NOW - 1),
        row(2, "b", vector=other),
        row(3, "c", vector=query, expires=NOW + 1),
    ]
    alive, gone = (
        similarities(built([*rows[:2], replace(rows[2], expires=expires)]), "x", vector=query)
        for expires in (NOW + 1, NOW - 1)
    )
    assert alive.keys() == {2, 3}
    assert gone.keys() == {2}
    assert alive[2] > gone[2]


def test_types_and_sessions_never_seen_match_nothing() -> None:
    index = built([row(1, "tea")])
    assert search(index, asked("tea", memory_type="fact")).seqs == []
    assert search(index, asked("tea", session_id="episodic")).seqs == []
    assert search(index, asked("tea", session_id="s", memory_type="episodic")).seqs == [1]


def test_turns_are_found_by_the_words_around_them() -> None:
    found = similarities(built([row(1, "the cello is old"), row(2, "it is here")]), "cello")
    alone = similarities(
        built([row(1, "the cello is old"), row(2, "it is here", session_id="t")]), "cello"
    )
    assert found[1] > found[2] > alone[2]


@in_both_ways
def test_vectors_find_memories_that_words_do_not(way: str) -> None:
    rows = [
        statement(1, "the cello", vector=unit([1, 0, 0, 0])),
        statement(2, "the car", vector=unit([0, 1, 0, 0])),
        statement(3, "no vector yet"),
        *[statement(n, "other", vector=unit([0, 1, 1, 0])) for n in range(4, 30)],
    ]
    index = built(rows)
    found = search(index, asked("unknown", vector=unit([1, 0, 0, 0]), limit=3), WAYS[way])
    by_words = search(index, asked("yet", vector=unit([0, 0, 0, 1]), limit=3), WAYS[way])
    assert found.seqs[0] == 1
    assert found.similarity[0] > 0.5 > found.similarity[1]
    assert by_words.seqs[0] == 3


def test_a_vector_of_another_width_is_rejected() -> None:
    index = built([row(1, "tea", vector=unit([1, 0, 0]))])
    with pytest.raises(EmbeddingMismatch, match=r"3 dimensions.* 2"):
        search(index, asked("tea", vector=unit([1, 0])))
    assert search(built([row(1, "tea")]), asked("tea", vector=unit([1, 0]))).seqs == [1]


def test_an_exchange_is_found_by_what_the_user_said_and_by_what_was_answered() -> None:
    rows = [
        exchange(1, "which tea shall I drink", "sencha from Uji"),
        exchange(2, "which car shall I buy", "a small one"),
        *[exchange(n, f"what of thing {n}", f"answer {n}") for n in range(3, 20)],
    ]
    index = built(rows)
    for query in ("tea", "sencha", "Uji"):
        assert search(index, asked(query)).seqs[0] == 1
    assert similarities(index, "tea")[1] > similarities(index, "sencha")[1] > 0


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def workload() -> tuple[Any, ScopeIndex]:
    """Six thousand turns in real English words, with the bundled embeddings."""
    drafts = list(
        (drawn := runpy.run_path(str(BENCHMARKS / "workload.py"))["Workload"]()).drafts(6000)
    )
    vectors = StaticEmbeddings().embed_array([draft.content for draft in drafts])
    rows = [
        row(
            n,
            draft.content,
            session_id=draft.session_id,
            created=draft.created_at.timestamp(),
            vector=vectors[n],
        )
        for n, draft in enumerate(drafts)
        if draft.created_at
    ]
    return drawn, built(rows)


def asked_for(drawn: Any, count: int, among: int) -> list[tuple[int, str]]:
    """Return turns, each with a question that contains one to three of its words."""
    chance = random.Random(3)
    found = []
    for n in range(count):
        seq = chance.randrange(among)
        words = [word for word in drawn.sentence(seq).split() if word not in STOP_WORDS]
        shared = chance.sample(words, min(1 + n % 3, len(words)))
        found.append((seq, f"What did Ana say of {' and '.join(shared)}?"))
    return found


# Derived memories are never alone: they stand beside those that they were derived from.
@pytest.mark.parametrize("form", [Form.TURN, Form.EXCHANGE, Form.STATEMENT])
@pytest.mark.parametrize("by_meaning", [True, False])
def test_probability_is_calibrated(
    workload: tuple[Any, ScopeIndex], form: Form, by_meaning: bool
) -> None:
    drawn, _ = workload
    drafts = list(drawn.drafts(800))
    vectors = StaticEmbeddings().embed_array([draft.content for draft in drafts])
    index = built(
        [
            row(
                n,
                draft.content,
                form=form,
                reply="ok" if form is Form.EXCHANGE else "",
                session_id=draft.session_id,
                created=draft.created_at.timestamp(),
                vector=vectors[n] if by_meaning else None,
            )
            for n, draft in enumerate(drafts)
        ]
    )
    judged, first = [], []
    for seq, query in asked_for(drawn, 150, 800):
        vector = StaticEmbeddings().embed_array([query])[0] if by_meaning else None
        found = search(index, asked(query, vector=vector, limit=10))
        judged += [(p, s == seq) for s, p in zip(found.seqs, found.probability, strict=True)]
        first.append((found.probability[0], found.seqs[0] == seq))
    assert len(judged) == 1500
    error = runpy.run_path(str(BENCHMARKS / "scores.py"))["reliability_error"](judged)
    assert error < 0.1
    sure, found_first = np.mean(first, axis=0)
    assert -0.35 < sure - found_first < 0.1  # of the best, rather too modest than too sure
    told, right = np.array(judged, float).T
    assert right[told > 0.4].mean() > 3 * right[told < 0.2].mean()


@pytest.mark.parametrize("by_meaning", [True, False])
def test_the_prefilter_finds_the_same_memories_as_a_full_search(
    workload: tuple[Any, ScopeIndex], by_meaning: bool
) -> None:
    drawn, index = workload
    queries = drawn.queries(50, 6000)
    vectors = StaticEmbeddings().embed_array(queries) if by_meaning else [None] * 50
    questions = [asked(q, vector=v, limit=10) for q, v in zip(queries, vectors, strict=True)]
    likely = [search(index, question) for question in questions]
    exact = [search(index, question, Limits(exact_up_to=10**9)) for question in questions]
    shares = [
        len(set(some.seqs) & set(all_.seqs)) / 10 for some, all_ in zip(likely, exact, strict=True)
    ]
    assert np.mean(shares) >= 0.85
    first = [some.seqs[0] == all_.seqs[0] for some, all_ in zip(likely, exact, strict=True)]
    assert np.mean(first) >= 0.85
    # A threshold means nearly the same in a store of any size.
    gaps = [
        abs(one - other)
        for some, all_ in zip(likely, exact, strict=True)
        for seq, one in zip(some.seqs, some.similarity, strict=True)
        for other in [dict(zip(all_.seqs, all_.similarity, strict=True)).get(seq, math.nan)]
        if not math.isnan(other)
    ]
    assert np.mean(gaps) < 0.05
