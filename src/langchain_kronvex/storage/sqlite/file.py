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
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from langchain_kronvex.core import errors
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.sqlite_files import Identity, existing, prepare, uri_to_read

T = TypeVar("T")
APPLICATION_ID = 0x4B524E56  # "KRNV", in the header of every store
_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # with the write-ahead log: survives the process, not the power
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
)
_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
_OPENING_WAIT_SECONDS = 1.0  # for those who hold up an erasure; then it is done in the background
_LEFT_ALONE = "Choose another path; the file was left as it is."


@dataclass(frozen=True, slots=True)
class Schema:
    """The kind of a store file.

    Attributes:
        package: Its folder `schema` contains the SQL scripts, one for each version.
        table: A table that only files of this kind have.
        prepare: Called with each connection that may write, and the path of the file.
    """

    package: str
    table: str
    prepare: Callable[[AgentConnection, Path], None] = lambda db, path: None

    def steps(self) -> list[str]:
        """Return the scripts, oldest first."""
        ordered = sorted(files(self.package).joinpath("schema").iterdir(), key=lambda f: f.name)
        return [each.read_text(encoding="utf-8") for each in ordered if each.name.endswith(".sql")]


class AgentConnection(sqlite3.Connection):
    """A connection that knows the agent whose records are read or written through it."""

    agent_id: str
    location: str
    unlink: Callable[[], object]
    doomed: Sequence[str] = ()  # files to `unlink` before the transaction that adds them commits

    def mark(self, state: Literal["erasing", "purged"]) -> None:
        """Note, in a deleting transaction, that the file holds bytes of deleted rows.

        `erasing`: the file must be rewritten; after a crash that happens when it is next opened.
        `purged`: the next erasure rewrites the file for these rows too.
        """
        each = (state, uuid.uuid4().hex)  # an erasure removes only the marks it has read
        self.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", each)


