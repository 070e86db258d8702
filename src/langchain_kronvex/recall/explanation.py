"""What one memory's relevance is made of, taken from the steps of the search itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.explanation import FEATURES
from langchain_kronvex.core.records import Floats
from langchain_kronvex.recall import prefilter, ranking
from langchain_kronvex.recall.bm25 import ParsedQuery, term_scores, term_scores_of_replies
from langchain_kronvex.recall.index import IndexView, ScopeIndex
from langchain_kronvex.recall.ranking import Form, Weights
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits, eligible_only, prepared, relevance_steps, signals

_SIGNALS = (*ranking.PRIORS, "speaker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed(Hits):
    """One memory as a hit, and why; see `core.explanation`.

    Attributes:
        is_scored: Whether the search scores it; the prefilter leaves out most of many memories.
        place: Its place by relevance among the memories that may be returned; None if a server
            cannot tell.
        of: How many may be returned; 0 if a server cannot tell.
        relevance: Its relevance.
        shares: What each feature adds to it.
        terms: How the shares of words divide among the terms of the query.
    """

    is_scored: bool
    place: int | None
    of: int
    relevance: float
    shares: dict[str, float]
    terms: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals(Hits):
    """How many of another owner's memories may be returned, and how many of them are better."""

    better: int
    of: int


def weigh(
    index: ScopeIndex, request: RecallRequest, seq: int, limits: prefilter.Limits | None = None
) -> Weighed | Hits:
    """Return how the search weighs a memory; no hits if the index does not have it.

    What the prefilter leaves out is weighed among all memories.
    """
    places = np.flatnonzero(index.table["seq"] == seq)
    if not len(places):
        return Hits([], [], [])
    query, allowed, view = prepared(index, request, limits)
    slots = places if view.places is None else np.flatnonzero(view.places == places[0])
    if not (is_scored := bool(len(slots))):
        now, is_current = request.now.timestamp(), not request.include_superseded
        view, slots = IndexView(index, None, now, is_current=is_current), places
    relevance, shares, terms = _divided(view, int(slots[0]), query, request.is_encoded)
    found = float(relevance[slots[0]])
    missing, others = query.missing, len(index) - len(view)
    eligible = eligible_only(relevance, view, allowed)
    is_better = (eligible > found) | ((eligible == found) & (np.arange(len(view)) > slots[0]))
    return Weighed(
        [seq],
        ranking.similarity(relevance[slots]).tolist(),
        ranking.probability(relevance, slots, others, missing).tolist(),
        is_scored=is_scored,
        place=1 + int(np.count_nonzero(is_better)),
        of=_count(index, allowed),
        relevance=found,
        shares=shares,
        terms=terms,
    )


def rivals(index: ScopeIndex, request: RecallRequest, relevance: float) -> Rivals:
    """Return how many memories may be returned, and how many of them are more relevant."""
    if not len(index):
        return Rivals([], [], [], better=0, of=0)
    query, allowed, view = prepared(index, request)
    *_, (_, theirs) = relevance_steps(view, query, request.is_encoded)
    better = np.count_nonzero(eligible_only(theirs, view, allowed) > relevance)
    return Rivals([], [], [], better=int(better), of=_count(index, allowed))


def _count(index: ScopeIndex, allowed: NDArray[np.bool_] | None) -> int:
    return len(index) if allowed is None else int(np.count_nonzero(allowed))


# -- shares ------------------------------------------------------------------------------------


def _divided(
    view: IndexView, slot: int, query: ParsedQuery, is_encoded: bool
) -> tuple[Floats, dict[str, float], dict[str, float]]:
    """Return the relevance of all memories, and the shares of features and terms in one of them."""
    shares, before = dict.fromkeys(FEATURES, 0.0), 0.0
    steps: dict[str, float] = {}
    for name, relevance in relevance_steps(view, query, is_encoded):
        steps[name] = float(relevance[slot]) - before
        before = float(relevance[slot])
    form = Form(view.column("form")[slot])
    weights = ranking.formulas(query.vector is not None, is_encoded)[form]
    by_word, terms = _by_words(view, slot, query, steps)
    shares |= steps | by_word | _by_meaning(view, slot, query, weights, steps.get("meaning", 0.0))
    if shares.pop("signals", None) is not None:
        shares |= _by_signal(view, slot, query, weights)
    return relevance, shares, terms


def _by_words(
    view: IndexView, slot: int, query: ParsedQuery, steps: dict[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Divide the steps of words by where the words stand, and by term.

    Exactly: before it is saturated, a score is a sum over terms, and BM25's weight of a term is a
    multiple of its count, which is a sum over the places.
    """
    rows = len(query.terms)
    if not rows:
        return {}, {}
    found, dates = view.inside(query.found), query.dated
    at = np.flatnonzero((found.place == slot) & (found.row < rows))
    own = np.bincount(found.row[at], found.value[at], rows)
    dated = np.array([same is not None and bool(view.of(same)[slot]) for same in dates], float)
    scores = term_scores(view, query)
    near = scores[0].counts[:, slot] - own - dated
    shares = dict.fromkeys(("words", "dates", "neighbour_words", "related"), 0.0)
    terms = np.zeros(rows)
    for each in filter(None, (*scores, term_scores_of_replies(view, query))):
        parts, counts = (each.idf * each.weight[:, slot]).astype(float), each.counts[:, slot]
        by_term = steps[each.feature] * parts / max(parts.sum(), 1e-12)
        terms += by_term
        if each.feature == "reply":
            continue
        of_one = by_term / np.where(counts > 0, counts, 1)
        exact = {"words": own, "dates": dated, "neighbour_words": near}
        for name, held in exact.items():
            shares[name] += float(of_one @ held)
        shares["related"] += float(of_one @ (counts - own - dated - near))
    return shares, dict(zip(query.terms, terms.tolist(), strict=True))


def _by_meaning(
    view: IndexView, slot: int, query: ParsedQuery, weights: Weights, whole: float
) -> dict[str, float]:
    """Divide the step of the meaning of a turn between its own vector and its neighbours'."""
    vectors, place = view.index.vectors, view.placed(np.array([slot]))
    if not whole or query.vector is None or vectors is None:
        return {}
    if view.column("form")[slot] != Form.TURN:
        return {}
    cosine = vectors.products(query.vector, place)[0] * view.column("vector_scale")[slot]
    own = weights.meaning * float(cosine)
    return {"meaning": own, "neighbour_meaning": whole - own}


def _by_signal(
    view: IndexView, slot: int, query: ParsedQuery, weights: Weights
) -> dict[str, float]:
    """Return what each signal adds: signals are linear in their weights."""
    alone = {name: Weights(**{name: getattr(weights, name)}) for name in _SIGNALS}
    return {name: float(signals(view, query, one)[slot]) for name, one in alone.items()}
