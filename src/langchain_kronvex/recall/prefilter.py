"""Which memories of very many are worth scoring: those that a first, cheap look finds likely.

Up to `exact_up_to` memories nothing is left out. Above, the best by single words and the nearest
by the signs of their vectors are taken, with the neighbours whose relevance they raise; all of them
are then scored exactly as they would be without the prefilter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.bm25 import ParsedQuery
from langchain_kronvex.recall.index import Places, ScopeIndex

_MOST_ENTRIES = 400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How many memories are scored.

    Attributes:
        exact_up_to: Up to so many, all of them.
        by_words: Of more, so many that fit by their words,
        by_vectors: so many that fit by their vectors,
        latest: and so many of the latest, if the others are few.
    """

    exact_up_to: int = 3_000
    by_words: int = 400
    by_vectors: int = 200
    latest: int = 50


LIMITS = Limits()


def candidates(
    index: ScopeIndex,
    query: ParsedQuery,
    allowed: NDArray[np.bool_] | None,
    top_k: int,
    limits: Limits,
) -> Places:
    """Return the places to score, ascending.

    Args:
        index: Of one owner.
        query: What to look for.
        allowed: Marks the memories that may be returned; None for all.
        top_k: How many will be returned.
        limits: How many to look at.
    """
    found = [_by_words(index, query, allowed, max(limits.by_words, 2 * top_k))]
    if query.vector is not None and (vectors := index.vectors):
        found.append(vectors.nearest(query.vector, max(limits.by_vectors, top_k), allowed))
    chosen = np.zeros(len(index) + 1, np.bool_)  # the last one is for place -1, no memory
    for places in found:
        chosen[places] = True
        chosen[index.table["neighbours"].take(places, axis=0)] = True
    chosen[-1] = False
    places = np.flatnonzero(chosen)
    # A query that matches little still returns as many as were asked for: the latest.
    latest = max(limits.latest, top_k)  # the same for all small top_k, which see the same view
    if len(places) >= 2 * latest and allowed is None:
        return places
    rest = np.flatnonzero(~chosen[:-1] if allowed is None else allowed & ~chosen[:-1])
    chosen[rest[max(len(rest) - latest, 0) :]] = True
    return np.flatnonzero(chosen)


def _by_words(
    index: ScopeIndex, query: ParsedQuery, allowed: NDArray[np.bool_] | None, count: int
) -> Places:
    """Return the memories whose own words, or reply, fit best; dates count, neighbours do not."""
    held = np.array([index.postings.document_frequency(t) for t in query.terms], np.float32)
    idf = ranking.positive_idf(len(index), held)
    score = np.zeros(len(index))
    for entries in (query.found, query.replied):
        if not len(entries.row):
            continue
        if len(entries.row) > _MOST_ENTRIES:
            entries = entries.at(np.arange(_MOST_ENTRIES))  # the rarest come first
        weight = np.resize(idf, query.rows).take(entries.row)
        weight *= entries.value / (entries.value + np.float32(ranking.K1))
        score += np.bincount(entries.place, weight, len(index))
    for number, same in enumerate(query.dated):
        if same is not None:
            score[same] += idf[number] / (1 + ranking.K1)
    if allowed is not None:
        score[~allowed] = 0
    hits = np.flatnonzero(score > 0)
    if len(hits) <= count:
        return hits
    return hits[np.argpartition(-score[hits], count)[:count]]
