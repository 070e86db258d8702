"""The files and streams that exports are written to and read from, line by line."""

from __future__ import annotations

import gzip
import io
import os
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, NamedTuple

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.open_files import HELD
from langchain_kronvex.memory.transfer.format import MAX_LINE_CHARS, Fields, to_line

File = str | os.PathLike[str] | IO[str] | IO[bytes]
Write = Callable[[Fields], None]

_GZIP_MAGIC = b"\x1f\x8b"
_SQLITE_MAGIC = b"SQLite format 3\0"
_SIDE_FILES = ("-wal", "-shm", "-journal")  # of a store, beside it
_GZIP_LEVEL = 4  # half the time of the usual 6, and a few per cent more bytes
_BUFFER_BYTES = 1 << 20


class Line(NamedTuple):
    """A line of a file; `complete` is False for the last one of a file that was cut off."""

    number: int
    text: str
    complete: bool


@contextmanager
def writing(file: File) -> Iterator[Write]:
    """Give what writes an object as a line.

    A path appears when all is written, for its owner alone; a stream is left open.

    Raises:
        InvalidInput: it is no path and no stream, or the path is no file's.
        OSError: the file cannot be written.
    """
    if not isinstance(file, str | os.PathLike):
        yield _stream_writer(file)
        return
    path = _path_of(file)
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} is no file. Name one, or pass an open stream.")
    _refuse_store(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb", _BUFFER_BYTES) as raw:
            with _compressed(raw) if path.suffix == ".gz" else nullcontext(raw) as stream:
                yield _stream_writer(stream)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _path_of(file: str | os.PathLike[str]) -> Path:
    """Return a path that the system can be asked about."""
    try:
        path = Path(file)
        os.fsencode(path)
    except (TypeError, UnicodeEncodeError):
        raise InvalidInput("file is no path that this system could have.") from None
    if "\0" in str(path):
        raise InvalidInput("file must be a path without a NUL character.")
    return path


def _compressed(raw: IO[bytes]) -> Any:
    """Return a gzip stream that names no file and no time."""
    packed = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_GZIP_LEVEL, filename="", mtime=0)
    return io.BufferedWriter(packed, _BUFFER_BYTES)


def _stream_writer(stream: Any) -> Write:
    try:
        stream.write(b"")
    except TypeError:  # of text, in whatever encoding
        return lambda fields: stream.write(to_line(fields, ascii_only=True))
    except AttributeError as error:
        raise _no_file(stream) from error

    def write(fields: Fields) -> None:
        try:
            line = to_line(fields).encode()
        except UnicodeEncodeError:  # lone surrogates in metadata survive as escapes only
            line = to_line(fields, ascii_only=True).encode()
        stream.write(line)

    return write


@contextmanager
def reading(file: File) -> Iterator[Iterator[Line]]:
    """Give the lines of a file or stream, which are read as they are wanted.

    Raises:
        InvalidInput: it is no path and no stream.
        OSError: the file cannot be read.
    """
    if not isinstance(file, str | os.PathLike):
        if not hasattr(file, "readline"):
            raise _no_file(file)
        yield _lines(file)
        return
    path = _path_of(file)
    _refuse_store(path)
    with path.open("rb") as raw:
        if raw.peek(2)[:2] == _GZIP_MAGIC:
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                yield _lines(unpacked)
        else:
            yield _lines(raw)


def _lines(stream: Any) -> Iterator[Line]:
    number = 0
    while True:
        number += 1
        try:
            text = _decoded(stream.readline(MAX_LINE_CHARS))
        except EOFError:  # a compressed file that was cut off
            yield Line(number, "", complete=False)
            return
        except UnicodeDecodeError as error:
            raise InvalidInput(f"Line {number} is no UTF-8 text.") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise InvalidInput(f"Line {number}: the compressed file is damaged.") from error
        if not text:
            return
        complete = text.endswith("\n")
        if not complete and len(text) >= MAX_LINE_CHARS // 4:  # of four bytes each
            raise InvalidInput(f"Line {number} is longer than {MAX_LINE_CHARS} characters.")
        yield Line(number, text, complete)


def _decoded(raw: str | bytes) -> str:
    """Return a line as text; the last one may have been cut off within a character."""
    if isinstance(raw, str):
        return raw
    return raw.decode() if raw.endswith(b"\n") else raw.decode(errors="replace")


def _refuse_store(path: Path) -> None:
    """Keep a store from being replaced, and one that is open here from being opened beside it."""
    for ending in _SIDE_FILES:
        if path.name.endswith(ending):
            _refuse_store(path.with_name(path.name.removesuffix(ending)))
    if not path.is_file():
        return
    if not HELD.holds(path):
        with path.open("rb") as file:
            if file.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
                return
    raise InvalidInput(
        f"{path} is a store, or its log, no file of exported memories. Name another one; it was "
        "left as it is."
    )


def _no_file(file: object) -> InvalidInput:
    return InvalidInput(f"file must be a path or an open file, not {type(file).__name__}.")
