"""What the words of a query say of each memory: BM25 by its terms, and by words of like meaning.

A memory's count of a term holds its own, part of its neighbours', and its date's (see `ranking`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.arrays import Table
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.index_view import Pool
from langchain_kronvex.recall.postings import Entries
from langchain_kronvex.recall.ranking import AFTER, BEFORE, Floats, Form
from langchain_kronvex.recall.thesaurus import related
from langchain_kronvex.recall.tokenizer import date_parts, terms

_LENT = np.array([*BEFORE, *AFTER], np.float32)


@dataclass(frozen=True, slots=True)
class QueryTerms:
    """The terms of a query that tell an owner's memories apart, the rarest first.

    Attributes:
        terms: Stems, each once.
        opening: All terms, in which a speaker's name is looked for.
        found: Where the terms stand, row i for term i, and after those rows, when they count,
            where words of like meaning stand, in the same order.
        rows: How many rows there are.
        replied: Where the terms stand in replies; row i for term i.
        dated: For each term the memories whose date it names; None for no date's term.
    """

    terms: Sequence[str]
    opening: Sequence[str]
    found: Entries
    rows: int
    replied: Entries
    dated: Sequence[NDArray[np.bool_] | None]


def query_terms(index: ScopeIndex, query: str, *, expand: bool) -> QueryTerms:
    """Read a query and look its words up.

    Terms that most memories hold tell nothing, and the work for a query that is a whole document
    has a bound.
    """
    found = list(dict.fromkeys(terms(query)))
    most = max(index.population, ranking.LEAST_DOCUMENTS) / 2
    held = {term: holding for term in found if (holding := index.holding(term)) < most}
    telling = sorted(held, key=held.__getitem__)[: ranking.MAX_QUERY_TERMS]
    rows: list[Iterable[tuple[str, float]]] = [((term, 1.0),) for term in telling]
    replied = index.replies.entries(enumerate(rows))
    if expand:
        rows += map(related, telling)
    return QueryTerms(
        terms=telling,
        opening=found,
        found=index.postings.entries(enumerate(rows)),
        rows=len(rows),
        replied=replied,
        dated=[matching_dates(index.table, term) for term in telling],
    )


@dataclass(frozen=True, slots=True)
class WordScores:
    """BM25 scores by slot, saturated; `related` is None when no words of like meaning count."""

    words: Floats
    related: Floats | None


def word_scores(pool: Pool, query: QueryTerms, *, expand: bool) -> WordScores:
    """Score the memories of a pool by the words of a query."""
    size, rows, index = len(pool), len(query.terms), pool.index
    if not rows:
        nothing = np.zeros(size, np.float32)
        return WordScores(nothing, nothing if expand else None)
    counts = _windowed(pool, pool.inside(query.found), query.rows)
    exact = counts[:rows]
    for row, same in enumerate(query.dated):
        if same is not None:
            exact[row] += same if pool.places is None else same[pool.places]
    if expand:
        counts[rows:] += exact
    containing = _containing(pool, exact, query)
    share = ranking.frequency_share(counts, pool.column("length"), index.average_length)
    words = ranking.saturate(ranking.rarity(index.population, containing) @ share[:rows], rows)
    if not expand:
        return WordScores(words, None)
    related = ranking.mild_rarity(index.population, containing) @ share[rows:]
    return WordScores(words, ranking.saturate(related, rows))


def reply_scores(pool: Pool, query: QueryTerms) -> Floats:
    """Score exchanges by the words of the replies alone: BM25, saturated."""
    size, rows, index = len(pool), len(query.terms), pool.index
    found = pool.inside(query.replied)
    if not len(found.row):
        return np.zeros(size, np.float32)
    counts = np.bincount(found.row * size + found.place, found.value, rows * size)
    share = ranking.frequency_share(
        counts.astype(np.float32).reshape(rows, size), pool.column("reply"), index.average_reply
    )
    containing = np.array([index.replying(term) for term in query.terms], np.float32)
    return ranking.saturate(ranking.rarity(index.population, containing) @ share, rows)


def _windowed(pool: Pool, entries: Entries, rows: int) -> Floats:
    """Return how often each memory holds each term, its neighbours' words counted in."""
    size = 1 + len(pool)  # the first one is for slot -1, nobody
    near = pool.near.take(entries.place, axis=0)
    start = entries.row * size + 1
    counts = np.bincount(
        np.concatenate([start + entries.place, (start[:, None] + near).ravel()]),
        np.concatenate([entries.value, (entries.value[:, None] * _LENT).ravel()]),
        rows * size,
    )
    return counts.reshape(rows, size)[:, 1:].astype(np.float32)


def matching_dates(table: Table, term: str) -> NDArray[np.bool_] | None:
    """Mark the memories, statements apart, whose date a term names; None for no date's term."""
    parts = date_parts(term)
    if not parts:
        return None
    same: NDArray[np.bool_] = table["form"] != Form.STATEMENT
    for part, number in parts.items():
        same &= table[part] == number
    return same


def _containing(pool: Pool, counts: Floats, query: QueryTerms) -> Floats:
    """Return in how many memories of the owner each term counts."""
    index = pool.index
    if pool.places is None and index.whole:
        return np.asarray(np.count_nonzero(counts, axis=1), np.float32)
    held = np.array([index.holding(term) for term in query.terms], np.float32)
    # Neighbours hold it too, unless they are the same: as if they were drawn at random.
    missing: Floats = np.exp(-held * np.float32((1 + index.average_neighbours) / index.population))
    for row, (term, same) in enumerate(zip(query.terms, query.dated, strict=True)):
        if same is not None:
            missing[row] *= 1 - np.float32(index.dated(term, same))
    return index.population * (1 - missing)
