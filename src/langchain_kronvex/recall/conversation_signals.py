"""What speaks for a turn beside words and meaning: who speaks, of what kind it is, where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.index import ConversationOrder
from langchain_kronvex.recall.index_view import Pool
from langchain_kronvex.recall.ranking import Floats, Weights
from langchain_kronvex.recall.tokenizer import words


def add_hints(
    relevance: Floats,
    pool: Pool,
    query: str,
    query_terms: Sequence[str],
    weights: Weights,
) -> None:
    """Add to the weighted sums of turns what speaks for them.

    Args:
        relevance: By slot; changed in place.
        pool: The memories.
        query: What was asked.
        query_terms: All its terms.
        weights: Of turns.
    """
    hints = _priors(pool, query, weights)
    hints += np.float32(weights.speaker) * _speakers(pool, query_terms)
    if pool.turns is not None:
        hints *= pool.turns
    relevance += hints
    pool.blank_expired(relevance, 0)
    relevance += np.float32(weights.session) * session_best(pool.conversation_order(), relevance)


def _priors(pool: Pool, query: str, weights: Weights) -> Floats:
    """Return what speaks for a turn whatever its words, less the mean of turns that open alike."""
    asked_when = "when" in words(query[:1000])
    weight = np.array(
        [
            weights.answer,
            weights.question,
            weights.first,
            weights.personal,
            weights.when if asked_when else 0,
        ],
        np.float32,
    )
    openers = pool.index.openers
    # Without BLAS: its kernels for so few columns were seen to warn of numbers they do not use.
    means = np.einsum("ij,j->i", openers["sum"], weight) / np.maximum(openers["count"], 1)
    priors: Floats = np.einsum("ij,j->i", pool.column("priors"), weight)
    priors -= means[pool.column("opener")]
    return priors


def _speakers(pool: Pool, query_terms: Sequence[str]) -> NDArray[np.bool_]:
    """Mark memories that open with a word of the query which opens many: the speaker's name."""
    counts, opener = pool.index.openers["count"], pool.column("opener")
    spoken = np.zeros(len(pool), np.bool_)
    for term in query_terms:
        code = pool.index.opener(term)
        if code >= 0 and counts[code] > ranking.NAME_SHARE * pool.index.population:
            spoken |= opener == code
    return spoken


def session_best(order: ConversationOrder, relevance: Floats) -> Floats:
    """Return, for each turn, the mean relevance of the three best turns of its conversation."""
    best = np.zeros(len(relevance), np.float32)
    if not len(order.places):
        return best
    # One sort for all: by conversation, then the most relevant first.
    keys = order.base - np.clip(relevance[order.places], 0, order.apart)
    keys.sort()
    total = np.zeros(len(order.starts))
    for rank in range(3):
        there = order.sizes > rank
        at = order.starts[there] + rank
        total[there] += order.base[at] - keys[at]
    best[order.places] = np.repeat(total / 3, order.sizes)
    return best
