"""Which memories of very many are worth looking at: those a first, cheap look finds likely.

Up to `EXACT_UP_TO` memories nothing is left out. Above, the best by single words and the nearest
by the signs of their vectors are taken, with the neighbours whose relevance they raise; all of them
are then scored exactly as they would be without this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.bm25 import QueryTerms
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.index_view import Places
from langchain_kronvex.recall.ranking import Floats

EXACT_UP_TO = 3_000
_BY_WORDS, _BY_MEANING, _LATEST = 400, 200, 50
_MOST_ENTRIES = 400_000


def candidates(
    index: ScopeIndex,
    query: QueryTerms,
    vector: Floats | None,
    wanted: NDArray[np.bool_] | None,
    limit: int,
) -> Places | None:
    """Return the places to look at, ascending; None for all.

    Args:
        index: Of one owner.
        query: Its terms.
        vector: Of the query, of length 1.
        wanted: Marks the memories that may be returned.
        limit: How many will be asked for.
    """
    if not index.whole or len(index) <= max(EXACT_UP_TO, 4 * limit):
        return None
    found = [_by_words(index, query, wanted, max(_BY_WORDS, 2 * limit))]
    if vector is not None and (meanings := index.meanings):
        found.append(meanings.nearest(vector, max(_BY_MEANING, limit), wanted))
    chosen = np.zeros(len(index) + 1, np.bool_)  # the last one is for place -1, nobody
    for places in found:
        chosen[places] = True
        chosen[index.table["near"].take(places, axis=0)] = True
    chosen[-1] = False
    places = np.flatnonzero(chosen)
    # A question that finds little is still answered with as many as were asked for: the latest.
    latest = max(_LATEST, limit)  # the same for all small limits, which see the same pool
    if len(places) >= 2 * latest and wanted is None:
        return places
    rest = np.flatnonzero(~chosen[:-1] if wanted is None else wanted & ~chosen[:-1])
    chosen[rest[max(len(rest) - latest, 0) :]] = True
    return np.flatnonzero(chosen)


def _by_words(
    index: ScopeIndex, query: QueryTerms, wanted: NDArray[np.bool_] | None, count: int
) -> Places:
    """Return the memories whose own words, or reply, fit best; dates count, neighbours do not."""
    held = np.array([index.postings.holding(term) for term in query.terms], np.float32)
    rarity = ranking.mild_rarity(len(index), held)
    score = np.zeros(len(index))
    for entries in (query.found, query.replied):
        if not len(entries.row):
            continue
        terms = entries.of(slice(0, _MOST_ENTRIES))  # the rarest come first
        weight = np.resize(rarity, query.rows).take(terms.row)
        weight *= terms.value / (terms.value + np.float32(ranking.K1))
        score += np.bincount(terms.place, weight, len(index))
    for number, same in enumerate(query.dated):
        if same is not None:
            score[same] += rarity[number] / (1 + ranking.K1)
    if wanted is not None:
        score[~wanted] = 0
    hits = np.flatnonzero(score > 0)
    if len(hits) <= count:
        return hits
    return hits[np.argpartition(-score[hits], count)[:count]]
