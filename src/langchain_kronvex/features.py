"""What a text shows beside its terms: who opens it, whether it asks, when and of whom it speaks."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_kronvex.lexical import STOP_WORDS, stems, words

FIRST_PERSON = frozenset("i me my mine myself we us our ours ourselves".split())
TIME_WORDS = frozenset(
    """
    ago yesterday today tonight tomorrow morning afternoon evening night noon midnight weekend
    day days week weeks month months year years hour hours last next recently soon
    january february march april may june july august september october november december
    jan feb mar apr jun jul aug sep sept oct nov dec
    monday tuesday wednesday thursday friday saturday sunday
    spring summer autumn fall winter christmas easter birthday anniversary
    """.split()
)

_NUMBER = re.compile(r"(?<!\d)\d{1,4}(?!\d)")


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """One text, read once.

    Attributes:
        terms: Stems without stop words, with how often they stand in the text.
        word_count: All words, stop words too.
        opener: The stem of the first word, "" for none.
        asks: It holds a question mark.
        personal: It speaks in the first person.
        timed: It holds a word of time or a number of up to four digits.
    """

    terms: Counter[str]
    word_count: int
    opener: str
    asks: bool
    personal: bool
    timed: bool


def text_features(texts: Sequence[str]) -> list[TextFeatures]:
    """Read texts; every distinct word is stemmed once."""
    split = [words(text) for text in texts]
    distinct = list({word for found in split for word in found})
    stem_of = dict(zip(distinct, stems(distinct), strict=True))
    return [_features(text, found, stem_of) for text, found in zip(texts, split, strict=True)]


def _features(text: str, found: list[str], stem_of: dict[str, str]) -> TextFeatures:
    distinct = set(found)
    return TextFeatures(
        terms=Counter([stem_of[word] for word in found if word not in STOP_WORDS]),
        word_count=len(found),
        opener=stem_of[found[0]] if found else "",
        asks="?" in text or "？" in text,  # noqa: RUF001 - the full-width mark of CJK text
        personal=not FIRST_PERSON.isdisjoint(distinct),
        timed=not TIME_WORDS.isdisjoint(distinct) or _NUMBER.search(text) is not None,
    )
