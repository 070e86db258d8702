"""How recall decides: every constant and formula of relevance, order and cut. Pure functions.

*Find* by relevance, a fixed weighted sum of features of words, meaning, neighbours and dates.
*Choose* the `top_k` most relevant. Only then *order* them by confidence: choosing by confidence
feeds back on itself, since what was recalled once is recalled for ever.

- relevance: the weighted sum, divided by that of a full match by words and meaning, so that
  memories found by different formulas (see `Form`) compare.
- similarity: `tanh(2 * relevance)`, in [0, 1]. The map is fixed, so a threshold means the same for
  every question.
- recency: `1 / (1 + exp(0.05 * (age_days - 30)))` for memories that fade (episodic, context);
  1 for all others.
- frequency: `min(ln(1 + access_count) / ln(11), 1)`.
- confidence: `0.6 * similarity + 0.2 * recency + 0.2 * frequency`.
- probability: the softmax of relevance over all memories of the owner, calibrated by a logistic
  curve. It tells how likely a memory is the one asked for, given that the owner has one that is.

The words' part is BM25 (Robertson and Zaragoza, 2009). The weights were chosen on conversations
other than those in the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Form(IntEnum):
    """How a memory was stored, which chooses the formula it is found by."""

    TURN = 0  # one side of a conversation: an episodic `remember`
    EXCHANGE = 1  # a user's words with the answer they got, found by the user's words
    STATEMENT = 2  # a fact that stands alone: any type that is not episodic


# -- words ------------------------------------------------------------------------------------

K1, B = 1.2, 0.75
HALF_SCORE = 5.0  # the BM25 score that counts as half of the most that words can say

# A turn is also found by the words around it: how much it borrows from the turns 1, 2 and 3
# before it and 1 and 2 after it. Only short memories, within an hour of each other, do so.
BEFORE = (0.5, 0.4, 0.3)
AFTER = (0.3, 0.2)
MEANING_BEFORE = (0.5, 0.25)
MEANING_AFTER = (0.25,)
SESSION_GAP_SECONDS = 3600.0
SHORT_WORDS = 80
MAX_QUERY_TERMS = 64
LEAST_DOCUMENTS = 100


def rarity(documents: int, containing: int) -> float:
    """Return BM25's inverse document frequency, never below 1e-6.

    A store of a few memories says little about how rare a word is: it counts as one of 100.
    """
    documents = max(documents, LEAST_DOCUMENTS)
    return max(math.log((documents - containing + 0.5) / (containing + 0.5)), 1e-6)


def term_score(counts: Floats, lengths: Floats, average_length: float, idf: float) -> Floats:
    """Return the BM25 score of one term for memories that hold it `counts` times."""
    norm = K1 * (1 - B) + K1 * B / average_length * lengths
    return (idf * (K1 + 1) * counts / (counts + norm)).astype(np.float32, copy=False)


def saturate(scores: Floats) -> Floats:
    """Map a BM25 score from [0, inf) to [0, 1), the same for every query."""
    return scores / (scores + np.float32(HALF_SCORE))


# -- relevance --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Weights:
    """What each feature adds to the relevance of a memory.

    Attributes:
        words: BM25 of the terms, saturated.
        meaning: Cosine of the vectors; 0 for memories without one.
        speaker: The memory opens with a word of the query that opens many memories (a name).
        answer: The turn before asks a question.
        question: The turn itself asks one.
        when: A when-question meets a memory with a word of time.
        first: The turn opens its conversation.
        personal: The turn speaks in the first person.
        session: The mean relevance of the three best turns of the same conversation.
    """

    words: float = 1.0
    meaning: float = 0.0
    speaker: float = 0.0
    answer: float = 0.0
    question: float = 0.0
    when: float = 0.0
    first: float = 0.0
    personal: float = 0.0
    session: float = 0.0

    @property
    def full(self) -> float:
        """The weighted sum of a memory that matches the query in full, and nothing else speaks
        for it: what makes sums of different formulas comparable.
        """
        return (self.words + self.meaning) * (1 + self.session / 3)


TURNS_BY_WORDS = Weights(
    speaker=0.08, answer=0.08, question=-0.04, when=0.14, first=0.06, personal=0.06, session=0.3
)
TURNS = Weights(
    meaning=1.1, speaker=0.12, answer=0.12, question=-0.08, when=0.24, first=0.1, personal=0.1,
    session=0.45,
)  # fmt: skip
ALONE_BY_WORDS = Weights()
ALONE = Weights(meaning=1.0)

# What may speak for a turn whatever its words, in the order of the index's columns.
PRIORS = ("answer", "question", "first", "personal", "when")
NAME_SHARE = 0.1  # a word that opens more than this share of the memories is a speaker's name


def similarity(relevance: Floats) -> Floats:
    """Map relevance to [0, 1]; monotone, fixed, never normalised by the query."""
    similar: Floats = np.tanh(2 * np.maximum(relevance, 0))
    return similar


SHARPNESS, SLOPE, OFFSET = 8.0, 0.88, 0.39


def probability(relevance: Floats, chosen: NDArray[np.intp], full: float) -> Floats:
    """Return the calibrated probability of the `chosen` among all memories of the owner.

    Args:
        relevance: Of all memories; minus infinity for the invisible ones.
        chosen: Places of those asked for.
        full: The weighted sum of a turn for which relevance is 1.
    """
    exponent = SHARPNESS * full * relevance.astype(np.float64)
    log_total = exponent.max() + math.log(float(np.exp(exponent - exponent.max()).sum()))
    odds = SLOPE * (exponent[chosen] - log_total) + OFFSET
    calibrated: Floats = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return calibrated


def best(relevance: Floats, count: int) -> NDArray[np.intp]:
    """Return the places of the `count` highest values, highest first, later places first in ties.

    Later places are younger memories. Places of minus infinity (invisible memories) are left out.
    """
    size = len(relevance)
    if count < size:
        kth = np.partition(relevance, size - count)[size - count]
        places = np.flatnonzero(relevance >= kth)
    else:
        places = np.arange(size)
    places = places[::-1][np.argsort(-relevance[places[::-1]], kind="stable")][:count]
    visible: NDArray[np.intp] = places[relevance[places] > -np.inf]
    return visible


# -- order ------------------------------------------------------------------------------------

FADING_TYPES = frozenset({"episodic", "context"})
TURNING_POINT_DAYS, DECAY_PER_DAY = 30.0, 0.05


def recency(memory_type: str, age_days: float) -> float:
    """Return how fresh a memory is, from 0 to 1; 1/2 at 30 days for types that fade."""
    if memory_type not in FADING_TYPES:
        return 1.0
    return 1 / (1 + math.exp(min(DECAY_PER_DAY * (age_days - TURNING_POINT_DAYS), 700)))


def frequency(access_count: int) -> float:
    """Return how often a memory was recalled, from 0 (never) to 1 (ten times or more)."""
    return min(math.log1p(access_count) / math.log(11), 1.0)


def confidence(similarity: float, recency: float, frequency: float) -> float:
    """Return `0.6 * similarity + 0.2 * recency + 0.2 * frequency`."""
    return 0.6 * similarity + 0.2 * recency + 0.2 * frequency
