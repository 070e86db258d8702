"""From texts to the terms that memories are found by. Pure functions.

Words are runs of letters and digits, compared without case, width or accents' encoding (NFKC).
Scripts written without spaces are split into overlapping pairs of characters. Other words are
stemmed by Snowball's algorithm for their language, and common function words left out. The
language of a word is known by its script or, for Latin letters, by the function words of its text.
"""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import Stemmer

DATA = Path(__file__).parent / "data"

# Han, kana, Hangul, Thai, Lao, Myanmar, Khmer: no spaces between words (Hangul: agglutinated).
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_MARKS = "\u064b-\u065f\u0900-\u0dff"  # vowel signs, Arabic and Indic, are no letters to `\w`
_WORD = re.compile(rf"[{UNSPACED}]+|(?:[^\W_{UNSPACED}]|[{_MARKS}])+")
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

MONTHS = (
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


# -- questions ---------------------------------------------------------------------------------

QUESTION_MARKS = ("?", "？")  # noqa: RUF001 - of CJK text
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")  # noqa: RUF001
_SHORT_MESSAGE = 40  # words
_MOST_QUESTIONS = 3


def focus(text: str) -> str:
    """Return what a message asks: its questions and its last sentence; a short one as it is.

    Of a text without an end of a sentence, that is its end.

    >>> focus("Where do I live?")
    'Where do I live?'
    """
    if len(text.split()) <= _SHORT_MESSAGE:
        return text
    sentences = [each for each in _SENTENCE_END.split(text) if each.strip()]
    asked = [each for each in sentences[:-1] if each.rstrip().endswith(QUESTION_MARKS)]
    chosen = " ".join([*asked[-_MOST_QUESTIONS:], *sentences[-1:]]).split()
    return " ".join(chosen[-_SHORT_MESSAGE:])


# -- languages ---------------------------------------------------------------------------------

ENGLISH = "english"
_SCRIPTS = (  # the first and the last letter, and Snowball's language for them
    ("\u0370", "\u03ff", "greek"),
    ("\u0400", "\u052f", "russian"),
    ("\u0531", "\u058a", "armenian"),
    ("\u0600", "\u06ff", "arabic"),
    ("\u0900", "\u097f", "hindi"),
    ("\u0b80", "\u0bff", "tamil"),
)
# Snowball's stemmers for Arabic and Tamil take quadratic time, so endless words are spared them.
_MOST_LETTERS = 100
# Parts of English words, such as "I've", tell no language.
_ENGLISH = STOP_WORDS - frozenset("d ll m ma o re s t ve y".split())
# Pairs of characters that hardly mean anything: of Chinese function words, and of hiragana.
_EMPTY_PAIR = re.compile(
    "[的了是我你他她它们这那在有和与就不也都很会要能可以什么吗呢吧啊哪谁怎样多少几个一把被给对从到为之其]{2}"
    "|[\u3041-\u3096]{2}"
)
# English words that are function words elsewhere, such as "dog" in Danish.
_ALSO_ENGLISH = frozenset(
    """
    bare bin come dan die dies dig dog door end era fin ham hat hay hem inn man men met mine mint
    mod non par pas per pour sans sea seas sedan sin sit son soy sur ton van want war will ya
    """.split()
)
_SHORT_TEXT = range(2, 7)  # words, one of which may tell the language


@functools.lru_cache(maxsize=1)
def stop_words() -> dict[str, frozenset[str]]:
    """Return the function words of the languages that have a list."""
    lines = (DATA / "stop_words.txt").read_text(encoding="utf-8").splitlines()
    lists = [line.split(" ") for line in lines if not line.startswith("#")]
    return {ENGLISH: STOP_WORDS, **{name: frozenset(listed) for name, *listed in lists}}


@functools.lru_cache(maxsize=1)
def common_stems() -> dict[str, int]:
    """Return the stems of common English words, numbered."""
    lines = (DATA / "stems.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return dict(zip(lines, range(len(lines)), strict=True))


@functools.lru_cache(maxsize=1)
def _languages_of_word() -> dict[str, str]:
    """Return the languages, other than English, that each function word belongs to, in one text.

    Thousands of lists would set off a full garbage collection during the first recall.
    """
    found: dict[str, str] = {}
    for language, listed in stop_words().items():
        for word in listed - _ALSO_ENGLISH if language != ENGLISH else ():
            found[word] = f"{found[word]} {language}" if word in found else language
    return found


def language_of(split: Sequence[str]) -> str:
    """Return the language of a text by its function words; English in doubt.

    Args:
        split: The words of the text.
    """
    known = _languages_of_word()
    english = sum(map(_ENGLISH.__contains__, split))
    hit = list(filter(known.__contains__, split))
    if len(hit) <= english:
        return ENGLISH
    counts = Counter(chain.from_iterable(known[word].split() for word in hit))
    best, hits = counts.most_common(1)[0]
    is_sure = hits > english and (hits > 1 or (len(split) in _SHORT_TEXT and len(hit[0]) > 1))
    return best if is_sure else ENGLISH


def stems(distinct_words: Sequence[str], language: str = ENGLISH) -> list[str]:
    """Return the stem of each word.

    The stemmer keeps no cache: what a user wrote must not outlive its being forgotten.
    """
    stemmers: dict[str, Stemmer.Stemmer] = _local.__dict__  # one for each thread: not to be shared
    if language not in stemmers:
        stemmers[language] = Stemmer.Stemmer(language, 0)
    return list(stemmers[language].stemWords(list(distinct_words)))


def terms_of(distinct_words: Sequence[str], language: str) -> list[str]:
    """Return the term of each word of texts in one language; "" for a function word."""
    if all(map(str.isascii, distinct_words)):
        return _terms_in(distinct_words, language)
    of_word = [
        language if word.isascii() else _by_script(word, language) for word in distinct_words
    ]
    term_of: dict[str, str] = {}
    for each in set(of_word):
        same = [word for word, name in zip(distinct_words, of_word, strict=True) if name == each]
        term_of.update(zip(same, _terms_in(same, each), strict=True))
    return [term_of[word] for word in distinct_words]


def _terms_in(distinct_words: Sequence[str], language: str) -> list[str]:
    left_out = stop_words().get(language, frozenset())
    pairs = zip(distinct_words, stems(distinct_words, language), strict=True)
    return ["" if word in left_out else stem for word, stem in pairs]


def is_empty_pair(word: str) -> bool:
    """Return whether a word is a pair of Chinese or Japanese characters of little meaning.

    They are indexed: where there are no vectors, they are better than nothing.
    """
    return bool(_EMPTY_PAIR.fullmatch(word))


def _by_script(word: str, language: str) -> str:
    """Return the language that the script of a word stands for; else the language of the text."""
    scripts = _SCRIPTS if len(word) <= _MOST_LETTERS else ()
    return next((name for first, last, name in scripts if first <= word[0] <= last), language)


def terms(text: str, language: str | None = None) -> list[str]:
    """Return the terms of one text: its words without function words, stemmed.

    Args:
        text: The text.
        language: Its language; by default that of its function words.
    """
    split = words(text)
    return [term for term in terms_of(split, language or language_of(split)) if term]


_MONTH_OF_TERM = {stem: n for n, stem in enumerate(stems(MONTHS), 1)}


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
