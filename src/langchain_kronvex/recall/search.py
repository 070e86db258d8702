"""Searching one owner's index: the features of the likely memories for a query, weighed and cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.errors import EmbeddingMismatch
from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.bm25 import QueryTerms, query_terms, reply_scores, word_scores
from langchain_kronvex.recall.conversation_signals import add_hints
from langchain_kronvex.recall.index import MEANING_WINDOW, ScopeIndex
from langchain_kronvex.recall.index_view import Pool
from langchain_kronvex.recall.prefilter import candidates
from langchain_kronvex.recall.quantized_vectors import Meanings
from langchain_kronvex.recall.ranking import Floats, Form, Formulas
from langchain_kronvex.recall.request import RecallRequest

_LENDERS = [column for column, _ in MEANING_WINDOW]
_LENT = np.array([weight for _, weight in MEANING_WINDOW], np.float32)


@dataclass(frozen=True, slots=True)
class Hits:
    """The chosen memories, most relevant first: their numbers, similarity and probability."""

    seqs: list[int]
    similarity: list[float]
    probability: list[float]


def search(index: ScopeIndex, request: RecallRequest) -> Hits:
    """Return the `top_k` most relevant visible memories that reach the threshold."""
    if not len(index):
        return Hits([], [], [])
    now = request.now.timestamp()
    asked = _Asked.of(index, request)
    wanted = _wanted(index, request)
    pool = Pool(index, candidates(index, asked.terms, asked.vector, wanted, request.top_k), now)
    relevance = _relevance(pool, asked)
    pool.blank_expired(relevance, -np.inf)
    open_to = relevance
    if wanted is not None:
        open_to = np.where(
            wanted if pool.places is None else wanted[pool.places], relevance, -np.inf
        )
    chosen = ranking.best(open_to, request.top_k)
    similarity = ranking.similarity(relevance[chosen])
    kept = chosen[similarity >= request.threshold]
    if not len(kept):
        return Hits([], [], [])
    return Hits(
        pool.seqs(kept),
        similarity[: len(kept)].tolist(),
        ranking.probability(relevance, kept, index.population - len(pool)).tolist(),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, read: with the formulas that fit what is known of it and of the memories."""

    query: str
    terms: QueryTerms
    vector: Floats | None
    formulas: Formulas

    @classmethod
    def of(cls, index: ScopeIndex, request: RecallRequest) -> _Asked:
        vector = request.vector if index.meanings else None
        if vector is not None and index.meanings and index.meanings.width != len(vector):
            raise EmbeddingMismatch(
                f"The memories were indexed in {index.meanings.width} dimensions, but the query "
                f"has {len(vector)}. Use the embeddings they were indexed with."
            )
        formulas = ranking.BY_WORDS if vector is None else ranking.BY_WORDS_AND_MEANING
        terms = query_terms(index, request.query, expand=vector is not None)
        return cls(request.query, terms, vector, formulas)


def _wanted(index: ScopeIndex, request: RecallRequest) -> NDArray[np.bool_] | None:
    """Mark the memories that may be returned; None when all may."""
    now = request.now.timestamp()
    wanted: NDArray[np.bool_] | None = None
    if index.soonest_expiry <= now:
        alive = index.table["expires"] > now
        wanted = None if alive.all() else alive
    for column, name in (("type", request.memory_type), ("session", request.scope.only_session)):
        if name is not None:
            same = index.table[column] == index.code(f"{column} {name}")
            wanted = same if wanted is None else wanted & same
    return wanted


def _relevance(pool: Pool, asked: _Asked) -> Floats:
    """Return the relevance of every memory of the pool; see `ranking`."""
    scores = word_scores(pool, asked.terms, expand=asked.vector is not None)
    features: list[tuple[str, Floats]] = [("words", scores.words)]
    if scores.related is not None:
        features.append(("related", scores.related))
    if len(pool.index.replies):
        features.append(("reply", reply_scores(pool, asked.terms)))
    meanings = pool.index.meanings
    if asked.vector is not None and meanings is not None:
        features.append(("meaning", _meaning(pool, meanings, asked.vector)))
    relevance = _weighed(pool, features, asked.formulas)
    if Form.TURN in pool.index.forms:
        weights = asked.formulas[Form.TURN]
        add_hints(relevance, pool, asked.query, asked.terms.opening, weights)
        if asked.vector is not None and meanings is not None:
            _add_feedback(relevance, pool, meanings, weights.feedback)
    return _comparable(pool, relevance, asked.formulas)


def _weighed(pool: Pool, features: Sequence[tuple[str, Floats]], formulas: Formulas) -> Floats:
    """Return the weighted sum of features, each memory by the formula of its form."""
    total = np.zeros(len(pool), np.float32)
    for name, values in features:
        weights = np.array([getattr(formula, name) for formula in formulas], np.float32)
        total += (weights[0] if pool.turns is None else weights[pool.column("form")]) * values
    return total


def _comparable(pool: Pool, sums: Floats, formulas: Formulas) -> Floats:
    """Put the weighted sums of all forms on one scale."""
    if pool.turns is None:
        return ranking.comparable(sums, formulas[Form.TURN], pool.index.context)
    form = pool.column("form")
    for kind in pool.index.forms:
        of_form = form == kind
        sums[of_form] = ranking.comparable(sums[of_form], formulas[kind], pool.index.context)
    return sums


def _meaning(pool: Pool, meanings: Meanings, vector: Floats) -> Floats:
    """Return what the vectors say: the cosine, joined with the neighbours' or less the mean."""
    cosine = meanings.products(vector, pool.places)
    pool.blank_expired(cosine, 0)
    found = _windowed(pool, cosine)
    if pool.turns is not None:
        alone = np.flatnonzero(~pool.turns)
        centre = pool.index.centre
        to_centre = meanings.products(centre, pool.placed(alone))
        found[alone] = _centred(cosine[alone], to_centre, vector, centre)
    return np.maximum(found, 0)


def _windowed(pool: Pool, own: Floats) -> Floats:
    """Return each memory's own cosine joined with its neighbours', for a vector of length 1."""
    padded = np.append(own, np.float32(0))  # slot -1, nobody, adds nothing
    lent: Floats = np.einsum("ij,j->i", padded[pool.near[:, _LENDERS]], _LENT)
    lent += own
    lent *= pool.column("scale")
    return lent


def _centred(cosine: Floats, to_centre: Floats, vector: Floats, centre: Floats) -> Floats:
    """Return cosines of vectors less the centre, from products with the vectors as they are."""
    of_query = np.float32(vector @ centre)
    square = np.float32(centre @ centre)
    product = cosine - to_centre - of_query + square
    lengths = (1 - 2 * to_centre + square) * (1 - 2 * of_query + square)
    centred: Floats = product / np.sqrt(np.maximum(lengths, 1e-6))
    return np.where(cosine == 0, 0, centred)  # there is no vector


def _add_feedback(relevance: Floats, pool: Pool, meanings: Meanings, weight: float) -> None:
    """Add to the best turns how near they are to the mean of the very best."""
    ranked = relevance if pool.turns is None else np.where(pool.turns, relevance, -np.inf)
    slots = ranking.best(ranked, ranking.FEEDBACK_TO)
    vectors = meanings.at(pool.placed(slots))
    vectors -= pool.index.centre
    vectors *= 1 / np.sqrt(np.einsum("ij,ij->i", vectors, vectors) + 1e-6)[:, None]
    middle = vectors[: ranking.FEEDBACK_OF].sum(axis=0)
    middle /= np.sqrt(middle @ middle) + np.float32(1e-6)
    relevance[slots] += np.float32(weight) * (vectors @ middle)
