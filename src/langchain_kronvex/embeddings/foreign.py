"""Vectors of texts in other languages than English, in the space of the bundled English table.

The table has a row for each common stem of Dutch, French, German, Italian, Portuguese, Russian and
Spanish, near to that of its translation; see `scripts/build_foreign_words.py`. Cut into the pieces
of the English vocabulary, such texts would have vectors that mean nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.tokenizer import ENGLISH, language_of, terms_of, words

DATA = Path(__file__).parent / "data"
_END_OF_LATIN = "\u0250"
_LENGTH = 11.0  # of a word's vector: that of a rather rare English one


@dataclass(frozen=True)
class _Table:
    """Row i of `vectors` times `directions` is the vector of stem i, of any length."""

    vectors: NDArray[np.int8]
    directions: NDArray[np.float32]
    rows: dict[str, int]


@functools.lru_cache(maxsize=1)
def _table() -> _Table:
    stems = (DATA / "foreign_stems.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return _Table(
        vectors=np.asarray(np.load(DATA / "foreign.npy", mmap_mode="r")),
        directions=np.load(DATA / "foreign_directions.npy"),
        rows={stem: row for row, stem in enumerate(stems)},
    )


def foreign_rows(text: str, english: Mapping[str, int]) -> tuple[list[int], list[int]] | None:
    """Return the rows of a text's words in this table, and those in the English one.

    None for an English text. Unknown words are left out.

    Args:
        text: The text.
        english: The rows of the English table.
    """
    split = words(text)
    language = language_of(split)
    if language == ENGLISH and (text.isascii() or _is_latin(split)):
        return None
    known = _table().rows
    stems = terms_of(split, language)
    pairs = zip(split, stems, strict=True)
    names = [word for word, stem in pairs if stem and stem not in known and word in english]
    return [known[stem] for stem in stems if stem in known], [english[name] for name in names]


def _is_latin(split: Sequence[str]) -> bool:
    """Return whether half of the words, or more, have Latin letters."""
    return 2 * sum(max(word) < _END_OF_LATIN for word in split) >= len(split)


def foreign_sum(rows: Sequence[int]) -> NDArray[np.float32]:
    """Return the sum of the vectors of rows."""
    table = _table()
    found = table.vectors[list(rows)].astype(np.float32)
    found *= _LENGTH / np.sqrt(np.einsum("ij,ij->i", found, found))[:, None]
    total: NDArray[np.float32] = found.sum(axis=0) @ table.directions
    return total
