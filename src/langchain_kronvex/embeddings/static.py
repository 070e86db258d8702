"""Embeddings without a model at run time: the sum of one bundled vector for each word piece.

The table holds one vector for each token of a small sentence-embedding model, computed once by
`scripts/build_static_table.py`. The vector of a text is the sum of its tokens' vectors. Each is
weighted by how rare its token is, after Arora, Liang and Ma, "A simple but tough-to-beat baseline
for sentence embeddings" (ICLR 2017), so stop words hardly count and no list of them is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langchain_kronvex.embeddings.wordpiece import WordPiece

DATA = Path(__file__).parent / "data"

# Tokens in a slice, before those of its last text: at most twice as many, 8 MB of float32.
_TOKENS_AT_ONCE = 4_096


@dataclass(frozen=True)
class _Table:
    """The bundled files: row i of `vectors` times `scales[i]` is the vector of token i."""

    vectors: NDArray[np.int8]
    scales: NDArray[np.float32]
    rows: dict[str, int]
    longest_token: int


@functools.lru_cache(maxsize=1)
def _table() -> _Table:
    tokens = (DATA / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return _Table(
        # Mapped, not read: processes on one machine share the pages they touch.
        vectors=np.asarray(np.load(DATA / "static.npy", mmap_mode="r")),
        scales=np.load(DATA / "scales.npy"),
        rows={token: row for row, token in enumerate(tokens)},
        longest_token=max(map(len, tokens)),
    )


class StaticEmbeddings(Embeddings):
    """The bundled embeddings: English, 256 dimensions, no download, no network, numpy alone.

    The table is opened on first use, in milliseconds. Nothing of a text is kept after a call.

    Example:
        >>> vectors = StaticEmbeddings().embed_documents(["User prefers formal tone"])
        >>> len(vectors[0])
        256
    """

    model: ClassVar[str] = "kronvex-static-minilm-256-v1"
    dimensions: ClassVar[int] = 256

    @staticmethod
    def load() -> None:
        """Open the table now, rather than at the first call."""
        _table()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts.

        Args:
            texts: Any texts; a long one costs time in proportion to its length.

        Returns:
            One vector of length 1 for each text, or zeros where a text has no known token.
        """
        vectors: list[list[float]] = self.embed_array(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed one text, exactly as `embed_documents` does."""
        return self.embed_documents([text])[0]

    def embed_array(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts into one array.

        Args:
            texts: Any texts.

        Returns:
            float32, shape `(len(texts), 256)`; each row of length 1, or all zero where a text has
            no known token.
        """
        table = _table()
        sums = np.zeros((len(texts), self.dimensions), np.float32)
        for owners, starts, rows in _slices(texts, table):
            weighted = table.vectors[rows].astype(np.float32)
            weighted *= table.scales[rows, None]
            # A text may span several slices, but occurs once in each.
            sums[owners] += np.add.reduceat(weighted, starts, axis=0)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        lengths[lengths == 0.0] = 1.0
        sums /= lengths[:, None]
        return sums


def _slices(
    texts: Sequence[str], table: _Table
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Cut the tokens of all texts into slices of bounded size.

    Yields:
        For each slice the numbers of its texts, where each begins in the slice, and the table rows.
    """
    tokenizer = WordPiece(table.rows, table.longest_token)
    owners: list[int] = []
    starts: list[int] = []
    rows: list[int] = []
    for owner, text in enumerate(texts):
        text_rows = tokenizer.rows(text)
        for begin in range(0, len(text_rows), _TOKENS_AT_ONCE):
            owners.append(owner)
            starts.append(len(rows))
            rows += text_rows[begin : begin + _TOKENS_AT_ONCE]
            if len(rows) >= _TOKENS_AT_ONCE:
                yield np.array(owners), np.array(starts), np.array(rows)
                owners, starts, rows = [], [], []
    if rows:
        yield np.array(owners), np.array(starts), np.array(rows)
