"""Chooses the memories of a large user that are worth scoring, at low cost.

These are the best by single words, the nearest by the signs of their vectors, and the neighbours
whose relevance they raise. They are then scored exactly as they would be without the prefilter.
Users with up to `exact_up_to` memories need none.
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
        exact_up_to: A user's memories are all scored up to this number.
        by_words: The number of memories chosen by their words.
        by_vectors: The number of memories chosen by their vectors.
        latest: The number of the latest memories, added if few others are chosen.
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
        index: The index of one owner.
        query: The query.
        allowed: Marks the memories that may be returned; None for all.
        top_k: How many will be returned.
        limits: How many memories to choose.
    """
    found = [_by_words(index, query, allowed, max(limits.by_words, 2 * top_k))]
    if query.vector is not None and (vectors := index.vectors):
        found.append(vectors.nearest(query.vector, max(limits.by_vectors, top_k), allowed))
    chosen = np.zeros(len(index) + 1, np.bool_)  # the last one is for place -1, no memory
    for places in found:
        chosen[places] = True
        chosen[index.table["neighbours"].take(places, axis=0)] = True
    chosen[-1] = False
    places = chosen.nonzero()[0]
    # A query that matches little still returns as many as were asked for: the latest.
    latest = max(limits.latest, top_k)  # the same for all small top_k, which see the same view
    if len(places) >= 2 * latest and allowed is None:
        return places
    left = ~chosen[:-1]
    rest = (left if allowed is None else allowed & left).nonzero()[0]
    chosen[rest[max(len(rest) - latest, 0) :]] = True
    return chosen.nonzero()[0]


def _by_words(
    index: ScopeIndex, query: ParsedQuery, allowed: NDArray[np.bool_] | None, count: int
) -> Places:
    """Return the memories whose own words, or reply, fit best; dates count, neighbours do not."""
    held = np.array([index.postings.document_frequency(t) for t in query.terms], np.float32)
    idf = ranking.positive_idf(len(index), held) * query.weights
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
    hits = (score > 0).nonzero()[0]
    if len(hits) <= count:
        return hits
    return hits[np.argpartition(-score[hits], count)[:count]]
