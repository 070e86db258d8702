"""Embeddings without a model at run time: the sum of one bundled vector for each word piece.

The table holds one vector for each token of a small sentence-embedding model, computed once by
`scripts/build_static_table.py`. The vector of a text is the sum of its tokens' vectors. Each is
weighted by how rare its token is, after Arora, Liang and Ma, "A simple but tough-to-beat baseline
for sentence embeddings" (ICLR 2017), so stop words hardly count and no list of them is needed.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langchain_kronvex.recall.tokenizer import ENGLISH, language_of, normalized, terms_of, words

DATA = Path(__file__).parent / "data"

# Tokens in a slice, before those of its last text: 1 MB of float32, which fits into the cache of a
# processor. There it is summed in a third of the time.
_TOKENS_AT_ONCE = 1_024
_MOST_TOKENS_OF_TEXT = 4_096  # in a slice
_MOST_CHARS = 1 << 16  # of a text: more would hardly change the mean of so many vectors


@dataclass(frozen=True)
class StaticTable:
    """The bundled files: row i of `vectors` times `scales[i]` is the vector of token i."""

    vectors: NDArray[np.int8]
    scales: NDArray[np.float32]
    rows: dict[str, int]
    longest_token: int

    def weighted(self, rows: Sequence[int] | NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the vectors of rows, each weighted by how rare its token is."""
        found = self.vectors.take(rows, axis=0).astype(np.float32)
        found *= self.scales.take(rows)[:, None]
        return found


