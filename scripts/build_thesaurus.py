"""Build the thesaurus that `langchain_kronvex.recall` ships, from its own table of tokens.

    python scripts/build_thesaurus.py

Of the table's English words every stem is taken once, by its most frequent word, and compared with
all others by cosine. Written are, for each stem, its nearest ones and how near they are; words
that are near to nothing stay without neighbours. The checksums printed are those the tests pin.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.embeddings import StaticEmbeddings
from langchain_kronvex.recall.tokenizer import STOP_WORDS, stems

PACKAGE = Path(__file__).parents[1] / "src" / "langchain_kronvex"
DATA = PACKAGE / "recall" / "data"
VOCABULARY = PACKAGE / "embeddings" / "data"
WORD = re.compile(r"[a-z]{3,}")
NEIGHBOURS = 12
LEAST_COSINE = 0.5
ROWS_AT_ONCE = 1024


def chosen_words() -> dict[str, str]:
    """Return each stem with its most frequent word: the vocabulary is sorted by frequency."""
    tokens = (VOCABULARY / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [token for token in tokens if WORD.fullmatch(token) and token not in STOP_WORDS]
    chosen: dict[str, str] = {}
    for stem, word in zip(stems(words), words, strict=True):
        chosen.setdefault(stem, word)
    return dict(sorted(chosen.items()))


def nearest(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return the rows of each row's nearest others, best first, and their cosines times 255.

    Where there are fewer than `NEIGHBOURS`, the rest holds cosine 0.
    """
    rows = np.zeros((len(vectors), NEIGHBOURS), np.uint16)
    cosines = np.zeros((len(vectors), NEIGHBOURS), np.uint8)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        products = vectors[part] @ vectors.T
        products[np.arange(len(products)), np.arange(start, start + len(products))] = -1
        best = np.argsort(-products, axis=1, kind="stable")[:, :NEIGHBOURS]
        values = np.take_along_axis(products, best, axis=1)
        near = values >= LEAST_COSINE
        rows[part] = np.where(near, best, 0)
        cosines[part] = np.where(near, np.rint(values * 255), 0)
    return rows, cosines


def main() -> None:
    """Write the three files and print their checksums."""
    chosen = chosen_words()
    rows, cosines = nearest(StaticEmbeddings().embed_array(list(chosen.values())))
    (DATA / "stems.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    np.save(DATA / "near_rows.npy", rows)
    np.save(DATA / "near_cosines.npy", cosines)
    for name in ("stems.txt", "near_rows.npy", "near_cosines.npy"):
        print(name, hashlib.sha256((DATA / name).read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
