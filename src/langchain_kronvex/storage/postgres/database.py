"""Running work on PostgreSQL, transactions, attempts, and the clock."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from langchain_kronvex.core.errors import MemoryClosed
from langchain_kronvex.storage.postgres.clock import ServerClock
from langchain_kronvex.storage.postgres.connections import Connections
from langchain_kronvex.storage.postgres.errors import Attempts, is_lost, lacks_reach
from langchain_kronvex.storage.postgres.options import REACH, PostgresOptions, milliseconds
from langchain_kronvex.storage.postgres.statements import (
    Job,
    Rows,
    Statement,
    Vector,
    VectorDumper,
    Work,
)

T = TypeVar("T")
psycopg.adapters.register_dumper(Vector, VectorDumper)
_NOW = Statement("SELECT clock_timestamp()")
_SCHEMAS = re.compile(r"('?)\b(langchain_kronvex|pgvector)(?=\.|$)")


class Database:
    """One database with the schema of the store.

    Args:
        connections: Connections to it.
        options: How it is spoken to.
        location: For messages.
        patience_seconds: How long to go on trying when the server is away or busy.
    """

    def __init__(
        self,
        connections: Connections,
        options: PostgresOptions,
        location: str,
        patience_seconds: float,
    ) -> None:
        self._open_connections: Connections | None = connections
        self._options = options
        self._location, self._patience = location, patience_seconds
        self._vector_schema = "public"
        self.is_limited = False
        self._clock = ServerClock(self._time_there)

    @property
    def _connections(self) -> Connections:
        if self._open_connections is None:
            raise MemoryClosed()
        return self._open_connections

    def run(self, job: Job[T], patience_seconds: float | None = None) -> T:
        """Run a job, again when it is broken off.

        Args:
            job: What to do.
            patience_seconds: How long to go on trying, when that is not the database's own.

        Raises:
            StoreError: it cannot be done.
        """
        patience = self._patience if patience_seconds is None else patience_seconds
        attempts = Attempts(self._location, patience)
        while True:
            limited = self.is_limited
            try:
                with self._connections.connection(attempts.seconds_left()) as connection:
                    before = self._before(job, attempts.seconds_left(), connection)
                    return _drive(connection, job, before, self._text)
            except (psycopg.Error, OSError) as error:
                if not limited and lacks_reach(error):  # it was turned on meanwhile
                    self.limit_reach()
                    continue
                pause = attempts.pause_after(self._connections.reason_of(error))
                if is_lost(error):
                    self._connections.check()
            time.sleep(pause)

    def _before(
        self, job: Job[Any], seconds_left: float, connection: psycopg.Connection[Any]
    ) -> list[Statement]:
        """Return what holds for this transaction alone: its reach, and how long it may take."""
        settings = {REACH: "*" if job.reach is None else ",".join(job.reach)}
        if not self.is_limited:
            settings.clear()
        bounded = self._connections.bounds_statements(connection)
        limit = self._options.statement_timeout_seconds
        if not bounded:
            settings["lock_timeout"] = milliseconds(seconds_left)
            if limit is not None:
                settings["statement_timeout"] = milliseconds(limit)
        before = []
        if bounded and limit is None and not (job.is_quick or job.reads_once):
            before = [Statement("SET LOCAL statement_timeout TO DEFAULT")]
        if settings:
            calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
            values = [each for pair in settings.items() for each in pair]
            before.append(Statement(f"SELECT {calls}", values))
        return before

    def _text(self, sql: str) -> str:
        return _placed(sql, self._options.schema, self._vector_schema)

    # -- what differs from server to server ------------------------------------------------------

    def limit_reach(self) -> None:
        """Say in each transaction what it reaches, for row-level security."""
        self.is_limited = True

    def find_vectors(self) -> str | None:
        """Note in which schema pgvector is installed; return its version, None without it."""

        def work() -> Work[Rows]:
            found: Rows = yield Statement(
                "SELECT e.extversion, n.nspname FROM pg_extension AS e "
                "JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
            )
            return found

        found = self.run(Job(work))
        if not found:
            return None
        version, self._vector_schema = found[0]
        return str(version)

    def now(self) -> datetime:
        """Return the server's time, which is every worker's. Waits for it but the first time."""
        return self._clock.now()

    def _time_there(self) -> datetime:
        def work() -> Work[Rows]:
            told: Rows = yield _NOW
            return told

        ((told,),) = self.run(Job(work, reads_once=True, is_quick=True))
        there: datetime = told
        return there

    def close(self) -> None:
        """Let go of the connections that are ours."""
        connections, self._open_connections = self._open_connections, None
        if connections is not None:
            connections.close()


@lru_cache(maxsize=512)
def _placed(sql: str, schema: str, vector_schema: str) -> str:
    """Return a statement with the names of the schemas as they are, also within literals."""
    names = {"langchain_kronvex": quoted(schema), "pgvector": quoted(vector_schema)}

    def placed(found: re.Match[str]) -> str:
        quote, name = found[1], names[found[2]]
        return quote + name.replace("'", "''") if quote else name

    return _SCHEMAS.sub(placed, sql)


def quoted(name: str) -> str:
    """Return a name as an identifier; a % is doubled for the driver."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def _drive(
    connection: psycopg.Connection[Any],
    job: Job[T],
    before: list[Statement],
    text: Callable[[str], str],
) -> T:
    answer: Any = None
    work = job.work()
    alone = job.reads_once and not before and connection.autocommit
    with nullcontext() if alone else connection.transaction():
        while True:
            try:
                wanted = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            single = isinstance(wanted, Statement)
            statements = [wanted] if isinstance(wanted, Statement) else wanted
            # What goes before is sent together with what comes first.
            answers = _answers(connection, [*before, *statements], text)[len(before) :]
            before = []
            answer = answers[0] if single else answers


def _answers(
    connection: psycopg.Connection[Any], statements: list[Statement], text: Callable[[str], str]
) -> list[Any]:
    cursors = [psycopg.Cursor(connection, row_factory=tuple_row) for _ in statements]
    with connection.pipeline() if len(statements) > 1 else nullcontext():
        for cursor, each in zip(cursors, statements, strict=True):
            if each.many:
                cursor.executemany(text(each.sql), each.parameters)
            else:
                cursor.execute(text(each.sql), each.parameters, binary=True)
    return [c.fetchall() if c.description else c.rowcount for c in cursors]
