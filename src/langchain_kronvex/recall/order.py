"""The default order of recalled memories: by confidence, and of two on one matter the newer first.

- recency: `1 / (1 + exp(0.05 * (age_days - 30)))` for memories that fade (episodic, context);
  1 for all others.
- frequency: `min(ln(1 + access_count) / ln(11), 1)`.
- confidence: `0.6 * similarity + 0.2 * recency + 0.2 * frequency`.

Pure functions. They order what was chosen, and change neither the choice nor a score.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from langchain_kronvex.recall.tokenizer import STOP_WORDS, stems, words

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


# -- what is true now --------------------------------------------------------------------------

# An update is a short, later statement that speaks of a change, or names another number, weekday
# or month. It shares a word with the older memory that few others of the chosen have; one of the
# three most similar need not, as in "I've moved to Porto" after "I live in Lisbon".
#
# On 20 updates among 30 other facts, the newer was first in 10 to 60 % without this rule and in
# 70 to 80 % with it, for turns, exchanges and statements. On conversations between two people,
# where later turns rarely replace earlier ones, the first place stayed right as often. Questions
# about the past, long texts and turns of one conversation had made it wrong there.
SHARED_BY = 2
LEAST_SHARE, LEAST_SHARE_WITHOUT_A_WORD, AMONG_FIRST = 0.15, 0.45, 3
MOST_WORDS = 20
ANOTHER_CONVERSATION_SECONDS = 3600.0

_PAST = re.compile(
    r"\b(?:did|was|were|had|ago|first|before|used to|originally|ever|last|previous(?:ly)?"
    r"|(?:19|20)\d\d)\b",
    re.IGNORECASE,
)
_CHANGE = re.compile(
    r"\b(?:now|nowadays|these days|moved?|instead|rather than|no longer|any ?(?:more|longer)"
    r"|after all|actually|since|from now on|new|got|left|changed?|changes|switched|swapped|traded"
    r"|migrated|replaced?|transferred|quit|dropped|g[ai]ven? up|closed|renamed|raised|lowered"
    r"|increased|decreased|reduced|doubled|halved|cut|stopped|started|finished|cancell?ed"
    r"|called off|(?:is|are) off|postponed|pushed|rescheduled|delayed|turned|upgraded|sold|ended"
    r"|broke up|split up|divorced|promoted|retired|resigned|correction)\b",
    re.IGNORECASE,
)
_NUMBERS = frozenset(
    """
    one two three four five six seven eight nine ten eleven twelve once twice
    first second third fourth fifth sixth seventh eighth ninth tenth
    """.split()
)
_WEEKDAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())
_MONTHS = frozenset(
    """
    january february march april may june july august september october november december
    """.split()
)


class Candidate(NamedTuple):
    """A chosen memory: its text, when it was said (seconds), and its similarity."""

    text: str
    said: float
    similarity: float


class _Statement:
    """A candidate with its terms, its values, and whether it is short enough for an update."""

    def __init__(self, candidate: Candidate) -> None:
        split = words(candidate.text)
        self.said, self.similarity = candidate.said, candidate.similarity
        self.terms = set(stems([word for word in split if word not in STOP_WORDS]))
        self.values = [
            {word for word in split if word in _NUMBERS or any(map(str.isdigit, word))},
            {word.removesuffix("s") for word in split} & _WEEKDAYS,
            _MONTHS.intersection(split),
        ]
        self.is_short = len(split) <= MOST_WORDS
        self.speaks_of_change = bool(self.is_short and _CHANGE.search(candidate.text))

    def updates(self, older: _Statement, distinct: set[str], is_leading: bool) -> bool:
        """Return whether this later statement seems to take the place of an older one.

        Args:
            older: The older one.
            distinct: Terms that few of the chosen memories have.
            is_leading: Whether this one is among the most similar.
        """
        if not self.is_short or self.said - older.said < ANOTHER_CONVERSATION_SECONDS:
            return False
        share = self.similarity / max(older.similarity, 1e-6)
        if self.terms & older.terms & distinct:
            pairs = zip(self.values, older.values, strict=True)
            differs = any(mine and theirs and mine != theirs for mine, theirs in pairs)
            return (self.speaks_of_change or differs) and share >= LEAST_SHARE
        return self.speaks_of_change and is_leading and share >= LEAST_SHARE_WITHOUT_A_WORD


def newest_first(query: str, chosen: Sequence[Candidate]) -> list[int]:
    """Return the numbers of chosen memories in order: those of one matter, the newest first.

    Of one matter are the most similar memory, those that update it and those that it updates. They
    share their places among them; all others keep theirs.

    Args:
        query: The question. One about the past asks for no update.
        chosen: In the order so far.
    """
    order = list(range(len(chosen)))
    if len(order) < 2 or _PAST.search(query):
        return order
    statements = [_Statement(each) for each in chosen]
    spread = Counter(term for each in statements for term in each.terms)
    distinct = {term for term, count in spread.items() if count <= SHARED_BY}
    by_similarity = sorted(order, key=lambda n: -chosen[n].similarity)
    best, leading = by_similarity[0], set(by_similarity[:AMONG_FIRST])

    def is_of_one_matter(n: int) -> bool:
        older, newer = sorted((n, best), key=lambda number: chosen[number].said)
        return statements[newer].updates(statements[older], distinct, newer in leading)

    matter = [n for n in order if n == best or is_of_one_matter(n)]
    newest = sorted(matter, key=lambda n: -chosen[n].said)
    for place, n in zip(matter, newest, strict=True):
        order[place] = n
    return order
