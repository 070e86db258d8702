"""Words of like meaning: for each common English stem the nearest others, computed once.

The shipped files hold, for each stem of the token table, up to twelve neighbours of a cosine of at
least one half; see `scripts/build_thesaurus.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class _Thesaurus:
    """Row i of `near` holds the rows of the stems nearest to stem i; `cosines` are times 255."""

    stems: list[str]
    rows: dict[str, int]
    near: NDArray[np.uint16]
    cosines: NDArray[np.uint8]


@functools.lru_cache(maxsize=1)
def _thesaurus() -> _Thesaurus:
    stems = (_DATA / "stems.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return _Thesaurus(
        stems=stems,
        rows={stem: row for row, stem in enumerate(stems)},
        near=np.load(_DATA / "near_rows.npy"),
        cosines=np.load(_DATA / "near_cosines.npy"),
    )


def load() -> None:
    """Read the files now, rather than at the first call."""
    _thesaurus()


def related(stem: str) -> Iterator[tuple[str, float]]:
    """Yield the stems of like meaning with their cosines, nearest first; none for rare words.

    Args:
        stem: As `lexical.stems` gives it.
    """
    thesaurus = _thesaurus()
    row = thesaurus.rows.get(stem)
    if row is None:
        return
    near, cosines = thesaurus.near[row].tolist(), thesaurus.cosines[row].tolist()
    for other, cosine in zip(near, cosines, strict=True):
        if not cosine:
            return
        yield thesaurus.stems[other], cosine / 255
