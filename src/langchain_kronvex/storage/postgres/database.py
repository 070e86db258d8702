"""Running work on PostgreSQL, natively in both colours: transactions, attempts, and the clock."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from langchain_kronvex.core.errors import MemoryClosed
from langchain_kronvex.storage.postgres.clock import ServerClock
from langchain_kronvex.storage.postgres.connections.pools import Pools
from langchain_kronvex.storage.postgres.connections.stall_guard import heard
from langchain_kronvex.storage.postgres.errors import Attempts, is_full, is_lost, lacks_reach
from langchain_kronvex.storage.postgres.options import PostgresOptions, settings_of
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
        pools: Connections to it.
        options: How it is spoken to.
        location: For messages.
        patience_seconds: How long to go on trying when the server is away or busy.
    """

    def __init__(
        self, pools: Pools, options: PostgresOptions, location: str, patience_seconds: float
    ) -> None:
        self._open_pools: Pools | None = pools
        self._options = options
        self._location, self._patience = location, patience_seconds
        self._vector_schema = "public"
        self.is_limited = False
        self.vector_version: tuple[int, ...] = (0,)
        self._clock = ServerClock(self._time_there)

    @property
    def _pools(self) -> Pools:
        if self._open_pools is None:
            raise MemoryClosed()
        return self._open_pools

    # -- both colours --------------------------------------------------------------------------

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
                with self._pools.connection(attempts.seconds_left()) as connection:
                    left = attempts.seconds_left()
                    before = self._before(job, left, connection.autocommit)
                    with heard(connection, left if job.is_quick else None):
                        return _drive(connection, job, before, self._text)
            except (psycopg.Error, OSError) as error:
                if not limited and lacks_reach(error):  # it was turned on meanwhile
                    self.limit_reach()
                    continue
                pause = attempts.pause_after(self._pools.reason_of(error))
                if is_lost(error):
                    self._pools.check()
            time.sleep(pause)

    async def arun(self, job: Job[T]) -> T:
        """Twin of `run`."""
        if self._pools.needs_threads():
            return await asyncio.to_thread(self.run, job)
        attempts = Attempts(self._location, self._patience)
        while True:
            limited = self.is_limited
            try:
                async with self._pools.aconnection() as connection:
                    left = attempts.seconds_left()
                    before = self._before(job, left, connection.autocommit)
                    with heard(connection, left if job.is_quick else None):
                        return await _adrive(connection, job, before, self._text)
            except (psycopg.Error, OSError) as error:
                if not limited and lacks_reach(error):  # it was turned on meanwhile
                    self.limit_reach()
                    continue
                if is_full(error):  # perhaps of those for threads
                    return await asyncio.to_thread(self.run, job, attempts.seconds_left())
                pause = attempts.pause_after(await self._pools.areason_of(error))
                if is_lost(error):
                    await self._pools.acheck()
            await asyncio.sleep(pause)

    @contextmanager
    def apart(self) -> Iterator[tuple[psycopg.Connection[Any], Callable[[str], str]]]:
        """Lend a connection for work of minutes, and what puts the schemas' names in its SQL."""
        with self._pools.apart() as connection:
            yield connection, self._text

    def _before(self, job: Job[Any], patience_seconds: float, autocommit: bool) -> Statement | None:
        settings = settings_of(
            self._options,
            job.reach,
            limited=self.is_limited,
            # A read by itself has no transaction that could be told; see `Pools` and `heard`.
            patience_seconds=None if job.reads_once and autocommit else patience_seconds,
        )
        if not settings:
            return None
        calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
        return Statement(f"SELECT {calls}", [each for pair in settings.items() for each in pair])

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
        self.vector_version = tuple(int(part) for part in version.split(".")[:2])
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
        pools, self._open_pools = self._open_pools, None
        if pools is not None:
            pools.close()


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


# The functions of each pair differ in the words `async` and `await` alone. Cursors are of the
# plain kind, whatever kind a user's own connections make.


def _drive(
    connection: psycopg.Connection[Any],
    job: Job[T],
    before: Statement | None,
    text: Callable[[str], str],
) -> T:
    answer: Any = None
    work = job.work()
    alone = job.reads_once and before is None and connection.autocommit
    with nullcontext() if alone else connection.transaction():
        while True:
            try:
                wanted = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            single = isinstance(wanted, Statement)
            statements = [wanted] if isinstance(wanted, Statement) else wanted
            if before is not None:  # it goes out together with what comes first
                answers = (_answers(connection, [before, *statements], text))[1:]
                before = None
            else:
                answers = _answers(connection, statements, text)
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


async def _adrive(
    connection: psycopg.AsyncConnection[Any],
    job: Job[T],
    before: Statement | None,
    text: Callable[[str], str],
) -> T:
    answer: Any = None
    work = job.work()
    alone = job.reads_once and before is None and connection.autocommit
    async with nullcontext() if alone else connection.transaction():
        while True:
            try:
                wanted = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            single = isinstance(wanted, Statement)
            statements = [wanted] if isinstance(wanted, Statement) else wanted
            if before is not None:
                answers = (await _aanswers(connection, [before, *statements], text))[1:]
                before = None
            else:
                answers = await _aanswers(connection, statements, text)
            answer = answers[0] if single else answers


async def _aanswers(
    connection: psycopg.AsyncConnection[Any],
    statements: list[Statement],
    text: Callable[[str], str],
) -> list[Any]:
    cursors = [psycopg.AsyncCursor(connection, row_factory=tuple_row) for _ in statements]
    async with connection.pipeline() if len(statements) > 1 else nullcontext():
        for cursor, each in zip(cursors, statements, strict=True):
            if each.many:
                await cursor.executemany(text(each.sql), each.parameters)
            else:
                await cursor.execute(text(each.sql), each.parameters, binary=True)
    return [await c.fetchall() if c.description else c.rowcount for c in cursors]
