"""The default order of recalled memories: by confidence, and of two on one matter the newer first.

What was derived from other memories comes before them.

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
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from langchain_kronvex.recall.tokenizer import MONTHS, STOP_WORDS, date_parts, stems, terms, words

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
MOST_WORDS, MOST_CHARACTERS = 20, 400
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
_MONTHS = frozenset(MONTHS)
_VALUE = re.compile(rf"\d|\b(?:{'|'.join([*_NUMBERS, *_MONTHS])})\b|day", re.IGNORECASE)


class Candidate(NamedTuple):
    """A chosen memory: its text, when it was said (seconds), and its similarity."""

    text: str
    said: float
    similarity: float


def _may_update(older: Candidate, newer: Candidate) -> bool:
    """Return whether a memory is short, of a later conversation, and speaks of a change or a value.

    Most are not, and so are compared no further.
    """
    return (
        newer.said - older.said >= ANOTHER_CONVERSATION_SECONDS
        and len(newer.text) <= MOST_CHARACTERS
        and newer.text.count(" ") < MOST_WORDS
        and bool(_CHANGE.search(newer.text) or _VALUE.search(newer.text))
    )


class _Texts:
    """The texts of candidates by their words: what is compared to tell updates.

    Attributes:
        split: The words of each text.
        terms: The distinct terms of each.
        distinct: Terms that few of the texts have.
    """

    def __init__(self, chosen: Sequence[Candidate]) -> None:
        self.split = [words(each.text[:MOST_CHARACTERS]) for each in chosen]
        every = list({word for split in self.split for word in split} - STOP_WORDS)
        term_of = dict(zip(every, stems(every), strict=True))
        self.terms = [{term_of[w] for w in split if w in term_of} for split in self.split]
        spread = Counter(term for terms in self.terms for term in terms)
        self.distinct = {term for term, count in spread.items() if count <= SHARED_BY}

    def values(self, number: int) -> list[set[str]]:
        """Return the numbers, weekdays and months in a text."""
        split = self.split[number]
        return [
            {word for word in split if word in _NUMBERS or not word.isalpha()},
            {word.removesuffix("s") for word in split} & _WEEKDAYS,
            {*split} & _MONTHS,
        ]

    def differ(self, one: int, other: int) -> bool:
        """Return whether two texts have different values of one kind."""
        pairs = zip(self.values(one), self.values(other), strict=True)
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


def asks_of_past(query: str) -> bool:
    """Return whether a question is about the past, so that it asks for no update."""
    return bool(_PAST.search(query))


def newest_first(
    query: str, chosen: Sequence[Candidate], *, by_relevance: bool = False
) -> list[int]:
    """Return the numbers of chosen memories in order: those of one matter, the newest first.

    Of one matter are the most similar memory, those that update it and those that it updates. They
    share their places among them; all others keep theirs.

    Args:
        query: The question. One about the past asks for no update.
        chosen: In the order so far.
        by_relevance: That order says which are the most relevant; if not, their similarities do.
    """
    order = list(range(len(chosen)))
    if len(order) < 2 or asks_of_past(query):
        return order

    def relevance(n: int) -> tuple[float, Candidate]:
        # No place in the key: the same memories in another order are of the same matter.
        return -chosen[n].similarity, chosen[n]

    best = order[0] if by_relevance else min(order, key=relevance)
    said = chosen[best].said
    pairs = {n: (n, best) if chosen[n].said <= said else (best, n) for n in order if n != best}
    updates = {n: (a, b) for n, (a, b) in pairs.items() if _may_update(chosen[a], chosen[b])}
    if not updates:
        return order
    leading = (order if by_relevance else sorted(order, key=relevance))[:AMONG_FIRST]
    texts = _Texts(chosen)

    def is_of_one_matter(older: int, newer: int) -> bool:
        share = chosen[newer].similarity / max(chosen[older].similarity, 1e-6)
        changed = bool(_CHANGE.search(chosen[newer].text))
        if texts.terms[newer] & texts.terms[older] & texts.distinct:
            return share >= LEAST_SHARE and (changed or texts.differ(newer, older))
        return changed and newer in leading and share >= LEAST_SHARE_WITHOUT_A_WORD

    matter = [n for n in order if n == best or (n in updates and is_of_one_matter(*updates[n]))]
    newest = sorted(matter, key=lambda n: -chosen[n].said)
    for place, n in zip(matter, newest, strict=True):
        order[place] = n
    return order


# -- beside what was derived from it -----------------------------------------------------------

# Of the terms of a source. One may be missing from five: "Ana moved to Porto in May 2026" says all
# of "I have moved to Porto for good this spring". Of fewer, the missing one may be what matters.
LEAST_SAID_AGAIN = 0.8
_RELATIVE_DATES = frozenset(  # where a derived memory has the date itself
    terms(
        "today yesterday tomorrow tonight week weekend month year day last next ago since now "
        f"recently just {' '.join(sorted(_WEEKDAYS))}",
        "english",
    )
)


class Derivable(Protocol):
    """A memory that others may have been derived from, or that was derived itself."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def content(self) -> str:
        """Its text."""

    @property
    def sources(self) -> Sequence[str]:
        """The ids of the others."""


class Source(Protocol):
    """A memory that others may have been derived from."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def words_said(self) -> str:
        """What the user said in it."""


class Found(Derivable, Source, Protocol):
    """A memory that may be either."""


DerivableT = TypeVar("DerivableT", bound=Derivable)
FoundT = TypeVar("FoundT", bound=Found)


def is_said_again(source: Source, chosen: Iterable[Derivable]) -> bool:
    """Return whether chosen memories that were derived from one say all that it says."""
    derived = [each.content for each in chosen if source.id in each.sources]
    if not derived:
        return False
    told = {
        term
        for term in terms(source.words_said)
        if term not in _RELATIVE_DATES and not date_parts(term)
    }
    known = {term for text in derived for term in terms(text)}
    return bool(told) and len(told & known) >= LEAST_SAID_AGAIN * len(told)


def beside_derived(found: Iterable[FoundT], wanted: int) -> list[FoundT]:
    """Return the first `wanted` memories, without those that others of them say again."""
    chosen: list[FoundT] = []
    derived: list[FoundT] = []
    for each in found:
        if len(chosen) == wanted:
            break
        if each.sources:
            derived.append(each)
            chosen = [other for other in chosen if not is_said_again(other, derived)]
        if not derived or not is_said_again(each, derived):
            chosen.append(each)
    return chosen


def derived_first(chosen: Sequence[DerivableT]) -> list[DerivableT]:
    """Return memories in their order, but each derived one before the first of its sources."""
    if not any(each.sources for each in chosen):
        return list(chosen)
    ordered = list[DerivableT]()
    for each in chosen:
        before = ordered if each.sources else ()
        places = (n for n, other in enumerate(before) if other.id in each.sources)
        ordered.insert(next(places, len(ordered)), each)
    return ordered
