"""From texts to the terms and other features that memories are found by. Pure functions.

Words are runs of letters and digits, compared without case, width or accents' encoding (NFKC).
English words are stemmed (Snowball English) and common English function words left out. Scripts
written without spaces are split into overlapping pairs of characters.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import Stemmer
from numpy.typing import NDArray

from langchain_kronvex.recall.arrays import TermCounts, value_counts

# Han, kana, Hangul, Thai, Lao, Myanmar, Khmer: no spaces between words (Hangul: agglutinated).
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_WORD = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_UNSPACED_RUN = re.compile(rf"[{UNSPACED}]")
MOST_WORDS = 200_000  # more than 1 MiB of English has
_PART = re.compile(r"[\s\S]{1,65536}(?!\S)|[\s\S]{1,65536}")  # it ends between words if it can
_MOST_MARKS = 30  # in a row, as in Stream-Safe Text (UAX 15)
# Characters that may be combining marks, or become some: two kana marks, and no letters.
_MANY_MARKS = re.compile(rf"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){{{_MOST_MARKS + 1},}}")

STOP_WORDS = frozenset(
    """
    a about above after again against ain all also am an and any are aren as at be because been
    before being below between both but by can cannot could couldn d did didn do does doesn doing
    don down during each few for from further had hadn has hasn have haven having he her here hers
    herself him himself his how i if in into is isn it its itself just let ll m ma me might mightn
    more most must mustn my myself needn no nor not now o of off on once only or other our ours
    ourselves out over own re s same shan she should shouldn so some such t than that the their
    theirs them themselves then there these they this those through to too under until up us ve
    very was wasn we were weren what when where which while who whom why will with won would
    wouldn y you your yours yourself yourselves
    """.split()
)

_MONTHS = (
    "january february march april may june july august september october november december"
).split()

_local = threading.local()


def normalized(form: Literal["NFD", "NFKC"], text: str) -> str:
    """Return a text in a normal form of Unicode, in time proportional to its length.

    Normalizing sorts the combining marks of a character in quadratic time, so long runs of them are
    parted by a mark that is ignored everywhere (U+034F).
    """
    return unicodedata.normalize(form, _MANY_MARKS.sub(_parted, text))


def _parted(run: re.Match[str]) -> str:
    marks = run[0]
    return "\u034f".join(marks[i : i + _MOST_MARKS] for i in range(0, len(marks), _MOST_MARKS))


def words(text: str) -> list[str]:
    """Return the words of a text in order, lower case; unspaced scripts as character pairs.

    Of a very long text, the first 200,000: no text may hold up all other requests.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())[:MOST_WORDS]
    found: list[str] = []
    for part in _PART.findall(text):
        for word in _WORD.findall(normalized("NFKC", part).casefold()):
            if not word.isascii() and _UNSPACED_RUN.match(word):
                found.extend(word[i : i + 2] for i in range(max(len(word) - 1, 1)))
            else:
                found.append(word)
        if len(found) >= MOST_WORDS:
            break
    return found[:MOST_WORDS]


def stems(distinct_words: Sequence[str]) -> list[str]:
    """Return the stem of each word.

    The stemmer keeps no cache: what a user wrote must not outlive its being forgotten.
    """
    stemmer = getattr(_local, "stemmer", None)
    if stemmer is None:  # one for each thread: it is not safe to share
        stemmer = _local.stemmer = Stemmer.Stemmer("english", 0)
    return list(stemmer.stemWords(list(distinct_words)))


def terms(text: str) -> list[str]:
    """Return the terms of one text: its words without stop words, stemmed."""
    return stems([word for word in words(text) if word not in STOP_WORDS])


_MONTH_OF_TERM = {stem: n for n, stem in enumerate(stems(_MONTHS), 1)}


def date_parts(term: str) -> dict[str, int]:
    """Return the parts of a date that a term may name: its "month", or its "day" or "year".

    >>> date_parts("march"), date_parts("07"), date_parts("2023"), date_parts("tea")
    ({'month': 3}, {'day': 7}, {'year': 2023}, {})
    """
    if month := _MONTH_OF_TERM.get(term):
        return {"month": month}
    if term.isascii() and term.isdigit():
        if len(term) <= 2 and 1 <= int(term) <= 31:
            return {"day": int(term)}
        if len(term) == 4:
            return {"year": int(term)}
    return {}


# -- features ----------------------------------------------------------------------------------

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
    """The features of some texts. All but `terms` hold one value for each text.

    Attributes:
        terms: Stems without stop words.
        term_count: How many terms; repeated terms count each time.
        word_count: How many words, including stop words.
        first_words: The stem of the first word, "" for none.
        asks: Whether the text has a question mark.
        personal: Whether it is written in the first person.
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
