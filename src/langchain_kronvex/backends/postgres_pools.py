"""Connections to PostgreSQL: the user's own pool, or ours: one for threads, one for each loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langchain_kronvex.backends.postgres_faults import translated
from langchain_kronvex.backends.postgres_options import PostgresOptions
from langchain_kronvex.errors import ConfigurationError, MemoryClosed
from langchain_kronvex.forking import ForkAware

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]
_IDLE_SECONDS = 300.0
_CLOSING_SECONDS = 2.0  # for a thread or an event loop that is busy


class Pools(ForkAware):
    """Gives out connections; opens pools when they are first needed.

    An asynchronous connection belongs to its event loop, so there is a pool for each loop. A
    forked child starts with pools of its own: two processes on one socket would mix their answers.

    Args:
        conninfo: As libpq reads it.
        options: The user's own pools, and how large ours may be.
        timeout_seconds: How long to wait for a connection to become free.
    """

    def __init__(self, conninfo: str, options: PostgresOptions, timeout_seconds: float) -> None:
        self._conninfo, self._options, self._timeout = conninfo, options, timeout_seconds
        self._closed = False
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections, which are not closed: they are the parent's to close."""
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._loops: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, AsyncConnectionPool[AsyncConnection]
        ] = weakref.WeakKeyDictionary()

    # -- threads -------------------------------------------------------------------------------

    def connection(self) -> AbstractContextManager[Connection]:
        """Lend a connection."""
        if self._closed:
            raise MemoryClosed()
        own = self._options.pool
        if own is None:
            return self._sync().connection()
        if hasattr(own, "raw_connection"):
            return self._managed(_of_engine(own))
        return self._managed(own.connection())

    def probe(self, location: str) -> None:
        """Make one connection, at once or not at all: a pool does not say why it has none.

        Raises:
            StoreUnavailable: the server cannot be reached, or refuses.
        """
        if self._options.pool is not None:
            return
        try:
            psycopg.connect(self._conninfo, connect_timeout=int(max(self._timeout, 2))).close()
        except psycopg.Error as error:
            raise translated(error, location, self._timeout) from None

    def _sync(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._conninfo,
                    min_size=1,
                    max_size=self._options.max_connections,
                    open=True,
                    timeout=self._timeout,
                    max_idle=_IDLE_SECONDS,
                    reconnect_timeout=self._timeout,
                    kwargs=self._connecting(),
                    name="langchain-kronvex",
                )
            return self._pool

    def _connecting(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = {"autocommit": True}
        if not self._options.prepared_statements:
            kwargs["prepare_threshold"] = None
        return kwargs

    @contextmanager
    def _managed(self, lent: AbstractContextManager[Connection]) -> Iterator[Connection]:
        """Lend a connection of the user's, and give it back as it was."""
        with lent as connection:
            threshold = connection.prepare_threshold
            if not self._options.prepared_statements:
                connection.prepare_threshold = None
            try:
                yield connection
            finally:
                connection.prepare_threshold = threshold

    def check(self) -> None:
        """Weed out connections that broke; after one did, others have too."""
        with self._lock:
            pool = self._pool
        if pool is not None and not pool.closed:
            pool.check()

    # -- event loops ---------------------------------------------------------------------------

    def aconnection(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Lend a connection of the running event loop."""
        if self._closed:
            raise MemoryClosed()
        own = self._options.async_pool
        return self._lent(own is not None)

    @asynccontextmanager
    async def _lent(self, own: bool) -> AsyncIterator[AsyncConnection]:
        pool = self._options.async_pool if own else None
        if pool is None:
            pool = await self._of_loop()
        async with pool.connection() as connection:
            threshold = connection.prepare_threshold
            if not self._options.prepared_statements:
                connection.prepare_threshold = None
            try:
                yield connection
            finally:
                connection.prepare_threshold = threshold

    async def _of_loop(self) -> AsyncConnectionPool[AsyncConnection]:
        loop = asyncio.get_running_loop()
        with self._lock:
            pool = self._loops.get(loop)
            if pool is None:
                pool = self._loops[loop] = AsyncConnectionPool(
                    self._conninfo,
                    min_size=0,
                    max_size=self._options.max_connections,
                    open=False,
                    timeout=self._timeout,
                    max_idle=_IDLE_SECONDS,
                    reconnect_timeout=self._timeout,
                    kwargs=self._connecting(),
                    name="langchain-kronvex",
                )
        await pool.open()
        return pool

    async def acheck(self) -> None:
        """Twin of `check`."""
        pool = self._loops.get(asyncio.get_running_loop())
        if pool is not None and not pool.closed:
            await pool.check()

    # -- closing -------------------------------------------------------------------------------

    def close(self) -> None:
        """Close our own pools, also those of event loops."""
        self._closed = True
        with self._lock:
            pool, loops = self._pool, list(self._loops.items())
            self._pool, self._loops = None, weakref.WeakKeyDictionary()
        if pool is not None:
            pool.close(_CLOSING_SECONDS)
        for loop, each in loops:
            _close_within(loop, each)


@contextmanager
def _of_engine(engine: Any) -> Iterator[Connection]:
    """Lend the driver's connection of an SQLAlchemy engine."""
    lent = engine.raw_connection()
    try:
        yield lent.driver_connection
    finally:
        lent.close()


def _close_within(
    loop: asyncio.AbstractEventLoop, pool: AsyncConnectionPool[AsyncConnection]
) -> None:
    """Close a pool in the loop that it belongs to, whatever state that is in."""
    if loop.is_closed():
        for connection in list(pool._pool):
            connection.pgconn.finish()  # its socket needs no loop
        return
    if loop.is_running():
        closing = asyncio.run_coroutine_threadsafe(pool.close(_CLOSING_SECONDS), loop)
        if asyncio._get_running_loop() is not loop:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                closing.result(_CLOSING_SECONDS)
        return
    with contextlib.suppress(RuntimeError):  # this thread runs another loop
        loop.run_until_complete(pool.close(_CLOSING_SECONDS))


def location_of(conninfo: str, options: PostgresOptions) -> str:
    """Return the URL of a database, without the password.

    Raises:
        ConfigurationError: the URL cannot be read.
    """
    if options.pool is not None and not conninfo:
        return "postgresql://"
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            "The URL cannot be read as that of a PostgreSQL database. Write "
            "postgresql://user:password@host:5432/database"
        ) from error
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    host = str(parts.get("host") or parts.get("hostaddr") or "")
    return f"postgresql://{user}{host}{port}/{parts.get('dbname') or ''}"
