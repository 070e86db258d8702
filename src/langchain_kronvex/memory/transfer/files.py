"""The files and streams that exports are written to and read from, line by line."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.sqlite_files import application_id
from langchain_kronvex.memory.transfer.format import Fields, to_line

File = str | os.PathLike[str] | IO[str] | IO[bytes]
Line = tuple[int, str]  # its number and its text; the newline is missing if it was cut off
Write = Callable[[Fields], object]

MAX_LINE_CHARS = 256 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_SIDE_FILES = ("", "-wal", "-shm", "-journal")  # endings of the files of a store
_GZIP_LEVEL = 4  # half the time of the usual 6, for a few per cent more bytes
_BUFFER_BYTES = 1 << 20


@contextmanager
def writing(file: File) -> Iterator[Write]:
    """Provide the function that writes an object as a line.

    A path appears when everything is written, readable by its owner alone; a stream is left open.

    Raises:
        InvalidInput: It is neither a path nor a stream, or the path is not a file's.
        OSError: The file cannot be written.
    """
    if not isinstance(file, str | os.PathLike):
        yield _writer(file)
        return
    path = checked_path(file)
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} is not a file. Name one, or pass an open stream.")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb", _BUFFER_BYTES) as raw:
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, 0) if path.suffix == ".gz" else None
            with packed or nullcontext(raw) as stream:
                yield _writer(stream)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _writer(stream: Any) -> Write:
    try:
        stream.write(b"")
    except TypeError:  # a text stream, of any encoding
        return lambda fields: stream.write(f"{json.dumps(fields)}\n")
    except AttributeError as error:
        raise _not_a_file(stream) from error
    return lambda fields: stream.write(to_line(fields))


@contextmanager
def reading(file: File, *, max_line_chars: int = MAX_LINE_CHARS) -> Iterator[Iterator[Line]]:
    """Provide the lines of a file or stream, read one at a time.

    Raises:
        InvalidInput: It is neither a path nor a stream.
        OSError: The file cannot be read.
    """
    with opened(file) as stream:
        yield _lines(stream, max_line_chars)


@contextmanager
def opened(file: File) -> Iterator[IO[Any]]:
    """Open a path for reading, also of a compressed file; a stream is returned as it is.

    Raises:
        InvalidInput: It is neither a path nor a stream.
        OSError: The file cannot be read.
    """
    if not isinstance(file, str | os.PathLike):
        if not hasattr(file, "readline"):
            raise _not_a_file(file)
        yield file
        return
    path = checked_path(file)
    if path.is_dir() or not path.exists():
        raise InvalidInput(f"No such file: {path.absolute()}")
    with path.open("rb") as raw:
        packed = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP_MAGIC else None
        with packed or nullcontext(raw) as stream:
            yield cast("IO[Any]", stream)


def _lines(stream: Any, max_chars: int) -> Iterator[Line]:
    number = 0
    while True:
        number += 1
        try:
            text = stream.readline(max_chars)
            if isinstance(text, bytes):  # the last line may be cut off within a character
                text = text.decode(errors="strict" if text.endswith(b"\n") else "replace")
        except EOFError:  # a compressed file that was cut off
            yield number, ""
            return
        except UnicodeDecodeError as error:
            raise InvalidInput(f"Line {number} is not UTF-8 text.") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise InvalidInput(f"Line {number}: the compressed file is damaged.") from error
        if not text:
            return
        if not text.endswith("\n") and len(text) >= max_chars // 4:  # of four bytes each
            raise InvalidInput(f"Line {number} is longer than {max_chars} characters.")
        yield number, text


def checked_path(file: str | os.PathLike[str]) -> Path:
    """Return a path that the system accepts and that does not belong to a store.

    A store must not be replaced, and one that is open here must not be opened a second time.

    Raises:
        InvalidInput: It is something else.
    """
    try:
        path = Path(file)
        if b"\0" in os.fsencode(path):
            raise InvalidInput("file must be a path without a NUL character.")
    except (TypeError, UnicodeEncodeError):
        raise InvalidInput("file is not a path that this system accepts.") from None
    for ending in _SIDE_FILES:
        if str(path).endswith(ending) and _is_store(Path(str(path).removesuffix(ending))):
            raise InvalidInput(
                f"{path} is a store, or part of one, not a file of exported memories. Name "
                "another file; this one was not changed."
            )
    return path


def _is_store(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        return application_id(path.absolute()) is not None
    except sqlite3.DatabaseError as error:  # a damaged one; else opening the file will say why not
        return not isinstance(error, sqlite3.OperationalError)


def _not_a_file(file: object) -> InvalidInput:
    return InvalidInput(f"file must be a path or an open file, not {type(file).__name__}.")