class SqliteFile(ForkAware):
    """A store file with one connection for reading and one for writing, each behind a lock.

    Readers never wait for writers. Both connections are closed around a fork.

    Args:
        path: The file, or None for a store in the memory of this process.
        timeout: Seconds to wait for another process that is writing.
        schema: The kind of file.
        agent_id: The agent whose records are read and written, if the file has agents.
        read_only: Write nothing, and change no other file either.
    """

    def __init__(
        self,
        path: Path | None,
        timeout: float,
        schema: Schema,
        agent_id: str = "",
        *,
        read_only: bool = False,
    ) -> None:
        self.path, self.agent_id, self._timeout = path, agent_id, timeout
        self._prepare = schema.prepare
        self.is_read_only, self.is_erasing = read_only and path is not None, False
        self.location = f"sqlite:///{path}" if path else "sqlite://"
        self._closed, self._opened = False, 0
        self._rewritten: list[Any] = []
        self._connections: dict[str, AgentConnection] = {}
        self._new_locks()
        with self._translated():
            find = existing if read_only else prepare
            self._identity = find(path, APPLICATION_ID) if path else None
            try:
                self._migrate(schema)
                try:
                    if not self.is_read_only:
                        self.erase_freed(min(timeout, _OPENING_WAIT_SECONDS))
                except errors.ErasurePending:
                    self.is_erasing = True
            except BaseException:
                self.close()
                raise
        self.watch_forks()

    def _new_locks(self) -> None:
        self._writing = threading.RLock()
        self._reading = threading.RLock() if self.path else self._writing

    def before_fork(self) -> None:
        """Wait until no thread reads or writes, and keep the store closed."""
        self._writing.acquire()
        self._reading.acquire()
        if self.path:
            self._disconnect()

    def after_fork_in_parent(self) -> None:
        """Let other threads go on; each connection is opened again when it is needed."""
        self._writing.release()  # in the order in which they were taken
        self._reading.release()

    def after_fork_in_child(self) -> None:
        """Replace the locks, which a thread of the parent may have held."""
        self._new_locks()

    # -- connections ---------------------------------------------------------------------------

    def _connection(self, use: Literal["reader", "writer"]) -> AgentConnection:
        """Return the connection for reading or writing; the caller holds its lock."""
        if self._closed:
            raise errors.MemoryClosed()
        if self.path and _identity(self.path) != self._identity:
            raise errors.StoreUnavailable(
                f"{self.path} was deleted, moved or replaced while it was open. Nothing was read "
                "or written. Put the file back, or open a new KronvexMemory to go on with what is "
                "there now."
            )
        name = use if self.path else "writer"
        if name in self._connections and self._connections[name].in_transaction:  # cut short twice
            self._give_up(name)
        if name not in self._connections:
            self._connections[name] = self._connect()
        return self._connections[name]

    def _connect(self) -> AgentConnection:
        self._opened += 1
        options: Any = {"isolation_level": None, "check_same_thread": False}
        place = str(self.path or ":memory:")
        if self.path and self.is_read_only:
            place, options["uri"] = uri_to_read(self.path), True
        connection = sqlite3.connect(
            place, timeout=self._timeout, factory=AgentConnection, **options
        )
        connection.agent_id, connection.location = self.agent_id, self.location
        try:
            if self.is_read_only:
                connection.execute("PRAGMA query_only = ON")
                return connection
            # In this order, our id is in the header before the file contains anything else.
            self._patiently(lambda: _stamp(connection))
            self._patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall())
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            if self.path:
                self._prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_up(self, name: str) -> None:
        """Roll back, and close the connection of a file: a statement may not have ended.

        Work fetches all rows at once. A cursor that the traceback keeps alive would pin what the
        store reads to that moment.
        """
        self._connections[name].execute("ROLLBACK")
        if self.path:
            self._connections.pop(name).close()

    def _patiently(self, action: Callable[[], object], seconds: float | None = None) -> object:
        """Retry an action that fails at once while another process writes."""
        deadline = time.monotonic() + (self._timeout if seconds is None else seconds)
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret

    def close(self) -> None:
        """Close both connections; the last process to do so removes the write-ahead log."""
        self._closed = True
        with self._writing, self._reading:  # running reads and writes finish first
            self._disconnect()

    def _disconnect(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()

    # -- reading and writing -------------------------------------------------------------------

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one query and return all its rows."""
        with self._translated(), self._reading:
            return self._connection("reader").execute(sql, parameters).fetchall()

    def version(self) -> tuple[int, int] | None:
        """Return a value that changes with every write by any process; None in memory."""
        if self.path is None:
            return None
        with self._translated(), self._reading:
            ((number,),) = self._connection("reader").execute("PRAGMA data_version").fetchall()
            return number, self._opened  # the number is of the connection opened last

    def in_snapshot(self, work: Callable[[AgentConnection], T]) -> T:
        """Do work whose queries all see the store at one moment; return its result."""
        with self._translated(), self._reading:
            return self._in_transaction("reader", "BEGIN", work)

    def in_transaction(self, work: Callable[[AgentConnection], T]) -> T:
        """Do work with the write lock; commit at its end, or roll back if it is cut short.

        Raises:
            NotSupported: the file was opened to read it.
        """
        if self.is_read_only:
            raise errors.NotSupported(f"{self.path} was opened to read it; nothing was changed.")
        with self._translated(), self._writing:
            return self._in_transaction("writer", "BEGIN IMMEDIATE", work)

    def _in_transaction(
        self, use: Literal["reader", "writer"], begin: str, work: Callable[[AgentConnection], T]
    ) -> T:
        # A function with `try` around all of it, and no context manager: a signal may raise
        # between any two of its lines, and the transaction must never stay open.
        connection = self._connection(use)
        try:
            connection.execute(begin)
            result = work(connection)
            if connection.doomed:
                connection.unlink()
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                self._give_up(use if self.path else "writer")
        return result

    def size_bytes(self) -> int | None:
        """Return the size on disk of the store and its write-ahead log; None in memory."""
        if self.path is None:
            return None
        sides = (Path(f"{self.path}{side}") for side in ("", "-wal"))
        return sum(side.stat().st_size for side in sides if side.exists())

    # -- erasing -------------------------------------------------------------------------------

    def erase_freed(self, seconds: float | None = None) -> None:
        """Rewrite the file without the unused space in its pages and empty the write-ahead log.

        Deleting with `secure_delete` is not enough: rows that were moved between pages leave
        copies of their bytes behind in the pages they came from.

        Args:
            seconds: How long to wait for others who use the file; by default, the timeout.

        Raises:
            ErasurePending: others use the file.
        """
        with self._translated(), self._writing:
            connection = self._connection("writer")
            noted = "SELECT name, value FROM settings WHERE name IN ('erasing', 'purged')"
            marks = connection.execute(noted).fetchall()
            if "erasing" not in dict(marks):
                return
            try:
                self._erase(connection, marks, self._timeout if seconds is None else seconds)
            except sqlite3.OperationalError as error:
                raise errors.ErasurePending(
                    f"The records are forgotten, but their bytes are still in "
                    f"{self.path} ({error}). They are erased in the background, as soon as no "
                    "other process reads or writes the file and the disk has room; flush() waits "
                    "for that. If this process ends before, the next one to open the file does it."
                ) from error

    def _erase(self, connection: AgentConnection, marks: list[Any], seconds: float) -> None:
        connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        try:
            if marks != self._rewritten:  # once is enough: every time, the log grows by the file
                self._patiently(lambda: connection.execute("VACUUM"), seconds)
                self._rewritten = marks
            if self.path:
                self._patiently(lambda: _empty_log(connection), seconds)
            connection.executemany("DELETE FROM settings WHERE name = ? AND value = ?", marks)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")

    # -- schema and errors ---------------------------------------------------------------------

    def _migrate(self, schema: Schema) -> None:
        steps = schema.steps()

        def migrate(connection: AgentConnection) -> None:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version and not connection.execute(_HAS_TABLE, (schema.table,)).fetchone():
                raise errors.NotAStore(
                    f"{self.path} is another kind of file of this package: it contains memories "
                    f"instead of an outbox, or an outbox instead of memories. {_LEFT_ALONE}"
                )
            if version > len(steps):
                raise errors.SchemaTooNew(
                    f"{self.path} has schema version {version}; this langchain-kronvex knows "
                    f"versions up to {len(steps)}. Upgrade it: pip install -U langchain-kronvex"
                )
            if self.is_read_only and version < len(steps):
                raise errors.StoreUnavailable(
                    f"{self.path} has schema version {version}; this langchain-kronvex reads "
                    f"version {len(steps)}. Opening it for writing upgrades it, after which older "
                    "versions cannot read it: langchain-kronvex doctor --fix --upgrade"
                )
            for number, step in enumerate(steps[version:], version + 1):
                for statement in _statements(step):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            if self.path and not self.is_read_only:  # now that there are all tables
                self._prepare(connection, self.path)

        # A transaction also proves that the place can be written.
        (self.in_snapshot if self.is_read_only else self.in_transaction)(migrate)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            text = str(error)
            if "not a database" in text or "malformed" in text or "file is encrypted" in text:
                raise errors.NotAStore(
                    f"{self.path} is not an SQLite database, or it is damaged ({text}). Choose "
                    "another path, or restore the file from a backup."
                ) from error
            if isinstance(error, sqlite3.OperationalError) and _is_busy(error):
                raise errors.StoreBusy(
                    f"{self.path} was held by another process for {self._timeout:g} s ({text}). "
                    "Try again, or open the memory with a longer timeout."
                ) from error
            if isinstance(error, (OSError, sqlite3.OperationalError)):
                raise errors.StoreUnavailable(
                    f"{self.path or 'the store'} cannot be opened, read or written: {text}. Check "
                    "that the folder exists, that this user may write to it, and that the disk "
                    "has room."
                ) from error
            raise errors.StoreError(f"SQLite failed: {text}") from error


def _identity(path: Path) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


def _statements(script: str) -> Iterator[str]:
    """Split a script: executing it whole would commit before the step is recorded."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
