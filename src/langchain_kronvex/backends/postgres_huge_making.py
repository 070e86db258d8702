"""Making the indexes of huge owners in the background, by one worker at a time; dropping them.

An index is made without keeping anybody from writing, which takes minutes for a million memories.
Who makes it holds a lock, so that of many workers one does. What a killed worker left half made is
made anew.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from langchain_kronvex.backends import postgres_huge_indexes as indexes
from langchain_kronvex.backends.postgres_database import Database
from langchain_kronvex.backends.postgres_faults import is_lost
from langchain_kronvex.errors import StoreError

_OLDEST_VECTOR = (0, 8)  # the first that goes on until it has found enough
_AGAIN_SECONDS = 30.0  # after which it is looked again whether another worker is done
_CLOSING_SECONDS = 5.0
# Building takes as long as it takes; with less memory than this one of vectors is slow.
_PATIENT = (
    "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false), "
    "set_config('maintenance_work_mem', greatest(setting::bigint, 262144)::text || 'kB', false) "
    "FROM pg_settings WHERE name = 'maintenance_work_mem'"
)
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout; RESET maintenance_work_mem"
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
_LOCK_NAME = "langchain-kronvex huge"
_COUNT = (
    "SELECT count(*) FROM langchain_kronvex.records AS r WHERE r.scope = %s AND r.kind = 'memory'"
)
_TELL_COUNT = "UPDATE langchain_kronvex.scopes SET memories = %s WHERE scope = %s"
_THERE = (
    "SELECT c.relname::text, i.indisvalid FROM pg_index AS i "
    "JOIN pg_class AS c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = 'langchain_kronvex.records'::regclass AND starts_with(c.relname, 'huge_')"
)
_OWNERS = "SELECT scope FROM langchain_kronvex.scopes WHERE scope = ANY(%s)"
_DROP = 'DROP INDEX CONCURRENTLY IF EXISTS langchain_kronvex."{name}"'


class IndexMaker:
    """Makes and drops indexes in a thread of its own, with a connection of its own.

    Args:
        database: Where.
        location: For messages.
        exact_up_to: Owners with more memories get indexes.

    Attributes:
        report: Told, once, why indexes cannot be made.
    """

    def __init__(self, database: Database, location: str, exact_up_to: int) -> None:
        self._db, self._location, self._exact_up_to = database, location, exact_up_to
        self.report: Callable[[Exception], None] = lambda _: None
        self.after_fork_in_child()
        self._failed = False

    @classmethod
    def of(cls, database: Database, location: str, exact_up_to: int) -> IndexMaker | None:
        """Return a maker; None where no indexes would serve."""
        if database.vector_version < _OLDEST_VECTOR or database.is_limited:
            return None
        return cls(database, location, exact_up_to)

    def after_fork_in_child(self) -> None:
        """Start without a thread: it is the parent's."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._closed = False
        self._tried: dict[tuple[UUID, int | None], float] = {}

    def wake(self, scope: UUID, width: int | None) -> None:
        """Make the indexes of an owner, unless somebody does, or they cannot be made.

        Args:
            scope: Of the owner.
            width: Of the vectors; None while there are none.
        """
        tried = self._tried.get((scope, width), -_AGAIN_SECONDS)
        if not self._failed and time.monotonic() - tried >= _AGAIN_SECONDS:
            self._tried[scope, width] = time.monotonic()
            self._begin(lambda run: self._make(run, scope, width))

    def drop_vectors(self, agent_id: str) -> None:
        """Drop the indexes of an agent's vectors, all of which are about to change; and wait."""
        if self._failed:
            return
        while not self._begin(lambda run: self._drop_vectors(run, agent_id)):
            if self._closed:
                return
            self.join()
        self.join()
        self._tried.clear()  # they are to be made again

    def sweep(self) -> None:
        """Drop the indexes of owners who are gone."""
        if not self._failed:
            self._begin(self._drop_of_the_gone)

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for what is under way; tell whether it has ended."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)
        return thread is None or not thread.is_alive()

    def close(self) -> None:
        """Break off what is under way; another worker will begin anew."""
        with self._lock:
            self._closed = True
            connection = self._connection
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.cancel()
        self.join(_CLOSING_SECONDS)

    # -- in the thread -------------------------------------------------------------------------

    def _begin(self, work: Callable[[_Run], None]) -> bool:
        with self._lock:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return False
            self._thread = threading.Thread(
                target=self._work, args=[work], name="langchain-kronvex indexes", daemon=True
            )
            self._thread.start()
            return True

    def _work(self, work: Callable[[_Run], None]) -> None:
        try:
            with self._db.apart() as (connection, text):
                with self._lock:
                    if self._closed:
                        return
                    self._connection = connection
                run = _Run(connection, text)
                try:
                    run.do(_PATIENT)
                    work(run)
                finally:
                    self._connection = None
                    if not connection.closed:
                        connection.execute(_AS_BEFORE)
        except (psycopg.Error, OSError, StoreError) as error:
            if not self._closed and not is_lost(error):  # else it is begun anew, later
                self._failed = True
                self.report(self._explained(error))

    def _explained(self, error: Exception) -> StoreError:
        diagnostic = getattr(error, "diag", None)
        said = getattr(diagnostic, "message_primary", None) or type(error).__name__
        return StoreError(
            f"{self._location}: no indexes could be made for a user with more than "
            f"{self._exact_up_to:,} memories ({said}). Each worker reads all of them instead."
        )

    def _make(self, run: _Run, scope: UUID, width: int | None) -> None:
        counted = run.rows(_COUNT, [scope])[0][0]
        run.do(_TELL_COUNT, [counted, scope])
        if counted <= self._exact_up_to:
            return
        with run.alone() as is_alone:
            if not is_alone:
                return
            wanted = indexes.wanted(scope, width)
            there = {name: valid for name, valid in run.rows(_THERE) if _of(name, scope)}
            for name, valid in there.items():
                if not valid or (width is not None and name not in wanted):
                    run.do(_DROP.format(name=name))
            for name, statement in wanted.items():
                if not there.get(name):
                    run.do(statement)
                    if indexes.is_of_texts(name):
                        run.do(indexes.unsampled(name))

    def _drop_of_the_gone(self, run: _Run) -> None:
        with run.alone() as is_alone:
            names = [name for name, _ in run.rows(_THERE)] if is_alone else []
            alive = run.owners(names, _OWNERS)
            for name in names:
                if indexes.owner_of(name) not in {None, *alive}:
                    run.do(_DROP.format(name=name))

    def _drop_vectors(self, run: _Run, agent_id: str) -> None:
        with run.alone() as is_alone:
            names = [name for name, _ in run.rows(_THERE)] if is_alone else []
            whose = run.owners(names, f"{_OWNERS} AND agent_id = %s", agent_id)
            for name in names:
                if "_vectors_" in name and indexes.owner_of(name) in whose:
                    run.do(_DROP.format(name=name))


def _of(name: str, scope: UUID) -> bool:
    return indexes.owner_of(name) == scope


class _Run:
    """Statements on one connection, each by itself: no transaction may hold an index's making."""

    def __init__(self, connection: psycopg.Connection[Any], text: Callable[[str], str]) -> None:
        self._connection, self._text = connection, text

    def do(self, sql: str, parameters: list[Any] | None = None) -> None:
        """Run a statement."""
        self._connection.execute(self._text(sql), parameters or [])

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with psycopg.Cursor(self._connection, row_factory=tuple_row) as cursor:
            return cursor.execute(self._text(sql), parameters).fetchall()

    def owners(self, names: Sequence[str], sql: str, *parameters: Any) -> set[UUID]:
        """Return those of the owners of indexes whom a statement finds."""
        scopes = [scope for name in names if (scope := indexes.owner_of(name)) is not None]
        return {scope for (scope,) in self.rows(sql, [scopes, *parameters])}

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep other workers from making and dropping; tell whether none does already."""
        ((locked,),) = self.rows(_TRY_LOCK, [_LOCK_NAME])
        try:
            yield locked
        finally:
            if locked and not self._connection.closed:
                self.do(_UNLOCK, [_LOCK_NAME])
