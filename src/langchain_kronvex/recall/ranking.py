"""How recall decides: every constant and formula of relevance. Pure functions.

*Find* by relevance, a fixed weighted sum of features of words, meaning, neighbours and dates.
*Choose* the `top_k` most relevant. Only then *order* them (see `order.py`): choosing by confidence
feeds back on itself, since a memory recalled once would then be recalled for ever.

- relevance: the weighted sum of a memory's formula (see `Form`), put on one scale so that
  memories found by different formulas compare.
- similarity: `tanh(relevance)`, in [0, 1]. The map is fixed, so a threshold means the same for
  every question.
- probability: the softmax of relevance over all memories of the owner and the share of the query's
  words that none of them holds, calibrated by a logistic curve. It estimates how likely a memory is
  the one asked for.

The words' part is BM25 (Robertson and Zaragoza, 2009). The weights were chosen on conversations
other than those in the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.records import Floats


class Form(IntEnum):
    """How a memory was stored, which chooses the formula it is found by."""

    TURN = 0  # one side of a conversation: an episodic `remember`
    EXCHANGE = 1  # a user's words with the answer they got, found by the user's words
    STATEMENT = 2  # a fact that stands alone: any type that is not episodic
    DERIVED = 3  # what consolidation made of others; it belongs to no conversation either


# -- words ------------------------------------------------------------------------------------

K1, B = 1.2, 0.75
# The BM25 score that counts as half of the highest word score, in queries of up to so many terms;
# longer queries need more.
HALF_SCORE, MANY_TERMS = 5.0, 8

# A turn is also found by the words around it: the shares it borrows from the turns 1, 2 and 3
# before it and 1 and 2 after it. Only short memories, within an hour of each other, do so.
BEFORE = (0.5, 0.4, 0.3)
AFTER = (0.3, 0.2)
MEANING_BEFORE = (0.5, 0.25)
MEANING_AFTER = (0.25,)
SESSION_GAP_SECONDS = 3600.0
SHORT_WORDS = 80
MAX_QUERY_TERMS = 64
LEAST_OF_LANGUAGE = 0.01  # the share of texts from which words are looked for in a language
# The weight of the words of a long message beside its question. With 40 words of other matters
# before the question, 82 instead of 65 % is found; messages of one matter lose nothing.
BESIDE = 0.5
LEAST_DOCUMENTS = 100
# What is left of the relevance of a question that nearly equals the query, sharing so many of the
# terms of both, and has no reply; and of one whose reply says that it is not known. With five
# such askings, a fact came first in 5 to 30 % of 20 cases; now in 80.
SAME_QUESTION, REPEATED, UNANSWERED = 0.6, 0.5, 0.1
# Of the words that no memory holds, so many are looked for in another spelling; what is found
# counts for less than the word itself would.
MOST_MEANT, MEANT = 8, 0.6
# What a standing instruction gains once anything in it fits. Of 20 among 46 other memories, 90 %
# instead of 75 were among five; twice as much cost conversations .2 points of R@10.
INSTRUCTION = 0.15
RARE_MEMORIES = 5  # words that at most so many memories hold outrank every likeness


def idf(documents: int, containing: Floats) -> Floats:
    """Return BM25's inverse document frequency of terms, never below 1e-6."""
    return np.maximum(np.log(_odds(documents, containing)), 1e-6).astype(np.float32)


def positive_idf(documents: int, containing: Floats) -> Floats:
    """Return the inverse document frequency that stays positive for words of most documents."""
    return np.log1p(_odds(documents, containing)).astype(np.float32)


def _odds(documents: int, containing: Floats) -> Floats:
    # A few memories say little about how rare a word is, so a small store counts as one of 100.
    odds: Floats = (max(documents, LEAST_DOCUMENTS) - containing + 0.5) / (containing + 0.5)
    return odds


def length_norm(lengths: Floats, average_length: float) -> Floats:
    """Return what a term's count is set against in each memory, by its length in terms."""
    norm: Floats = K1 * (1 - B) + K1 * B / average_length * lengths
    return norm


