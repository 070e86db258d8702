"""Connections that users lend: from their own pools and engines, given back as they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from langchain_kronvex.core.errors import ConfigurationError, StoreUnavailable

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]
# What the store is written for. A lock that was waited for shows what its former holder wrote.
ISOLATION = IsolationLevel.READ_COMMITTED
_NOT_OPEN = "The pool that was given is not open. Open it before the memory, and close it after."


@contextmanager
def lent(pool: Any, timeout_seconds: float, *, prepared: bool) -> Iterator[Connection]:
    """Lend a connection of a pool or an engine.

    Raises:
        StoreUnavailable: the pool is not open.
        ConfigurationError: the engine is of another driver.
    """
    lending = (
        _of_engine(pool)
        if hasattr(pool, "raw_connection")
        else pool.connection(timeout=min(pool.timeout, timeout_seconds))
    )
    try:
        with lending as connection:
            if connection.info.transaction_status == TransactionStatus.INTRANS:
                connection.commit()  # what its owner does to every connection that is lent
            _need_idle(connection)
            before = (connection.prepare_threshold, connection.isolation_level)
            if not prepared:
                connection.prepare_threshold = None
            connection.isolation_level = ISOLATION
            try:
                yield connection
            finally:
                connection.prepare_threshold = before[0]
                if _is_idle(connection):
                    connection.isolation_level = before[1]
                else:  # it broke, or was broken off; its owner makes another one
                    connection.close()
    except PoolClosed:
        raise StoreUnavailable(_NOT_OPEN) from None


@asynccontextmanager
async def alent(
    pool: AsyncConnectionPool[AsyncConnection], timeout_seconds: float, *, prepared: bool
) -> AsyncIterator[AsyncConnection]:
    """Twin of `lent`, for an asynchronous pool."""
    try:
        async with pool.connection(timeout=min(pool.timeout, timeout_seconds)) as connection:
            if connection.info.transaction_status == TransactionStatus.INTRANS:
                await connection.commit()
            _need_idle(connection)
            before = (connection.prepare_threshold, connection.isolation_level)
            try:
                if not prepared:
                    connection.prepare_threshold = None
                await connection.set_isolation_level(ISOLATION)
                yield connection
            finally:
                connection.prepare_threshold = before[0]
                if _is_idle(connection):
                    await connection.set_isolation_level(before[1])
                else:
                    connection.pgconn.finish()  # at once: the task may be being cancelled
    except PoolClosed:
        raise StoreUnavailable(_NOT_OPEN) from None


def _is_idle(connection: Connection | AsyncConnection) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


def _need_idle(connection: Connection | AsyncConnection) -> None:
    if not _is_idle(connection):
        raise psycopg.OperationalError("the connection that was lent is of no use")


@contextmanager
def _of_engine(engine: Any) -> Iterator[Connection]:
    """Lend the driver's connection of an SQLAlchemy engine."""
    try:
        borrowed = engine.raw_connection()
    except Exception as error:
        if type(error).__name__ == "TimeoutError" and not isinstance(error, OSError):
            raise PoolTimeout("the engine has none to lend") from None
        raise
    try:
        connection = borrowed.driver_connection
        if not isinstance(connection, psycopg.Connection):
            raise ConfigurationError(
                "The engine must be of the psycopg dialect: create_engine('postgresql+psycopg://…')"
            )
        yield connection
        if connection.closed and hasattr(borrowed, "invalidate"):
            borrowed.invalidate()
    finally:
        borrowed.close()


def loop_of(pool: AsyncConnectionPool[AsyncConnection]) -> asyncio.AbstractEventLoop | None:
    """Return the event loop that a pool was opened in; None when it is not open."""
    return next((task.get_loop() for task in pool._workers), None)


def connecting_as(pool: AsyncConnectionPool[AsyncConnection]) -> tuple[str, dict[str, Any]]:
    """Return how a pool connects, for connections of another kind.

    Raises:
        ConfigurationError: it is computed anew for each connection.
    """
    conninfo, kwargs = pool.conninfo, pool.kwargs
    if not isinstance(conninfo, str) or callable(kwargs):
        raise ConfigurationError(
            "async_pool computes how it connects, so nothing else can connect as it does. Pass "
            "the URL as well, or a ConnectionPool as pool."
        )
    own = ("autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory")
    return conninfo, {name: value for name, value in (kwargs or {}).items() if name not in own}