@functools.lru_cache(maxsize=1)
def load_table() -> StaticTable:
    """Open the bundled files."""
    tokens = (DATA / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return StaticTable(
        # Mapped, not read: processes on one machine share the pages they touch.
        vectors=np.asarray(np.load(DATA / "static.npy", mmap_mode="r")),
        scales=np.load(DATA / "scales.npy"),
        rows=dict(zip(tokens, range(len(tokens)), strict=True)),
        longest_token=max(map(len, tokens)),
    )


class StaticEmbeddings(Embeddings):
    """The bundled embeddings: eight languages, 256 dimensions, no download, no network.

    The table is opened on first use, in milliseconds. Nothing of a text is kept after a call.

    Examples:
        >>> vectors = StaticEmbeddings().embed_documents(["User prefers formal tone"])
        >>> len(vectors[0])
        256
    """

    model: ClassVar[str] = "kronvex-static-minilm-256-v1"
    dimensions: ClassVar[int] = 256

    @staticmethod
    def load() -> None:
        """Open the table now, rather than at the first call."""
        load_table()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts.

        Args:
            texts: Any texts; of a longer one, the first 65,536 characters count.

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
        table = load_table()
        sums = np.zeros((len(texts), self.dimensions), np.float32)
        english = [text[:_MOST_CHARS] for text in texts]
        for owner, text in enumerate(english):
            if foreign := foreign_rows(text, table.rows):
                sums[owner] = foreign_sum(foreign[0])
                sums[owner] += table.weighted(foreign[1]).sum(axis=0)
                english[owner] = ""
        for owners, starts, rows in _slices(english, table):
            # A text may span several slices, but occurs once in each.
            sums[owners] += np.add.reduceat(table.weighted(rows), starts, axis=0)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        lengths[lengths == 0.0] = 1.0
        sums /= lengths[:, None]
        return sums


def _slices(
    texts: Sequence[str], table: StaticTable
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
        for begin in range(0, len(text_rows), _MOST_TOKENS_OF_TEXT):
            owners.append(owner)
            starts.append(len(rows))
            rows += text_rows[begin : begin + _MOST_TOKENS_OF_TEXT]
            if len(rows) >= _TOKENS_AT_ONCE:
                yield np.array(owners), np.array(starts), np.array(rows)
                owners, starts, rows = [], [], []
    if rows:
        yield np.array(owners), np.array(starts), np.array(rows)


# -- other languages ---------------------------------------------------------------------------
#
# A second table has a row for each common stem of Dutch, French, German, Italian, Portuguese,
# Russian and Spanish, near to that of its translation; see `scripts/build_foreign_words.py`. Cut
# into the pieces of the English vocabulary, such texts would have vectors that mean nothing.

_END_OF_LATIN = "\u0250"
_FOREIGN_LENGTH = 11.0  # of a word's vector: that of a rather rare English one


@dataclass(frozen=True)
class _ForeignTable:
    """Row i of `vectors` times `directions` is the vector of stem i, of any length."""

    vectors: NDArray[np.int8]
    directions: NDArray[np.float32]
    rows: dict[str, int]


@functools.lru_cache(maxsize=1)
def _foreign_table() -> _ForeignTable:
    stems = (DATA / "foreign_stems.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return _ForeignTable(
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
    known = _foreign_table().rows
    stems = terms_of(split, language)
    pairs = zip(split, stems, strict=True)
    names = [word for word, stem in pairs if stem and stem not in known and word in english]
    return [known[stem] for stem in stems if stem in known], [english[name] for name in names]


def _is_latin(split: Sequence[str]) -> bool:
    """Return whether half of the words, or more, have Latin letters."""
    return 2 * sum(max(word) < _END_OF_LATIN for word in split) >= len(split)


def foreign_sum(rows: Sequence[int]) -> NDArray[np.float32]:
    """Return the sum of the vectors of rows."""
    table = _foreign_table()
    found = table.vectors[list(rows)].astype(np.float32)
    found *= _FOREIGN_LENGTH / np.sqrt(np.einsum("ij,ij->i", found, found))[:, None]
    total: NDArray[np.float32] = found.sum(axis=0) @ table.directions
    return total


# -- word pieces -------------------------------------------------------------------------------

UNKNOWN = "[UNK]"  # a word that cannot be cut into known pieces
_MAX_WORD_CHARACTERS = 100  # a longer word is unknown, as in BERT

_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_ASCII_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ALPHANUMERIC = re.compile(r"[^\W_]+")

# Blocks whose characters are words of their own.
_IDEOGRAPH = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)


class _Characters(dict[int, str]):
    """The replacement of each code point of decomposed text; filled as code points occur."""

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        category = unicodedata.category(character)
        if character in "\t\n\r" or category[0] == "Z":
            becomes = " "
        elif category in {"Cc", "Cf", "Co", "Cs", "Mn"} or code_point == 0xFFFD:
            becomes = ""
        elif category[0] == "P" or character in _ASCII_PUNCTUATION or _IDEOGRAPH.match(character):
            becomes = f" {character} "
        else:
            # One character at a time: lower-casing whole words would give a final sigma another
            # letter than the model's vocabulary has.
            becomes = character.lower()
        self[code_point] = becomes
        return becomes


class WordPiece:
    """Cuts text into words and words into rows of a table, as BERT's uncased tokenizer does.

    The bundled vectors come from a model that reads these pieces, so text must be cut exactly as
    that model cuts it. Only single characters of a text are kept.

    Args:
        rows: Row of each piece; a piece that continues a word starts with ``##``.
        longest_piece: Characters of the longest key of `rows`.
    """

    def __init__(self, rows: Mapping[str, int], longest_piece: int) -> None:
        self._rows = rows
        self._longest_piece = longest_piece
        self._characters = _Characters()

    def words(self, text: str) -> list[str]:
        """Return lower-cased words and punctuation, without accents and control characters."""
        if text.isascii() and not _ASCII_CONTROL.search(text):
            return _ASCII_WORD.findall(text.lower())
        return normalized("NFD", text).translate(self._characters).split()

    def pieces(self, word: str) -> list[str]:
        """Return the longest known pieces of a word from left to right, or `UNKNOWN` alone."""
        if len(word) > _MAX_WORD_CHARACTERS:
            return [UNKNOWN]
        found: list[str] = []
        start = 0
        while start < len(word):
            piece = self._longest_known(word, start)
            if not piece:
                return [UNKNOWN]
            found.append(piece)
            start += len(piece) - (2 if start else 0)
        return found

    def rows(self, text: str) -> list[int]:
        """Return the table rows of a text, without unknown pieces."""
        words = self.words(text)
        of_words = list(map(self._rows.get, words))  # most words are a piece each
        if None not in of_words:
            return cast("list[int]", of_words)
        rows: list[int] = []
        for word, row in zip(words, of_words, strict=True):
            if row is None:
                rows += self._rows_of_pieces(word)
            else:
                rows.append(row)
        return rows

    def _rows_of_pieces(self, word: str) -> list[int]:
        pieces = self.pieces(word)
        if pieces == [UNKNOWN]:
            # A smiley attached to a word makes all of it unknown; its letters are still useful.
            parts = [part for part in _ALPHANUMERIC.findall(word) if part != word]
            pieces = [piece for part in parts for piece in self.pieces(part) if piece != UNKNOWN]
        return [self._rows[piece] for piece in pieces]

    def _longest_known(self, word: str, start: int) -> str:
        prefix = "##" if start else ""
        for end in range(min(len(word), start + self._longest_piece), start, -1):
            piece = prefix + word[start:end]
            if piece in self._rows:
                return piece
        return ""
