"""Finds, for a word of a query that no memory holds, the held one that was probably meant.

That is a usual name of it, a longer or shorter form (`ReactJS`, `React`), or one spelt nearly alike
(`eror`, `error`). Only words that are missing are replaced, so nothing outranks an exact match.
"""

from __future__ import annotations

import difflib
from itertools import islice

import numpy as np

from langchain_kronvex.recall.arrays import Column, Postings, Table, bits_set
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


class Spelling:
    """The terms of some postings by their first letter and the letters they have."""

    def __init__(self, postings: Postings) -> None:
        self._postings = postings
        self._terms: list[str] = []
        self._signs = Table(first=Column(np.uint8), letters=Column(np.uint64))

    def meant(self, term: str) -> str | None:
        """Return the held term that a missing one probably stands for; None if there is none."""
        for alias in _ALIAS_OF.get(term, ()):
            if self._postings.document_frequency(alias):
                return alias
        if len(term) not in _LETTERS or not term.isascii():
            return None
        self._catch_up()
        alike = np.flatnonzero(self._signs["first"] == ord(term[0]))
        forms = [held for n in alike.tolist() if _is_form(held := self._terms[n], term)]
        if forms:
            return max(forms, key=len)
        letters = np.bitwise_or.reduce(_BIT_OF_BYTE[list(term.encode())])
        differing = bits_set(self._signs["letters"][alike] ^ letters)
        nearest = np.argsort(differing, kind="stable")[:_MOST_COMPARED]
        near = [self._terms[alike[n]] for n in nearest if differing[n] <= _MOST_DIFFERING]
        return next(iter(difflib.get_close_matches(term, near, 1, _LIKE)), None)

    def _catch_up(self) -> None:
        """Add the terms that the postings have got since the last time."""
        new = list(islice(self._postings, len(self._terms), None))
        if not new:
            return
        every = np.frombuffer("".join(new).encode("ascii", "replace"), np.uint8)
        starts = np.cumsum([0, *map(len, new[:-1])])
        added = slice(len(self._terms), len(self._terms) + len(new))
        self._signs.extend(max(added.stop - len(self._signs), 0))  # some may be there already
        self._signs["first"][added] = every[starts]
        self._signs["letters"][added] = np.bitwise_or.reduceat(_BIT_OF_BYTE[every], starts)
        self._terms += new  # last: a signal may end this before any line


def _is_form(one: str, other: str) -> bool:
    """Return whether one word begins with the other, and is at most twice as long."""
    if not (one.startswith(other) or other.startswith(one)):
        return False
    short, long = sorted((len(one), len(other)))
    return short in _LETTERS and long <= 2 * short
