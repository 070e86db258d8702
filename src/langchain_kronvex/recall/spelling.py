"""Finds, for a word of a query that no memory holds, the held one that was probably meant.

That is a usual name of it, a longer or shorter form (`ReactJS`, `React`), or one spelt nearly alike
(`eror`, `error`). Only words that are missing are replaced, so nothing outranks an exact match.
"""

from __future__ import annotations

import difflib

import numpy as np

from langchain_kronvex.recall.arrays.postings import Postings
from langchain_kronvex.recall.arrays.vectors import bits_set
from langchain_kronvex.recall.tokenizer import stems

_LETTERS = range(4, 33)  # of a word that may be misspelt
_MOST_DIFFERING = 3  # letters that one of two words has and the other has not
_MOST_COMPARED = 200  # words, those with the fewest such letters; of 14,000 English ones, all are
_LIKE = 0.8  # the share of letters in common, in order; `eror` and `error` have .89
# A bit for each letter and digit.
_BIT_OF_BYTE = np.zeros(256, np.uint64)
for _bit, _byte in enumerate(b"abcdefghijklmnopqrstuvwxyz0123456789"):
    _BIT_OF_BYTE[_byte] = 1 << _bit

_ALIASES = """
k8s kubernetes; i18n internationalization; l10n localization; a11y accessibility; js javascript;
ts typescript; py python; pg postgres; psql postgres; mongo mongodb; db database; repo repository;
config configuration; auth authentication; env environment; prod production; infra infrastructure;
app application; admin administrator; docs documentation; pic picture; info information; tv
television; phone telephone; bike bicycle; fridge refrigerator; gym gymnasium; exam examination;
mum mother; mom mother; dad father; gran grandmother; grandma grandmother; grandpa grandfather
"""


def _aliases() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in _ALIASES.split(";"):
        short, long = stems(pair.split())
        found.setdefault(short, []).append(long)
        found.setdefault(long, []).append(short)
    return found


_ALIAS_OF = _aliases()
_NO_SIGNS = np.empty(0, np.uint8), np.empty(0, np.uint64)


class Spelling:
    """The terms of some postings by their first letter and the letters they have."""

    def __init__(self, postings: Postings) -> None:
        self._postings = postings
        # The first letter of each term, and the bits of all its letters.
        self._signs = _NO_SIGNS

    def meant(self, term: str) -> str | None:
        """Return the held term that a missing one probably stands for; None if there is none."""
        for alias in _ALIAS_OF.get(term, ()):
            if self._postings.document_frequency(alias):
                return alias
        if len(term) not in _LETTERS or not term.isascii():
            return None
        self._catch_up()
        terms, (first, every) = self._postings.terms, self._signs
        alike = np.flatnonzero(first == ord(term[0]))
        letters = np.bitwise_or.reduce(_BIT_OF_BYTE[list(term.encode())])
        of_alike = every[alike]
        common = of_alike & letters
        within = alike[(common == letters) | (common == of_alike)]
        forms = [held for n in within.tolist() if _is_form(held := terms[n], term)]
        if forms:
            return max(forms, key=len)
        differing = bits_set(of_alike ^ letters)
        nearest = np.argsort(differing, kind="stable")[:_MOST_COMPARED]
        near = [terms[int(alike[n])] for n in nearest if differing[n] <= _MOST_DIFFERING]
        return next(iter(difflib.get_close_matches(term, near, 1, _LIKE)), None)

    def _catch_up(self) -> None:
        """Add the terms that the postings have got since the last time."""
        first, letters = self._signs
        known = len(first)
        if known == len(self._postings):
            return
        every, starts = self._postings.terms.bytes_after(known)
        more = np.bitwise_or.reduceat(_BIT_OF_BYTE[every], starts)
        # At once: a signal may end this before any line.
        self._signs = np.append(first, every[starts]), np.append(letters, more)


def _is_form(one: str, other: str) -> bool:
    """Return whether one word begins with the other, and is at most twice as long."""
    if not (one.startswith(other) or other.startswith(one)):
        return False
    short, long = sorted((len(one), len(other)))
    return short in _LETTERS and long <= 2 * short
