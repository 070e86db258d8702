"""Formulas of relevance, order and cut, by hand values and by property."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from langchain_kronvex import ranking
from langchain_kronvex.ranking import confidence, frequency, recency

SCORES = st.floats(-3, 6, width=32)


def floats(*values: float) -> ranking.Floats:
    return np.array(values, np.float32)


@given(st.lists(SCORES, min_size=2, max_size=30))
def test_similarity_is_monotone_and_a_share(values: list[float]) -> None:
    similar = ranking.similarity(np.sort(floats(*values)))
    assert (np.diff(similar) >= 0).all()
    assert (similar >= 0).all()
    assert (similar <= 1).all()


@given(SCORES, st.lists(SCORES, max_size=10))
def test_similarity_depends_on_nothing_else_in_the_query(value: float, others: list[float]) -> None:
    alone = float(ranking.similarity(floats(value))[0])
    assert ranking.similarity(floats(value, *others))[0] == pytest.approx(alone, abs=1e-6)


def test_similarity_by_hand() -> None:
    similar = ranking.similarity(floats(0, -1, 0.25, 0.5, 1))
    assert similar.tolist() == pytest.approx([0, 0, math.tanh(0.5), math.tanh(1), math.tanh(2)])


@pytest.mark.parametrize("name", ["TURNS", "TURNS_BY_WORDS", "ALONE", "ALONE_BY_WORDS"])
def test_a_full_match_of_one_formula_equals_that_of_another(name: str) -> None:
    weights = getattr(ranking, name)
    best_of_session = weights.words + weights.meaning
    summed = best_of_session + weights.session * best_of_session / 3
    assert weights.full == pytest.approx(summed)


ROWS = st_numpy.arrays(
    np.float32,
    st.integers(0, 40),
    elements=st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0, 2.0]) | SCORES,
)


@given(ROWS, st.integers(1, 50))
def test_best_equals_a_full_sort(relevance: ranking.Floats, count: int) -> None:
    places = range(len(relevance))
    order = sorted(places, key=lambda place: (-relevance[place], -place))
    expected = [place for place in order if relevance[place] > -math.inf][:count]
    assert ranking.best(relevance, count).tolist() == expected


def test_best_takes_any_count() -> None:
    assert ranking.best(floats(1, 3, 2), 10**30).tolist() == [1, 2, 0]
    assert ranking.best(floats(-math.inf, -math.inf), 1).tolist() == []


@given(st.lists(SCORES, min_size=1, max_size=60))
def test_probabilities_are_open_shares_that_follow_relevance(values: list[float]) -> None:
    relevance = floats(*values)
    order = np.argsort(relevance)
    probable = ranking.probability(relevance, order, 1.0)
    assert (probable > 0).all()
    assert (probable < 1).all()
    assert (np.diff(probable) >= 0).all()


@given(st.lists(SCORES, min_size=1, max_size=200))
def test_probabilities_sum_to_about_one_at_most(values: list[float]) -> None:
    # The calibration draws 1 down to .6 and lifts small shares a little; n equal memories
    # get n * sigmoid(-.88 ln n + .39) together, which grows as n ** .12.
    relevance = floats(*values)
    total = float(ranking.probability(relevance, np.arange(len(values)), 1.0).sum())
    bound = len(values) / (1 + math.exp(0.88 * math.log(len(values)) - 0.39))
    assert 0.5 < total <= bound * 1.001
    assert bound < 2.8


def test_probability_by_hand() -> None:
    alone = ranking.probability(floats(1.0), np.array([0]), 1.0)
    assert alone.tolist() == pytest.approx([1 / (1 + math.exp(-0.39))])
    two = ranking.probability(floats(1.0, 0.5, -math.inf), np.array([0, 1]), 1.0)
    share = math.exp(8) / (math.exp(8) + math.exp(4))
    expected = [1 / (1 + math.exp(-(0.88 * math.log(p) + 0.39))) for p in (share, 1 - share)]
    assert two.tolist() == pytest.approx(expected, rel=1e-4)


def test_invisible_memories_take_no_probability() -> None:
    with_hidden = ranking.probability(floats(1, 0.2, -math.inf), np.array([0, 1]), 1.0)
    without = ranking.probability(floats(1, 0.2), np.array([0, 1]), 1.0)
    assert with_hidden.tolist() == without.tolist()


@pytest.mark.parametrize(
    ("memory_type", "age_days", "expected"),
    [
        ("episodic", 30, 0.5),
        ("context", 30, 0.5),
        ("episodic", 0, 0.8175745),
        ("episodic", 10, 0.7310586),
        ("episodic", 50, 0.2689414),
        ("episodic", 365, 5.31578e-08),
        ("episodic", 10**7, 0.0),
        ("episodic", -1000, 1.0),
        ("semantic", 10**7, 1.0),
        ("procedural", 365, 1.0),
        ("fact", 365, 1.0),
        ("preference", 365, 1.0),
    ],
)
def test_recency_by_hand(memory_type: str, age_days: float, expected: float) -> None:
    assert recency(memory_type, age_days) == pytest.approx(expected, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 0), (1, 0.2890648), (3, 0.5781297), (9, 0.9602526), (10, 1), (11, 1), (10**9, 1)],
)
def test_frequency_by_hand(count: int, expected: float) -> None:
    assert frequency(count) == pytest.approx(expected, abs=1e-6)


def test_confidence_by_hand() -> None:
    assert confidence(1, 1, 1) == pytest.approx(1)
    assert confidence(0.5, 0.25, 0.75) == pytest.approx(0.5)
    assert confidence(0, 0, 0) == 0


@given(st.floats(0, 1), st.floats(-1e6, 1e6), st.integers(0, 10**6))
def test_confidence_is_a_share(similar: float, age_days: float, count: int) -> None:
    for memory_type in ("episodic", "semantic"):
        value = confidence(similar, recency(memory_type, age_days), frequency(count))
        assert 0 <= value <= 1 + 1e-12


@given(st.integers(0, 5000), st.data())
def test_rarity_falls_with_the_number_of_memories_that_hold_the_word(
    documents: int, data: st.DataObject
) -> None:
    few = data.draw(st.integers(0, documents))
    many = data.draw(st.integers(few, documents))
    assert ranking.rarity(documents, few) >= ranking.rarity(documents, many) >= 1e-6


def test_rarity_by_hand() -> None:
    assert ranking.rarity(1000, 10) == pytest.approx(math.log(990.5 / 10.5))
    assert ranking.rarity(3, 3) == pytest.approx(math.log(97.5 / 3.5))
    assert ranking.rarity(1000, 1000) == 1e-6


def test_a_term_counts_more_in_a_short_text_and_ever_less_each_time() -> None:
    scores = ranking.term_score(floats(1, 2, 3, 1), floats(10, 10, 10, 40), 10.0, 1.0)
    assert scores.tolist() == pytest.approx([1.0, 2 * 2.2 / 3.2, 3 * 2.2 / 4.2, 2.2 / 4.9])


@given(st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=20))
def test_what_words_can_say_is_bounded(values: list[float]) -> None:
    shares = ranking.saturate(np.sort(floats(*values)))
    assert (shares >= 0).all()
    assert (shares < 1).all()
    assert (np.diff(shares) >= 0).all()
    assert ranking.saturate(floats(5.0)).tolist() == [0.5]
