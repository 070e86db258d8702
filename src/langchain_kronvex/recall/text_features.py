"""Features of texts: terms, first words, questions, and words of time and of the first person.

Texts are read together: each distinct word is handled once, and the rest is counted in arrays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.arrays import value_counts
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.recall.tokenizer import STOP_WORDS, stems, words

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
class TermCounts:
    """How often texts hold terms: three arrays of one length, sorted by term, then by text.

    Attributes:
        names: The distinct terms.
        term: Numbers of terms, which are places in `names`.
        text: Numbers of texts.
        count: How often the text holds the term.
    """

    names: list[str]
    term: NDArray[np.intp]
    text: NDArray[np.intp]
    count: Floats


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """The features of some texts. All but `terms` hold one value for each text.

    Attributes:
        terms: Stems without stop words.
        term_count: How many terms, repeated ones each time.
        word_count: All words, stop words too.
        first_words: The stem of the first word, "" for none.
        asks: Whether the text has a question mark.
        personal: Whether it speaks in the first person.
        timed: Whether it has a word of time or a number of up to four digits.
    """

    terms: TermCounts
    term_count: NDArray[np.intp]
    word_count: NDArray[np.intp]
    first_words: list[str]
    asks: list[bool]
    personal: NDArray[np.bool_]
    timed: NDArray[np.bool_]


def text_features(texts: Sequence[str]) -> TextFeatures:
    """Return the features of texts."""
    split = [words(text) for text in texts]
    distinct = list(dict.fromkeys(chain.from_iterable(split)))
    number_of = {word: number for number, word in enumerate(distinct)}
    stem_of = stems(distinct)
    sizes = np.array([len(found) for found in split], np.intp)
    numbers = map(number_of.__getitem__, chain.from_iterable(split))
    word = np.fromiter(numbers, np.intp, int(sizes.sum()))
    text = np.repeat(np.arange(len(texts)), sizes)

    def holding(marked: Sequence[bool]) -> NDArray[np.bool_]:
        of_words = np.array(marked, np.bool_)[word]
        return np.bincount(text[of_words], minlength=len(texts)) > 0

    counted = _counted(distinct, stem_of, word, text, len(texts))
    return TextFeatures(
        terms=counted,
        term_count=np.bincount(counted.text, counted.count, len(texts)).astype(np.intp),
        word_count=sizes,
        first_words=[stem_of[number_of[found[0]]] if found else "" for found in split],
        asks=["?" in each or "？" in each for each in texts],  # noqa: RUF001 - of CJK text
        personal=holding([each in FIRST_PERSON for each in distinct]),
        timed=holding([each in TIME_WORDS or bool(_NUMBER.search(each)) for each in distinct]),
    )


def _counted(
    distinct: Sequence[str],
    stem_of: Sequence[str],
    word: NDArray[np.intp],
    text: NDArray[np.intp],
    texts: int,
) -> TermCounts:
    """Count terms."""
    term_of: dict[str, int] = {}
    of_word = np.array(
        [
            -1 if each in STOP_WORDS else term_of.setdefault(stem, len(term_of))
            for each, stem in zip(distinct, stem_of, strict=True)
        ],
        np.intp,
    )
    term = of_word[word]
    kept = term >= 0
    term, text = term[kept], text[kept]
    pair, count = value_counts(term * max(texts, 1) + text)
    return TermCounts(
        names=list(term_of),
        term=pair // max(texts, 1),
        text=pair % max(texts, 1),
        count=count.astype(np.float32),
    )
