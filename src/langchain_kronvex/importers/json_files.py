"""Reads JSON files value by value: a list, lines of JSON, or one document; also from a zip."""

from __future__ import annotations

import codecs
import gzip
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.memory.transfer.files import File, opened

MAX_VALUE_CHARS = 256 << 20
_CHUNK = 1 << 20
_DECODER = json.JSONDecoder()
_MOST_CUT_CHARS = 16  # of a literal, number or escape that the end of a chunk may cut in two

Placed = tuple[str, Any]  # a value and its place


def json_values(file: File) -> Iterator[Placed]:
    """Yield the values of a file with their places: `[2]` in a list, else `line 2`.

    Only one value at a time is held in memory; a document other than a list is one value.

    Raises:
        InvalidInput: it is not JSON, is cut off, or a value is too large or nested too deeply.
        OSError: the file cannot be read.
    """
    with opened(file) as stream:
        yield from values_of(stream)


def values_of(stream: IO[Any], name: str = "") -> Iterator[Placed]:
    """Yield the values of an open file; `name` begins their places. See `json_values`."""
    text = _Text(stream, name)
    if text.next_char() != "[":
        while text.next_char():
            where = f"{name}line {text.line}"
            yield where, text.value()
        return
    text.skip()
    number = 0
    while text.next_char() != "]":
        if number and text.next_char() == ",":
            text.skip()
        elif number:
            raise text.error()
        yield f"{name}[{number}]", text.value()
        number += 1
    text.skip()
    if text.next_char():
        raise text.error()


def unfolded(where: str, value: Any, *names: str) -> Iterator[Placed]:
    """Yield the items of lists that an object holds under names; any other value as it is."""
    lists = {n: value[n] for n in names if n in value} if isinstance(value, Mapping) else {}
    found = {name: each for name, each in lists.items() if isinstance(each, list)}
    if not found:
        yield where, value
    for name, items in found.items():
        for number, item in enumerate(items):
            yield f"{where}: {name}[{number}]", item


class _Text:
    """The text of a stream, a part at a time."""

    def __init__(self, stream: IO[Any], name: str) -> None:
        self._stream, self._name = stream, name
        self._text, self._at, self._ended, self.line = "", 0, False, 1
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode

    def next_char(self) -> str:
        """Return the next character that is not a space, without passing it; "" at the end."""
        while True:
            rest = self._text[self._at : self._at + _CHUNK]
            if stripped := rest.lstrip(" \t\r\n"):
                self._pass(len(rest) - len(stripped))
                return stripped[0]
            self._pass(len(rest))
            if not rest and not self._more(_CHUNK):
                return ""

    def skip(self) -> None:
        """Pass the character that `next_char` returned."""
        self._pass(1)

    def value(self) -> Any:
        """Return the next value, and pass it."""
        self.next_char()
        size = _CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise InvalidInput(f"{self._place()}: it is nested too deeply.") from None
            except json.JSONDecodeError as error:
                is_cut = len(self._text) - error.pos < _MOST_CUT_CHARS
                if self._ended or not (is_cut or error.msg.startswith("Unterminated string")):
                    raise self.error() from None
            except ValueError:
                raise InvalidInput(f"{self._place()}: a number has too many digits.") from None
            else:
                may_go_on = isinstance(value, int | float)
                if not may_go_on or self._ended or len(self._text) - end >= _MOST_CUT_CHARS:
                    self._pass(end - self._at)
                    return value
            if len(self._text) - self._at > MAX_VALUE_CHARS:
                raise InvalidInput(f"{self._place()}: a value is larger than {MAX_VALUE_CHARS}.")
            self._more(size)
            size *= 2  # so that a large value is not tried too often

    def error(self) -> InvalidInput:
        """Return the error of a file that is not what it should be, here."""
        return InvalidInput(f"{self._place()}: it is not JSON, or the file was cut off.")

    def _place(self) -> str:
        return f"{self._name}line {self.line}"

    def _pass(self, chars: int) -> None:
        self.line += self._text.count("\n", self._at, self._at + chars)
        self._at += chars

    def _more(self, chars: int) -> bool:
        try:
            read = self._stream.read(chars)
            text = read if isinstance(read, str) else self._decode(read, not read)
        except UnicodeDecodeError:
            raise InvalidInput(f"After {self._place()}: it is not UTF-8 text.") from None
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile):
            raise InvalidInput(f"After {self._place()}: the compressed file is damaged.") from None
        self._ended = not read
        self._text, self._at = self._text[self._at :] + text, 0
        return not self._ended
