"""Making the indexes of huge owners in the background, by one worker at a time; dropping them.

An index is made without keeping anybody from writing, which takes minutes for a million memories.
Who makes it holds a lock (`postgres_huge_session.py`), so that of many workers one does. What a
killed worker left half made is made anew.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from langchain_kronvex.core.errors import StoreError
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.errors import is_lost
from langchain_kronvex.storage.postgres.large_owners import index_sql as indexes
from langchain_kronvex.storage.postgres.large_owners.builder_session import Run

_OLDEST_VECTOR = (0, 8)  # the first that goes on until it has found enough
_AGAIN_SECONDS = 30.0  # after which it is looked again whether another worker is done
_CLOSING_SECONDS = 5.0
_COUNT = (
    "SELECT count(*) FROM langchain_kronvex.records AS r WHERE r.scope = %s AND r.kind = 'memory'"
)
_TELL_COUNT = "UPDATE langchain_kronvex.scopes SET memories = %s WHERE scope = %s"
_THERE = f"SELECT c.relname::text, i.indisvalid, {indexes.IS_SAMPLED} {indexes.ALL}"
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
        if database.vector_version < _OLDEST_VECTOR:
            return None
        return cls(database, location, exact_up_to)

    def after_fork_in_child(self) -> None:
        """Start without a thread: it is the parent's."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._closed = self._is_to_sweep = False
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
        """Drop the indexes of owners who are gone, and those that serve nobody."""
        self._is_to_sweep = True
        if not self._failed:
            self._begin(lambda _: None)

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

    def _begin(self, work: Callable[[Run], None]) -> bool:
        with self._lock:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return False
            self._thread = threading.Thread(
                target=self._work, args=[work], name="langchain-kronvex indexes", daemon=True
            )
            self._thread.start()
            return True

    def _work(self, work: Callable[[Run], None]) -> None:
        try:
            with self._db.apart() as (connection, text):
                with self._lock:
                    if self._closed:
                        return
                    self._connection = connection
                try:
                    run = Run(connection, text, self._db.apart)
                    with run.patient():
                        work(run)
                        while self._is_to_sweep:
                            self._is_to_sweep = False
                            self._drop_useless(run)
                finally:
                    self._connection = None
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

    def _make(self, run: Run, scope: UUID, width: int | None) -> None:
        counted = run.rows(_COUNT, [scope])[0][0]
        run.rows(_TELL_COUNT, [counted, scope])
        if counted <= self._exact_up_to:
            return
        with run.alone() as is_alone:
            if not is_alone:
                return
            wanted = indexes.wanted(scope, width)
            there = {name: valid for name, valid, _ in run.rows(_THERE) if _of(name, scope)}
            for name, valid in there.items():
                if not valid or (width is not None and name not in wanted):
                    run.do(_DROP.format(name=name))
            for name, statement in wanted.items():
                if not there.get(name):
                    run.do(statement)
                    if indexes.is_of_texts(name):
                        run.do(indexes.unsampled(name))
        self._is_to_sweep = True  # what others could not, while this took the lock

    def _drop_useless(self, run: Run) -> None:
        with run.alone() as is_alone:
            there = run.rows(_THERE) if is_alone else []
            alive = run.owners([name for name, _, _ in there], _OWNERS)
            for name, _, is_sampled in there:
                gone = indexes.owner_of(name) not in {None, *alive}
                if gone or is_sampled or self._db.is_limited:
                    run.do(_DROP.format(name=name))

    def _drop_vectors(self, run: Run, agent_id: str) -> None:
        with run.alone() as is_alone:
            names = [name for name, _, _ in run.rows(_THERE)] if is_alone else []
            whose = run.owners(names, f"{_OWNERS} AND agent_id = %s", agent_id)
            for name in names:
                if "_vectors_" in name and indexes.owner_of(name) in whose:
                    run.do(_DROP.format(name=name))


def _of(name: str, scope: UUID) -> bool:
    return indexes.owner_of(name) == scope
