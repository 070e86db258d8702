"""Signals for a turn beside words and vectors: its speaker, its kind and its conversation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.bm25 import ParsedQuery
from langchain_kronvex.recall.index_view import IndexView
from langchain_kronvex.recall.neighbours import ConversationOrder
from langchain_kronvex.recall.ranking import Floats, Weights
from langchain_kronvex.recall.tokenizer import words


def add_signals(relevance: Floats, view: IndexView, query: ParsedQuery, weights: Weights) -> None:
    """Add the signals to the weighted sums of turns, in place, by slot."""
    signals = _priors(view, query.text, weights)
    signals += np.float32(weights.speaker) * _speakers(view, query)
    if view.turns is not None:
        signals *= view.turns
    relevance += signals
    view.blank_expired(relevance, 0)
    relevance += np.float32(weights.session) * session_best(view.conversation_order(), relevance)


def _priors(view: IndexView, query: str, weights: Weights) -> Floats:
    """Return the signals of turns whatever their words, less the mean per first word."""
    weight = np.array([getattr(weights, name) for name in ranking.PRIORS], np.float32)
    if "when" not in words(query[:1000]):
        weight[ranking.PRIORS.index("when")] = 0
    first_words = view.index.first_words
    # Without BLAS: its kernels for so few columns were seen to warn of numbers they do not use.
    means = np.einsum("ij,j->i", first_words["sum"], weight) / np.maximum(first_words["count"], 1)
    priors: Floats = np.einsum("ij,j->i", view.column("priors"), weight)
    priors -= means[view.column("first_word")]
    return priors


def _speakers(view: IndexView, query: ParsedQuery) -> NDArray[np.bool_]:
    """Mark memories that open with a word of the query which opens many: the speaker's name."""
    counts, first_word = view.index.first_words["count"], view.column("first_word")
    spoken = np.zeros(len(view), np.bool_)
    for term in query.all_terms:
        code = view.index.first_word_codes.get(term, -1)
        if code >= 0 and counts[code] > ranking.NAME_SHARE * len(view.index):
            spoken |= first_word == code
    return spoken


def session_best(order: ConversationOrder, relevance: Floats) -> Floats:
    """Return, for each turn, the mean relevance of the three best turns of its conversation."""
    best = np.zeros(len(relevance), np.float32)
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
