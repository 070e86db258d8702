"""Words of like meaning: for each common English stem the nearest others, computed once.

The shipped files hold, for each stem of the token table, up to twelve neighbours of a cosine of at
least one half; see `scripts/build_thesaurus.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


@functools.lru_cache(maxsize=1)
def load() -> tuple[dict[str, int], list[str], NDArray[np.uint16], NDArray[np.uint8]]:
    """Read the files: the number of each stem, all stems, their nearest ones, cosines times 255."""
    stems = (DATA / "stems.txt").read_text(encoding="utf-8").split("\n")[:-1]
    numbers = {stem: number for number, stem in enumerate(stems)}
    return numbers, stems, np.load(DATA / "near_rows.npy"), np.load(DATA / "near_cosines.npy")


def related(stem: str) -> Iterator[tuple[str, float]]:
    """Yield the stems of like meaning with their cosines, nearest first; none for rare words.

    Args:
        stem: As `tokenizer.stems` returns it.
    """
    numbers, stems, near, cosines = load()
    number = numbers.get(stem)
    if number is None:
        return
    for other, cosine in zip(near[number].tolist(), cosines[number].tolist(), strict=True):
        if not cosine:
            return
        yield stems[other], cosine / 255
