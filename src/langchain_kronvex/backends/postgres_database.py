"""Running work on PostgreSQL, natively in both colours: transactions, attempts, and the clock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from langchain_kronvex.backends.postgres_faults import Attempts, is_lost
from langchain_kronvex.backends.postgres_options import PostgresOptions, settings_of
from langchain_kronvex.backends.postgres_pools import Pools
from langchain_kronvex.backends.postgres_session import (
    Job,
    Rows,
    Statement,
    Vector,
    VectorDumper,
    Work,
)

T = TypeVar("T")
psycopg.adapters.register_dumper(Vector, VectorDumper)
_CLOCK_SECONDS = 60.0  # after which the server is asked for its time again
_NOW = Statement("SELECT clock_timestamp()")


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
        self._pools, self._options = pools, options
        self._location, self._patience = location, patience_seconds
        self._vector_schema = "public"
        self._limited = False
        self._ahead = timedelta()
        self._asked = -_CLOCK_SECONDS
        self._asking = threading.Lock()

    # -- both colours --------------------------------------------------------------------------

    def run(self, job: Job[T]) -> T:
        """Run a job, again when it is broken off.

        Raises:
            StoreError: it cannot be done.
        """
        attempts = Attempts(self._location, self._patience)
        while True:
            try:
                with self._pools.connection() as connection:
                    return _drive(connection, job, self._before(job.reach), self._text)
            except (psycopg.Error, OSError) as error:
                pause = attempts.pause_after(error)
                if is_lost(error):
                    self._pools.check()
            time.sleep(pause)

    async def arun(self, job: Job[T]) -> T:
        """Twin of `run`."""
        attempts = Attempts(self._location, self._patience)
        while True:
            try:
                async with self._pools.aconnection() as connection:
                    return await _adrive(connection, job, self._before(job.reach), self._text)
            except (psycopg.Error, OSError) as error:
                pause = attempts.pause_after(error)
                if is_lost(error):
                    await self._pools.acheck()
            await asyncio.sleep(pause)

    def _before(self, reach: tuple[str, ...] | None) -> Statement | None:
        settings = settings_of(self._options, reach, limited=self._limited)
        if not settings:
            return None
        calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
        return Statement(f"SELECT {calls}", [each for pair in settings.items() for each in pair])

    def _text(self, sql: str) -> str:
        return _placed(sql, self._options.schema, self._vector_schema)

    # -- what differs from server to server ------------------------------------------------------

    def limit_reach(self) -> None:
        """Say in each transaction what it reaches, for row-level security."""
        self._limited = True

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
        """Return the server's time, which is every worker's; asked for once a minute."""
        if time.monotonic() - self._asked > _CLOCK_SECONDS and self._asking.acquire(blocking=False):
            try:
                self._ask_time()
            finally:
                self._asking.release()
        return datetime.now(timezone.utc) + self._ahead

    def _ask_time(self) -> None:
        def work() -> Work[Rows]:
            told: Rows = yield _NOW
            return told

        before = datetime.now(timezone.utc)
        ((told,),) = self.run(Job(work))
        after = datetime.now(timezone.utc)
        self._ahead = told - (before + (after - before) / 2)
        self._asked = time.monotonic()

    def close(self) -> None:
        """Let go of the connections that are ours."""
        self._pools.close()


@lru_cache(maxsize=512)
def _placed(sql: str, schema: str, vector_schema: str) -> str:
    """Return a statement with the names of the schemas as they are."""
    return sql.replace("langchain_kronvex.", f"{quoted(schema)}.").replace(
        "pgvector.", f"{quoted(vector_schema)}."
    )


def quoted(name: str) -> str:
    """Return a name as an identifier; a % is doubled for the driver."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def _has_rows(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> bool:
    """Tell whether a statement returns rows; `description` would describe each column of them."""
    return cursor.pgresult is not None and cursor.pgresult.nfields > 0


# The two functions differ in the words `async` and `await` alone.


def _drive(
    connection: psycopg.Connection[Any],
    job: Job[T],
    before: Statement | None,
    text: Callable[[str], str],
) -> T:
    answer: Any = None
    work = job.work()
    alone = job.reads_once and before is None and connection.autocommit
    transaction = nullcontext() if alone else connection.transaction()
    with transaction, connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        if before:
            cursor.execute(before.sql, before.parameters)
        while True:
            try:
                wanted = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(wanted, Statement):
                if wanted.many:
                    cursor.executemany(text(wanted.sql), wanted.parameters)
                else:
                    cursor.execute(text(wanted.sql), wanted.parameters)
                answer = cursor.fetchall() if _has_rows(cursor) else cursor.rowcount
            else:
                answer = _pipelined(connection, wanted, text)


def _pipelined(
    connection: psycopg.Connection[Any], wanted: list[Statement], text: Callable[[str], str]
) -> list[Any]:
    with connection.pipeline():
        cursors = [connection.cursor(row_factory=tuple_row, binary=True) for _ in wanted]
        for cursor, each in zip(cursors, wanted, strict=True):
            if each.many:
                cursor.executemany(text(each.sql), each.parameters)
            else:
                cursor.execute(text(each.sql), each.parameters)
    return [c.fetchall() if _has_rows(c) else c.rowcount for c in cursors]


async def _adrive(
    connection: psycopg.AsyncConnection[Any],
    job: Job[T],
    before: Statement | None,
    text: Callable[[str], str],
) -> T:
    answer: Any = None
    work = job.work()
    alone = job.reads_once and before is None and connection.autocommit
    transaction = nullcontext() if alone else connection.transaction()
    async with transaction, connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        if before:
            await cursor.execute(before.sql, before.parameters)
        while True:
            try:
                wanted = work.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if isinstance(wanted, Statement):
                if wanted.many:
                    await cursor.executemany(text(wanted.sql), wanted.parameters)
                else:
                    await cursor.execute(text(wanted.sql), wanted.parameters)
                answer = await cursor.fetchall() if _has_rows(cursor) else cursor.rowcount
            else:
                answer = await _apipelined(connection, wanted, text)


async def _apipelined(
    connection: psycopg.AsyncConnection[Any], wanted: list[Statement], text: Callable[[str], str]
) -> list[Any]:
    async with connection.pipeline():
        cursors = [connection.cursor(row_factory=tuple_row, binary=True) for _ in wanted]
        for cursor, each in zip(cursors, wanted, strict=True):
            if each.many:
                await cursor.executemany(text(each.sql), each.parameters)
            else:
                await cursor.execute(text(each.sql), each.parameters)
    return [await c.fetchall() if _has_rows(c) else c.rowcount for c in cursors]
