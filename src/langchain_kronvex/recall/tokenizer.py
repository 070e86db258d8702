"""From a text to the terms that memories are found by. Pure functions, for any language.

Words are runs of letters and digits, compared without case, width or accents' encoding (NFKC).
English words are stemmed (Snowball English) and common English function words left out. Scripts
written without spaces are split into overlapping pairs of characters.
"""

import re
import threading
import unicodedata
from collections.abc import Sequence

import Stemmer

# Han, kana, Hangul, Thai, Lao, Myanmar, Khmer: no spaces between words (Hangul: agglutinated).
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_WORD = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_UNSPACED_RUN = re.compile(rf"[{UNSPACED}]")

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


def words(text: str) -> list[str]:
    """Return the words of a text in order, lower case; unspaced scripts as character pairs."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    found: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if not word.isascii() and _UNSPACED_RUN.match(word):
            found.extend(word[i : i + 2] for i in range(max(len(word) - 1, 1)))
        else:
            found.append(word)
    return found


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
