"""Text to word pieces, by the rules of BERT's uncased tokenizer, in plain Python.

The bundled vectors come from a model that reads these pieces, so text must be cut exactly as that
model cuts it. A `WordPiece` remembers the words it has seen, which makes a batch fast. It is meant
to live for one call, so that no user's word outlives the call it came with.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

UNKNOWN = "[UNK]"  # a word that cannot be cut into known pieces
_MAX_WORD_CHARACTERS = 100  # a longer word is unknown, as in BERT

_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_ASCII_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ALPHANUMERIC = re.compile(r"[^\W_]+")

# Blocks whose characters are words of their own.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
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
        elif (
            category[0] == "P"
            or character in _ASCII_PUNCTUATION
            or any(first <= code_point <= last for first, last in _IDEOGRAPHS)
        ):
            becomes = f" {character} "
        else:
            # One character at a time: lower-casing whole words would give a final sigma another
            # letter than the model's vocabulary has.
            becomes = character.lower()
        self[code_point] = becomes
        return becomes


class WordPiece:
    """Cuts text into words and words into rows of a table.

    Args:
        rows: Row of each piece; a piece that continues a word starts with ``##``.
        longest_piece: Characters of the longest key of `rows`.
        max_remembered_words: How many words to remember at most.
    """

    def __init__(
        self, rows: Mapping[str, int], longest_piece: int, *, max_remembered_words: int = 65_536
    ) -> None:
        self._rows = rows
        self._longest_piece = longest_piece
        self._max_remembered_words = max_remembered_words
        self._characters = _Characters()
        self._rows_of_word: dict[str, tuple[int, ...]] = {}

    def words(self, text: str) -> list[str]:
        """Return lower-cased words and punctuation, without accents and control characters."""
        if text.isascii() and not _ASCII_CONTROL.search(text):
            return _ASCII_WORD.findall(text.lower())
        return unicodedata.normalize("NFD", text).translate(self._characters).split()

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

    def tokens(self, text: str) -> list[str]:
        """Return all pieces of a text, the same as the reference tokenizer."""
        return [piece for word in self.words(text) for piece in self.pieces(word)]

    def rows(self, text: str) -> list[int]:
        """Return the table rows of a text, without unknown pieces."""
        rows: list[int] = []
        known = self._rows_of_word
        for word in self.words(text):
            word_rows = known.get(word)
            if word_rows is None:
                word_rows = self._remember(word)
            rows += word_rows
        return rows

    def _remember(self, word: str) -> tuple[int, ...]:
        if len(self._rows_of_word) >= self._max_remembered_words:
            self._rows_of_word.clear()
        whole = self._rows.get(word)  # most words: no shorter piece is needed
        rows: tuple[int, ...] = (
            (whole,)
            if whole is not None
            else tuple(self._rows[piece] for piece in self._pieces_in_part(word))
        )
        self._rows_of_word[word] = rows
        return rows

    def _pieces_in_part(self, word: str) -> Iterator[str]:
        pieces = self.pieces(word)
        if pieces != [UNKNOWN]:
            yield from pieces
            return
        # A smiley attached to a word makes the whole word unknown; its letters are still useful.
        for part in _ALPHANUMERIC.findall(word):
            if part != word:
                yield from (piece for piece in self.pieces(part) if piece != UNKNOWN)

    def _longest_known(self, word: str, start: int) -> str:
        prefix = "##" if start else ""
        for end in range(min(len(word), start + self._longest_piece), start, -1):
            piece = prefix + word[start:end]
            if piece in self._rows:
                return piece
        return ""