def tf_weight(counts: Floats, norm: Floats) -> Floats:
    """Return BM25's weight of the frequency of terms.

    Args:
        counts: How often each memory holds each term, shape (terms, memories).
        norm: The `length_norm` of the memories.
    """
    weight = (K1 + 1) * counts
    weight /= counts + norm
    return weight.astype(np.float32, copy=False)


def saturate(scores: NDArray[np.floating[Any]], terms: float) -> Floats:
    """Map BM25 scores of a query of so many terms from [0, inf) to [0, 1).

    The map is the same for all short queries. Long queries score higher on any text, so their
    scores count less.
    """
    half = np.float32(HALF_SCORE * max(1.0, terms / MANY_TERMS))
    saturated: Floats = scores / (scores + half)
    return saturated


# -- relevance --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each feature in the relevance of a memory.

    Attributes:
        words: BM25 of the terms, saturated.
        related: The same, where each term also counts as its related words.
        reply: BM25 of the terms in the reply alone, saturated.
        meaning: Cosine of the vectors, 0 for memories without one: for turns joined with the
            neighbours', for others less the mean of all vectors.
        speaker: The memory opens with a word of the query that opens many memories (a name).
        answer: The turn before asks a question.
        question: The turn itself asks one.
        when: A when-question meets a memory with a word of time.
        first: The turn opens its conversation.
        personal: The turn speaks in the first person.
        session: The mean relevance of the three best turns of the same conversation.
        feedback: Cosine to the mean of the five most relevant memories.
        scale: A factor that makes weighted sums of different formulas comparable.
        least: The weighted sum above which a memory counts as relevant. Only turns have one,
            since a turn also scores when just its neighbours fit. Turns without neighbours use
            half of it.
        bend: How gently relevance sets in around `least`.
    """

    words: float = 1.0
    related: float = 0.0
    reply: float = 0.0
    meaning: float = 0.0
    speaker: float = 0.0
    answer: float = 0.0
    question: float = 0.0
    when: float = 0.0
    first: float = 0.0
    personal: float = 0.0
    session: float = 0.0
    feedback: float = 0.0

    scale: float = 1.0
    least: float = 0.0
    bend: float = 0.0


Formulas = tuple[Weights, Weights, Weights, Weights]  # by `Form`

# What a derived memory's relevance counts, of a statement's. It is short and has the words of its
# source, so it outranked what else was said: beside facts taken from every turn of two
# conversations, which count for their sources, 74.5 % of evidence was among ten with 1, 84.5 with
# .55, and 86.4 without them. Below, updates came first less often: 60 % with .45 instead of 75.
DERIVED = 0.55
BY_WORDS: Formulas = (
    Weights(
        speaker=0.08, answer=0.08, question=-0.04, when=0.14, first=0.06, personal=0.06,
        session=0.3, scale=2.2, least=0.3, bend=0.1,
    ),
    Weights(reply=0.8, scale=1.45),
    Weights(scale=2.1),
    Weights(scale=2.1 * DERIVED),
)  # fmt: skip
# The reply's words count 1.4: of long chats with an assistant, 1.9 points more of the evidence are
# among ten than with .8; conversations as exchanges gain 2.9. Of these, what only the one who spoke
# first said loses 1.7 (by words alone, 6); in the long chats it gains. With 1.8 it loses 3 more.
BY_WORDS_AND_MEANING: Formulas = (
    Weights(
        related=1.25, meaning=1.2, speaker=0.17, answer=0.17, question=-0.11, when=0.34,
        first=0.15, personal=0.1, session=0.6, feedback=0.25, least=2.05, bend=0.5,
    ),
    Weights(related=0.5, meaning=0.8, reply=1.4, scale=1.35),
    Weights(related=0.5, meaning=1.0, scale=1.7),
    Weights(related=0.5, meaning=1.0, scale=1.7 * DERIVED),
)  # fmt: skip
# An encoder understands a sentence better than the sum of its words. With a multilingual one, twice
# the weight in statements put 92 instead of 85 % of English facts first, and 69 instead of 46 % of
# German ones; three times the weight, 85 instead of 77 % of Spanish ones.
BY_WORDS_AND_ENCODER: Formulas = (
    BY_WORDS_AND_MEANING[Form.TURN],
    Weights(related=0.5, meaning=1.6, reply=1.2, scale=1.35),
    Weights(related=0.5, meaning=3.0, scale=1.7),
    Weights(related=0.5, meaning=3.0, scale=1.7 * DERIVED),
)


def formulas(has_vector: bool, is_encoded: bool) -> Formulas:
    """Return the formulas for a query by words alone, with the bundled table, or an encoder."""
    if not has_vector:
        return BY_WORDS
    return BY_WORDS_AND_ENCODER if is_encoded else BY_WORDS_AND_MEANING


FEEDBACK_OF, FEEDBACK_TO = 5, 50  # the best, which are averaged, and those that are compared

# The signals of a turn that do not depend on the query, in the order of the index's columns.
PRIORS = ("answer", "question", "first", "personal", "when")
NAME_SHARE = 0.1  # a word that opens more than this share of the memories is a speaker's name


def comparable(sums: Floats, formula: Weights, density: float = 1.0) -> Floats:
    """Return the relevance that weighted sums of one formula stand for.

    Strictly monotone; 0 stays 0.

    Args:
        sums: Of memories.
        formula: Whose sums they are.
        density: How many neighbours the owner's turns have, from 0 for none to 1 for many.
    """
    if formula.bend:
        least = formula.least * (1 + density) / 2 / formula.bend
        sums = np.logaddexp(0, sums / formula.bend - least) - math.log1p(math.exp(-least))
        sums *= formula.bend
    return (formula.scale * sums).astype(np.float32, copy=False)


def similarity(relevance: Floats) -> Floats:
    """Map relevance to [0, 1]; monotone, fixed, never normalised by the query."""
    similar: Floats = np.tanh(np.maximum(relevance, 0))
    return similar


# Fitted on conversations, with as many questions about other ones, whose words are mostly missing:
# the first hit is the likelier the less is missing. Without that term, the area under the curve of
# first hits, questions that can be answered against those that cannot, is .82; with it .93.
SHARPNESS, SLOPE, OFFSET, MISSING = 8.0, 0.85, 0.44, -2.2


def probability(
    relevance: Floats, chosen: NDArray[np.intp], others: int, missing: float = 0.0
) -> Floats:
    """Return the calibrated probability of the `chosen` among all memories of the owner.

    Args:
        relevance: Of memories; minus infinity for the invisible ones.
        chosen: Places of the memories to return probabilities for.
        others: How many more memories the owner has, with relevance 0.
        missing: The share of the query's words that no memory holds.
    """
    exponent = SHARPNESS * relevance.astype(np.float64)
    most = max(float(exponent.max()), 0.0)
    log_total = most + math.log(float(np.exp(exponent - most).sum()) + others * math.exp(-most))
    odds = SLOPE * (exponent[chosen] - log_total) + OFFSET + MISSING * missing
    calibrated: Floats = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return calibrated


def best(relevance: Floats, count: int) -> NDArray[np.intp]:
    """Return the places of the `count` highest values, highest first, later places first in ties.

    Later places are younger memories. Places of minus infinity (invisible memories) are left out.
    """
    size = len(relevance)
    if count < size:
        ordered = relevance.copy()
        ordered.partition(size - count)
        latest_first = (relevance >= ordered[size - count]).nonzero()[0][::-1]
    else:
        latest_first = np.arange(size)[::-1]
    values = relevance.take(latest_first)
    order = (-values).argsort(kind="stable")[:count]
    visible: NDArray[np.intp] = latest_first.take(order)[values.take(order) > -np.inf]
    return visible
