"""The formulas of relevance and order: values computed by hand, and properties."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inside import confidence, frequency, ranking, recency

SCORES = st.floats(-3, 6, width=32)


def floats(*values: float) -> ranking.Floats:
    return np.array(values, np.float32)


@given(st.lists(SCORES, min_size=2, max_size=30))
def test_similarity_is_monotone_and_between_0_and_1(values: list[float]) -> None:
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
    assert similar.tolist() == pytest.approx([0, 0, math.tanh(0.25), math.tanh(0.5), math.tanh(1)])


FORMULAS = [*ranking.BY_WORDS, *ranking.BY_WORDS_AND_MEANING]
every_formula = pytest.mark.parametrize("formula", FORMULAS, ids=range(len(FORMULAS)))


@every_formula
@given(values=st.lists(SCORES, min_size=2, max_size=30))
def test_relevance_follows_the_weighted_sum_of_its_formula(
    formula: ranking.Weights, values: list[float]
) -> None:
    relevance = ranking.comparable(np.sort(floats(*values)), formula)
    assert relevance.dtype == np.float32
    assert (np.diff(relevance) >= 0).all()


@every_formula
def test_relevance_differs_for_sums_that_differ_by_a_hundredth(formula: ranking.Weights) -> None:
    sums = np.arange(0, 4, 0.01, np.float32)
    assert (np.diff(ranking.comparable(sums, formula)) > 0).all()


@every_formula
def test_a_memory_without_common_features_is_hardly_similar(formula: ranking.Weights) -> None:
    assert ranking.similarity(ranking.comparable(floats(0), formula))[0] < 0.05


def test_each_form_has_its_formula_with_and_without_meaning() -> None:
    assert len(ranking.BY_WORDS) == len(ranking.BY_WORDS_AND_MEANING) == len(ranking.Form)
    for formula in ranking.BY_WORDS:
        assert (formula.meaning, formula.related, formula.feedback) == (0, 0, 0)


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


@given(st.lists(SCORES, min_size=1, max_size=60), st.integers(0, 10**6))
def test_probabilities_are_between_0_and_1_and_follow_relevance(
    values: list[float], others: int
) -> None:
    relevance = floats(*values)
    order = np.argsort(relevance)
    probable = ranking.probability(relevance, order, others)
    assert (probable > 0).all()
    assert (probable < 1).all()
    assert (np.diff(probable) >= 0).all()


@given(st.lists(SCORES, min_size=1, max_size=200))
def test_probabilities_sum_to_about_one_at_most(values: list[float]) -> None:
    # The calibration draws 1 down to .6 and lifts small shares a little; n equal memories
    # get n * sigmoid(-.85 ln n + .44) together, which grows as n ** .15.
    relevance = floats(*values)
    total = float(ranking.probability(relevance, np.arange(len(values)), 0).sum())
    bound = len(values) / (1 + math.exp(0.85 * math.log(len(values)) - 0.44))
    assert 0.5 < total <= bound * 1.001
    assert bound < 3.4


def test_probability_by_hand() -> None:
    alone = ranking.probability(floats(1.0), np.array([0]), 0)
    assert alone.tolist() == pytest.approx([1 / (1 + math.exp(-0.44))])
    two = ranking.probability(floats(1.0, 0.5, -math.inf), np.array([0, 1]), 0)
    share = math.exp(8) / (math.exp(8) + math.exp(4))
    expected = [1 / (1 + math.exp(-(0.85 * math.log(p) + 0.44))) for p in (share, 1 - share)]
    assert two.tolist() == pytest.approx(expected, rel=1e-4)


def test_invisible_memories_take_no_probability() -> None:
    with_hidden = ranking.probability(floats(1, 0.2, -math.inf), np.array([0, 1]), 0)
    without = ranking.probability(floats(1, 0.2), np.array([0, 1]), 0)
    assert with_hidden.tolist() == without.tolist()


@given(st.lists(st.floats(0, 6, width=32), min_size=1, max_size=9), st.integers(0, 500))
def test_other_memories_count_as_if_they_were_there_with_no_relevance(
    values: list[float], others: int
) -> None:
    chosen = np.arange(len(values))
    named = ranking.probability(floats(*values, *[0] * others), chosen, 0)
    assert ranking.probability(floats(*values), chosen, others) == pytest.approx(named, rel=1e-5)


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
def test_confidence_is_between_0_and_1(similar: float, age_days: float, count: int) -> None:
    for memory_type in ("episodic", "semantic"):
        value = confidence(similar, recency(memory_type, age_days), frequency(count))
        assert 0 <= value <= 1 + 1e-12


@pytest.mark.parametrize("idf", [ranking.idf, ranking.positive_idf])
@given(documents=st.integers(0, 5000), data=st.data())
def test_idf_falls_with_the_number_of_memories_with_the_word(
    idf: Callable[..., ranking.Floats], documents: int, data: st.DataObject
) -> None:
    few = data.draw(st.integers(0, documents))
    many = data.draw(st.integers(few, documents))
    rare, common = idf(documents, floats(few, many))
    assert rare >= common > 0


def test_idf_by_hand() -> None:
    odds = [990.5 / 10.5, 0.5 / 1000.5]
    rarity = ranking.idf(1000, floats(10, 1000)).tolist()
    assert rarity == pytest.approx([math.log(odds[0]), 1e-6])
    mild = ranking.positive_idf(1000, floats(10, 1000)).tolist()
    assert mild == pytest.approx([math.log1p(each) for each in odds], rel=1e-4)
    few = ranking.idf(3, floats(3)).tolist()
    assert few == pytest.approx([math.log(97.5 / 3.5)])


def test_a_term_counts_more_in_a_short_text_and_ever_less_each_time() -> None:
    counts = np.array([[1, 2, 3, 1, 0]], np.float32)
    norm = ranking.length_norm(floats(10, 10, 10, 40, 10), 10.0)
    shares = ranking.tf_weight(counts, norm)
    assert shares[0].tolist() == pytest.approx([1.0, 2 * 2.2 / 3.2, 3 * 2.2 / 4.2, 2.2 / 4.9, 0])


@given(st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=20), st.integers(1, 64))
def test_word_scores_are_bounded(values: list[float], terms: int) -> None:
    scores = np.sort(floats(*values))
    shares = ranking.saturate(scores, terms)
    assert (shares >= 0).all()
    assert (shares < 1).all()
    assert (np.diff(shares) >= 0).all()
    assert (ranking.saturate(scores, terms + 1) <= shares).all()


def test_half_of_the_highest_word_score_by_hand() -> None:
    assert ranking.saturate(floats(ranking.HALF_SCORE), 1).tolist() == [0.5]
