"""Which words of a question the database is asked for: rare ones alone, common ones together.

A word that very many memories hold finds too many of them to be read; two or three such words
together do not. So the database is asked for sets of words, each expected in few memories, and a
memory's first score is the sum of the rarities of all words that it was found by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.recall.tokenizer import STOP_WORDS, UNSPACED, stems, words
from langchain_kronvex.storage.postgres.large_owners.sampled_index import Counted, Sample
from langchain_kronvex.storage.postgres.statements import Rows

FEW = 2_000  # memories that one set of words is expected in, at most
MOST_FOUND = 2 * FEW  # that are read for one set
_MOST_TERMS, _MOST_SETS, _LARGEST_SET = 12, 48, 3
_MOST_WORD_BYTES = 2_000  # the server takes no longer ones
_UNSPACED_WORD = re.compile(rf"[{UNSPACED}]")

WordSet = tuple[int, ...]  # numbers of terms


@dataclass(frozen=True, slots=True)
class WordQuery:
    """What to ask the database for, the rarest first.

    Attributes:
        terms: Stems of the question.
        rarity: Of each term.
        sets: Sets of terms, of which a memory must hold all.
        queries: The same in the words of the database.
    """

    terms: list[str]
    rarity: Floats
    sets: list[WordSet]
    queries: list[str]

    @classmethod
    def of(cls, query: str, sample: Sample) -> WordQuery:
        """Read a question."""
        words_of = _words_by_term(query)
        shares = {term: sample.share(term) for term in words_of}
        terms = sorted((t for t in shares if shares[t] < 0.5), key=shares.__getitem__)
        terms = terms[:_MOST_TERMS]
        chosen = word_sets([shares[term] for term in terms], sample.population)
        held = np.array([shares[term] for term in terms], np.float32) * sample.population
        return cls(
            terms,
            ranking.mild_rarity(sample.population, held),
            chosen,
            [" & ".join(_any_of(words_of[terms[n]]) for n in each) for each in chosen],
        )

    def alone(self) -> WordQuery:
        """Return the same without sets of several terms: what tells how rare the terms are."""
        kept = [n for n, each in enumerate(self.sets) if len(each) == 1]
        return replace(
            self, sets=[self.sets[n] for n in kept], queries=[self.queries[n] for n in kept]
        )

    def by_set(self, found: Rows) -> list[NDArray[np.int64]]:
        """Read what the database has found: for each set the numbers of memories."""
        by_set: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in self.sets]
        for number, seqs in found:
            by_set[number - 1] = np.frombuffer(seqs, ">i8").astype(np.int64)
        return by_set

    def counted(
        self, found: Sequence[NDArray[np.int64]], read: NDArray[np.int64]
    ) -> dict[str, Counted]:
        """Return how many memories hold a term, of those terms that were asked for alone.

        Args:
            found: For each set the numbers of memories that hold all of it.
            read: The numbers of the memories that were read.
        """
        return {
            self.terms[each[0]]: Counted(len(seqs), int(np.isin(seqs, read).sum()))
            for each, seqs in zip(self.sets, found, strict=True)
            if len(each) == 1 and len(seqs) < MOST_FOUND
        }

    def best(self, found: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
        """Return the memories that hold the rarest terms, the best first.

        Args:
            found: For each set the numbers of memories that hold all of it.
            count: How many at most.
        """
        seqs = np.unique(np.concatenate([*found, np.empty(0, np.int64)]))
        holds = np.zeros((len(self.terms), len(seqs)), np.bool_)
        for each, theirs in zip(self.sets, found, strict=True):
            columns = np.searchsorted(seqs, theirs)
            for term in each:
                holds[term, columns] = True
        score = self.rarity @ holds
        # Of equal ones the younger.
        order = np.lexsort((-seqs, -score))[:count]
        chosen: NDArray[np.int64] = seqs[order]
        return chosen


def _words_by_term(query: str) -> dict[str, list[str]]:
    found = [
        word
        for word in dict.fromkeys(words(query))
        if word not in STOP_WORDS and len(word.encode()) <= _MOST_WORD_BYTES
    ]
    by_term: dict[str, list[str]] = {}
    for word, stem in zip(found, stems(found), strict=True):
        by_term.setdefault(stem, []).append(word)
    return by_term


def _any_of(found: Sequence[str]) -> str:
    """Return what the server is to look for: it has a stemmer of its own, a little different."""
    return f"({' | '.join(map(_quoted, found))})"


def _quoted(word: str) -> str:
    if _UNSPACED_WORD.match(word):
        return "(" + " <-> ".join(f"'{character}'" for character in word) + ")"
    return f"'{word}'"


def word_sets(shares: Sequence[float], population: int) -> list[WordSet]:
    """Return sets of terms, each expected in few memories, the smaller sets first.

    A term in few memories is asked for alone, and together with each that is in many, so that it
    is known which of its memories hold more than itself. Of terms in many memories as many are
    asked for together as make few.

    Args:
        shares: Of memories that hold each term, the smallest first.
        population: How many memories there are.
    """
    most = FEW / max(population, 1)
    rare = [n for n, share in enumerate(shares) if share <= most]
    common = [n for n, share in enumerate(shares) if share > most]
    chosen: list[WordSet] = [(n,) for n in rare]
    chosen += [(n, other) for n in rare for other in common]
    sparse: list[WordSet] = []
    for size in range(2, _LARGEST_SET + 1):
        sparse += [
            each
            for each in combinations(common, size)
            if prod(shares[n] for n in each) <= most
            and not any(set(other) <= set(each) for other in sparse)
        ]
    chosen += sparse
    if not chosen and shares:
        chosen.append(tuple(range(len(shares)))[:_LARGEST_SET])
    return chosen[:_MOST_SETS]
