"""One SQLite file: opening it safely, its schema, its transactions, its erasure, its errors."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from langchain_kronvex.core.errors import (
    MemoryClosed,
    NotAStore,
    SchemaTooNew,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.open_files import HELD

APPLICATION_ID = 0x4B524E56  # "KRNV", in the header of every store
_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # with the write-ahead log: survives the process, not the power
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
)
_PACKAGES = {
    "sqlite": "langchain_kronvex.storage.sqlite",
    "outbox": "langchain_kronvex.storage.rest.outbox",
}
_TABLES = {"sqlite": "records", "outbox": "entries"}  # tells what a file holds
_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
Rows = list[tuple[Any, ...]]
T = TypeVar("T")


class SqliteFile(ForkAware):
    """A store file with one connection that reads and one that writes, each behind a lock.

    Readers never wait for writers. Both connections are closed around a fork.

    Args:
        path: The file, or None for a store in this process's memory.
        timeout: Seconds to wait for another process that is writing.
        schema: What it holds: the folder of the scripts that make its tables.
    """

    def __init__(self, path: Path | None, timeout: float, schema: str = "sqlite") -> None:
        self.path = path
        self._schema = schema
        self._timeout = timeout
        self._closed = False
        self._opened = 0
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._new_locks()
        with self._translated():
            if path is not None:
                HELD.hold(path, self, lambda: _prepare(path))
            try:
                self._migrate()
                self._finish_erasing()
            except BaseException:
                self.close()
                raise
        self.watch_forks()

    def _new_locks(self) -> None:
        self._writing = threading.RLock()
        self._reading = threading.RLock() if self.path else self._writing

    def _write(self) -> sqlite3.Connection:
        """Return the connection that writes, to the holder of its lock."""
        if self._closed:
            raise MemoryClosed()
        if self._writer is None:
            self._writer = self._connection()
        return self._writer

    def _read(self) -> sqlite3.Connection:
        """Return the connection that reads, to the holder of its lock."""
        if self._closed:
            raise MemoryClosed()
        if self.path is None:
            return self._write()
        if self._reader is None:
            self._reader = self._connection()
        return self._reader

    def before_fork(self) -> None:
        """Wait until nobody reads or writes, and hold the store closed."""
        self._writing.acquire()
        self._reading.acquire()
        if self.path:
            self._disconnect()

    def after_fork_in_parent(self) -> None:
        """Let the others go on; each connection is opened again when it is needed."""
        self._reading.release()
        self._writing.release()

    def after_fork_in_child(self) -> None:
        """Start with locks that nobody holds."""
        self._new_locks()

    def _connection(self) -> sqlite3.Connection:
        self._opened += 1
        connection = sqlite3.connect(
            str(self.path) if self.path else ":memory:",
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        try:
            # In this order the header says whose file it is before anything else is in it.
            self._patiently(lambda: _stamp(connection))
            self._patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall())
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    def _patiently(self, action: Callable[[], T]) -> T:
        """Repeat what SQLite refuses at once, without waiting, while another process writes."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret

    # -- reading and writing -------------------------------------------------------------------

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """Run one query and return all its rows."""
        with self._translated(), self._reading:
            return self._read().execute(sql, parameters).fetchall()

    def version(self) -> tuple[int, int] | None:
        """Return what changes whenever anybody writes; None when only asking can tell."""
        if self.path is None:
            return None
        with self._translated(), self._reading:
            (version,) = self._read().execute("PRAGMA data_version").fetchone()
            return self._opened, version

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let several reads see the store as it is at one moment."""
        with self._translated(), self._reading:
            connection = self._read()
            if self.path:  # in memory, the lock keeps writers out as well
                connection.execute("BEGIN")
            try:
                yield
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; commit at the end, or roll back on any error."""
        with self._translated(), self._writing:
            connection = self._write()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def erase_freed(self) -> None:
        """Rewrite the file without the pages' unused space and empty the write-ahead log.

        Deleting with `secure_delete` is not enough: rows that were moved between pages leave
        copies of their bytes behind in the pages they came from.
        """
        with self._translated():
            self._finish_erasing()

    def mark(self, connection: sqlite3.Connection, state: Literal["erasing", "purged"]) -> None:
        """Note, in a deleting transaction, that the file holds bytes of deleted rows.

        `erasing`: it must be rewritten; a crash before that only delays it until the store is
        next opened. `purged`: rows expired, which the next erasure rewrites the file for.
        """
        each = (state, uuid.uuid4().hex)  # nobody takes away a mark that was made after theirs
        connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", each)

    def _finish_erasing(self) -> None:
        with self._writing:
            connection = self._write()
            marks = connection.execute(
                "SELECT name, value FROM settings WHERE name IN ('erasing', 'purged')"
            ).fetchall()
            if "erasing" not in dict(marks):
                return
            self._patiently(lambda: connection.execute("VACUUM"))
            if self.path:
                self._patiently(lambda: _empty_log(connection))
            connection.executemany("DELETE FROM settings WHERE name = ? AND value = ?", marks)

    def size_bytes(self) -> int | None:
        """Return what the store and its write-ahead log take on disk; None in memory."""
        if self.path is None:
            return None
        sides = (Path(f"{self.path}{side}") for side in ("", "-wal"))
        return sum(side.stat().st_size for side in sides if side.exists())

    def close(self) -> None:
        """Close both connections; the last process to do so removes the write-ahead log."""
        self._closed = True
        with self._writing, self._reading:  # let those who are at it finish
            self._disconnect()
        HELD.let_go(self)

    def _disconnect(self) -> None:
        for connection in (self._reader, self._writer):
            if connection:
                connection.close()
        self._reader = self._writer = None

    # -- schema --------------------------------------------------------------------------------

    def _migrate(self) -> None:
        steps = _schema_steps(self._schema)
        with self.transaction() as connection:  # also proves that the place can be written
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(steps):
                raise SchemaTooNew(
                    f"{self.path} has schema version {version}; this langchain-kronvex knows "
                    f"versions up to {len(steps)}. Upgrade it: pip install -U langchain-kronvex"
                )
            if version and not connection.execute(_HAS_TABLE, (_TABLES[self._schema],)).fetchone():
                raise NotAStore(
                    f"{self.path} holds something else of this package: memories where an outbox "
                    "was expected, or an outbox instead of memories. Choose another path; the file "
                    "was left as it is."
                )
            for number, step in enumerate(steps[version:], version + 1):
                for statement in _statements(step):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    # -- errors --------------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> StoreError:
        text = str(error)
        if "not a database" in text or "malformed" in text or "file is encrypted" in text:
            return NotAStore(
                f"{self.path} is no SQLite database, or a damaged one ({text}). Choose another "
                "path, or restore the file from a backup."
            )
        if isinstance(error, sqlite3.OperationalError) and _is_busy(error):
            return StoreBusy(
                f"{self.path} was held by another process for {self._timeout:g} s ({text}). "
                "Try again, or open the memory with a longer timeout."
            )
        if isinstance(error, (OSError, sqlite3.OperationalError)):
            return StoreUnavailable(
                f"{self.path or 'the store'} cannot be opened, read or written: {text}. Check that "
                "the folder exists, that this user may write to it, and that the disk has room."
            )
        return StoreError(f"SQLite failed: {text}")


def _prepare(path: Path) -> None:
    _create(path)
    _check_header(path)


def _create(path: Path) -> None:
    """Make the file, and missing folders, for their owner alone; SQLite's side files follow it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _check_header(path: Path) -> None:
    """Refuse a file that is not ours before SQLite can touch it.

    The header is described in https://www.sqlite.org/fileformat.html: a magic string first, the
    application's id in four bytes from byte 68, big-endian.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if header and not header.startswith(b"SQLite format 3\0"):
        raise NotAStore(
            f"{path} is no SQLite database. Choose another path; the file was left as it is."
        )
    if header and int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise NotAStore(
            f"{path} is a SQLite database of another program. Choose another path; the file was "
            "left as it is."
        )


def _stamp(connection: sqlite3.Connection) -> None:
    """Write our id into the header of a new file."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _empty_log(connection: sqlite3.Connection) -> None:
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("database is locked")


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _schema_steps(schema: str) -> list[str]:
    folder = files(_PACKAGES[schema]).joinpath("schema")
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [step.read_text(encoding="utf-8") for step in found]


def _statements(script: str) -> Iterator[str]:
    """Split a script: executing it whole would commit before the step is recorded."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
