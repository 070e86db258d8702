"""The memories that the prefilter chooses."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inside import (
    LIMITS,
    Floats,
    IndexRow,
    Limits,
    ScopeIndex,
    candidates,
    parse_query,
    prefilter,
    search,
)

from .conversations import (
    AT,
    NOW,
    QUERIES,
    VECTOR,
    WAYS,
    asked,
    built,
    conversations,
    exchange,
    row,
    similarities,
    statement,
    unit,
)  # fmt: skip


def looked_at(
    index: ScopeIndex, query: str, vector: Floats | None, wanted: np.ndarray | None, limit: int,
    limits: Limits = LIMITS,
) -> list[int]:  # fmt: skip
    found: list[int] = candidates(
        index, parse_query(index, query, vector, AT), wanted, limit, limits
    ).tolist()
    return found


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    conversations(most=40),
    st.none() | VECTOR,
    st.sampled_from(QUERIES),
    st.integers(1, 9),
    st.none() | st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_enough_memories_are_chosen_and_no_others_than_neighbours(
    rows: list[IndexRow],
    vector: Floats | None,
    query: str,
    limit: int,
    marks: list[bool] | None,
) -> None:
    index = built(rows)
    wanted = None if marks is None else np.array(marks[: len(rows)])
    places = looked_at(index, query, vector, wanted, limit, WAYS["likely"] or LIMITS)
    assert places == sorted(set(places))
    assert set(places) <= set(range(len(rows)))
    may = set(range(len(rows))) if wanted is None else set(np.flatnonzero(wanted).tolist())
    inside = may & set(places)
    assert len(inside) >= min(limit, len(may))
    lent = {int(n) for place in inside for n in index.table["neighbours"][place]}
    assert set(places) <= inside | lent


@pytest.mark.parametrize(
    ("size", "top_k", "calls"),
    [
        (3, 1, 0),
        (LIMITS.exact_up_to, 1, 0),
        (LIMITS.exact_up_to + 1, 5, 1),
        (LIMITS.exact_up_to + 1, LIMITS.exact_up_to + 1, 0),
    ],
)
def test_only_large_stores_are_prefiltered_unless_many_memories_are_wanted(
    size: int, top_k: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = built([statement(n, f"tea {n}") for n in range(size)])
    looked = Mock(wraps=candidates)
    monkeypatch.setattr(prefilter, "candidates", looked)
    search(index, asked("tea", limit=top_k))
    assert looked.call_count == calls
    if calls:
        assert len(looked_at(index, "tea", None, None, top_k)) < size / 2


@pytest.fixture(scope="module")
def many() -> ScopeIndex:
    """More memories of tea drinkers than are scored, with one cellist in the middle."""
    rows = [row(n, f"we drink tea at {n}", created=NOW - 4000.0 * (9000 - n)) for n in range(6000)]
    rows[3000] = row(3000, "the cello is old", created=rows[3000].created, vector=unit([1, 0, 0]))
    rows[3001] = row(3001, "it has strings", created=rows[3000].created, vector=unit([0, 1, 0]))
    return built(rows)


def test_the_best_match_is_found_among_many(many: ScopeIndex) -> None:
    found = search(many, asked("tea or cello", limit=2))
    assert found.seqs[0] == 3000
    assert search(many, asked("tea 4321", limit=1)).seqs == [4321]
    by_meaning = search(many, asked("unknown", limit=1, vector=unit([1, 0, 0.1])))
    assert by_meaning.seqs == [3000]


def test_neighbours_of_matches_are_found_among_many(many: ScopeIndex) -> None:
    assert search(many, asked("cello", limit=2)).seqs == [3000, 3001]


@pytest.mark.parametrize("query", ["unknown", "the of", "?", ""])
def test_a_query_without_matches_returns_the_wanted_number(many: ScopeIndex, query: str) -> None:
    for limit in (1, 10, 300):
        assert len(search(many, asked(query, limit=limit)).seqs) == limit


@pytest.mark.parametrize("query", ["1970", "May", "2 June 2025", "in 2025"])
def test_a_question_of_a_date_alone(many: ScopeIndex, query: str) -> None:
    assert len(search(many, asked(query, limit=5)).seqs) == 5


def test_expired_memories_do_not_displace_others() -> None:
    rows = [statement(n, f"Ana drinks green tea {n}", expires=NOW - 1) for n in range(4000)]
    vector = unit([1, 0, 0, 0])
    for n in (5, 1500, 3990):
        rows[n] = statement(n, "Ana spoke of tea", vector=vector)
    for v in (None, vector):
        assert sorted(search(built(rows), asked("green tea", limit=3, vector=v)).seqs) == [
            5,
            1500,
            3990,
        ]


@pytest.mark.parametrize("vector", [None, unit([0, 0, 1])])
def test_an_answer_is_found_among_many(vector: Floats | None) -> None:
    rows = [exchange(n, f"what of {n}?", f"nothing {n}") for n in range(4000)]
    rows[1234] = exchange(1234, "and now?", "drink sencha")
    found = search(built(rows), asked("sencha", limit=3, vector=vector))
    assert found.seqs[0] == 1234
    assert found.similarity[0] > found.similarity[1]


def test_a_rare_type_is_found_among_many() -> None:
    rows = [statement(n, f"Ana drinks green tea {n}") for n in range(4000)]
    rows[7] = statement(7, "Ana drinks coffee", memory_type="fact")
    rows[8] = statement(8, "tea", memory_type="fact", session_id="other")
    index = built(rows)
    assert search(index, asked("green tea", limit=5, memory_type="fact")).seqs == [8, 7]
    assert search(index, asked("green tea", limit=5, session_id="other")).seqs == [8]
    assert list(similarities(index, "tea", limit=5, session_id="nobody")) == []
