"""Which sets of words a database is asked for, and what is made of its answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_kronvex.storage.postgres.large_owners.sampled_index import Counted, Piece, Sample
from langchain_kronvex.storage.postgres.large_owners.word_query import (
    FEW,
    MOST_FOUND,
    WordQuery,
    word_sets,
)

from .conversations import row

RARE, COMMON = 0.0001, 0.05
MILLION = 1_000_000


def seqs(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def a_sample(population: int = 500_000) -> Sample:
    said = ["we drink tea", "we play chess", "tea again", "a walk with the dog"] * 25
    return Sample([Piece([row(n, text)], opens=True) for n, text in enumerate(said)], population)


def test_rare_words_are_asked_for_alone_and_with_each_common_one() -> None:
    assert word_sets([RARE, RARE, COMMON], MILLION)[:4] == [(0,), (1,), (0, 2), (1, 2)]


def test_common_words_are_asked_for_together() -> None:
    assert word_sets([0.04, 0.04, 0.04], MILLION) == [(0, 1), (0, 2), (1, 2)]
    assert word_sets([0.1, 0.1, 0.1], MILLION) == [(0, 1, 2)]


@pytest.mark.parametrize("shares", [[0.4], [0.4, 0.4, 0.45]])
def test_words_too_common_even_together_are_asked_for_all_the_same(shares: list[float]) -> None:
    assert word_sets(shares, MILLION) == [tuple(range(len(shares)))]


def test_a_question_without_words_asks_for_nothing() -> None:
    assert word_sets([], MILLION) == []
    nothing = WordQuery.of("?", a_sample())
    assert nothing.queries == []
    assert nothing.best([], 10).tolist() == []


@given(st.lists(st.floats(1e-7, 0.5), max_size=12).map(sorted), st.integers(0, 10**8))
def test_there_are_never_too_many_sets(shares: list[float], population: int) -> None:
    found = word_sets(shares, population)
    assert len(found) <= 48
    assert len(set(found)) == len(found)
    assert bool(found) == bool(shares)
    rare = [n for n, share in enumerate(shares) if share * population <= FEW]
    assert {(n,) for n in rare} <= set(found)


def test_what_holds_more_and_rarer_words_is_better() -> None:
    asked = WordQuery.of("tea with Zoltan", a_sample())
    assert asked.terms == ["zoltan", "tea"]
    assert asked.sets == [(0,), (0, 1)]
    assert asked.queries == ["('zoltan')", "('zoltan') & ('tea')"]
    found = [seqs(4, 6, 9), seqs(6)]
    assert asked.best(found, 9).tolist() == [6, 9, 4]
    assert asked.best(found, 1).tolist() == [6]


def test_only_words_asked_for_alone_are_counted() -> None:
    asked = WordQuery.of("tea with Zoltan", a_sample())
    assert asked.counted([seqs(4, 6, 9), seqs(6)], seqs(6, 9, 70)) == {"zoltan": Counted(3, 2)}
    too_many = np.arange(MOST_FOUND)
    assert asked.counted([too_many, seqs(6)], too_many) == {}


def test_all_words_of_a_stem_and_pairs_of_unspaced_scripts() -> None:
    asked = WordQuery.of("teas, O'Brien's 京都", a_sample(10))
    assert set(asked.queries) == {"('teas')", "('brien')", "(('京' <-> '都'))"}
    assert WordQuery.of("walked walks", a_sample(10)).queries == ["('walked' | 'walks')"]
    assert WordQuery.of("x" * 3000, a_sample(10)).queries == []
