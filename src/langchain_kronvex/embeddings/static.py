"""Embeddings without a model at run time: one shipped vector per word piece, added up.

The table holds one vector for each token of a small sentence-embedding model, computed once by
`scripts/build_static_table.py`. A text is the sum of its tokens' vectors; each is already weighted
by how rare its token is, after Arora, Liang and Ma, "A simple but tough-to-beat baseline for
sentence embeddings" (ICLR 2017), so that stop words hardly count and no list of them is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from numpy.typing import NDArray

from langchain_kronvex.embeddings.wordpiece import WordPiece

_DATA = Path(__file__).parent / "data"

# Tokens that fill a slice; with the last text's it holds at most twice as many, 8 MB of float32.
_TOKENS_AT_ONCE = 4_096

# What an event loop can wait for: about 1 ms. A thread costs 0.1 ms, and the GIL all the same.
_CHARACTERS_AT_ONCE = 2_000


@dataclass(frozen=True)
class _Table:
    """The shipped files: row i of `vectors` times `scales[i]` is the vector of token i."""

    vectors: NDArray[np.int8]
    scales: NDArray[np.float32]
    rows: dict[str, int]
    longest_token: int


@functools.lru_cache(maxsize=1)
def _table() -> _Table:
    tokens = (_DATA / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return _Table(
        # Mapped, not read: processes on one machine share the pages they touch.
        vectors=np.asarray(np.load(_DATA / "static.npy", mmap_mode="r")),
        scales=np.load(_DATA / "scales.npy"),
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
            # A text may reach over several slices, but stands once in each.
            sums[owners] += np.add.reduceat(weighted, starts, axis=0)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        lengths[lengths == 0.0] = 1.0
        sums /= lengths[:, None]
        return sums

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Twin of `embed_documents`; only long texts leave the event loop's thread."""
        vectors: list[list[float]] = (await self.aembed_array(texts)).tolist()
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """Twin of `embed_query`; only a long text leaves the event loop's thread."""
        return (await self.aembed_documents([text]))[0]

    async def aembed_array(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Twin of `embed_array`; only long texts leave the event loop's thread."""
        if sum(map(len, texts)) <= _CHARACTERS_AT_ONCE:
            return self.embed_array(texts)
        return await run_in_executor(None, self.embed_array, texts)

    def word_vectors(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of single words, to compare a query's words with a user's own.

        Args:
            words: Single words in any case; of several tokens, their weighted sum.

        Returns:
            float32, shape `(len(words), 256)`; each row of length 1, or all zero for a word without
            known token.
        """
        return self.embed_array(words)

    def tokenize(self, text: str) -> list[str]:
        """The word pieces of a text, ``[UNK]`` for a word the vocabulary cannot spell."""
        return _tokenizer(_table()).tokens(text)


def _tokenizer(table: _Table) -> WordPiece:
    return WordPiece(table.rows, table.longest_token)


def _slices(
    texts: Sequence[str], table: _Table
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Cut the tokens of all texts into slices of bounded size.

    Yields:
        For each slice the numbers of its texts, where each begins in the slice, and the table rows.
    """
    tokenizer = _tokenizer(table)
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
