"""Connections to PostgreSQL: the user's own pool, or ours: one for threads, one for each loop."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from langchain_kronvex.core.errors import MemoryClosed, StoreUnavailable
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.storage.postgres.connections.borrowed import (
    ISOLATION,
    AsyncConnection,
    Connection,
    alent,
    connecting_as,
    lent,
    loop_of,
)
from langchain_kronvex.storage.postgres.connections.conninfo import connecting
from langchain_kronvex.storage.postgres.connections.loop_pool import LoopPool
from langchain_kronvex.storage.postgres.errors import translated
from langchain_kronvex.storage.postgres.options import PostgresOptions, milliseconds

_IDLE_SECONDS = 300.0
_ASKING_SECONDS = 2
_CLOSING_SECONDS = 2.0  # for a thread that is busy
# Bounds the wait for locks of what is read outside of a transaction; a write sets its own bound. A
# pooler reports a process number of its own and is left alone: its other clients would get the
# setting.
_DIRECT = "SELECT set_config('lock_timeout', %s, false) WHERE pg_backend_pid() = %s"


class Pools(ForkAware):
    """Gives out connections; opens pools when they are first needed.

    An asynchronous connection belongs to its event loop, so there is a pool for each loop. A
    forked child starts with pools of its own: two processes on one socket would mix their answers.

    Args:
        conninfo: As libpq reads it; "" with a pool of the user's.
        options: The user's own pools, and how large ours may be.
        timeout_seconds: How long to wait for a connection to become free.
    """

    def __init__(self, conninfo: str, options: PostgresOptions, timeout_seconds: float) -> None:
        self._options, self._timeout = options, timeout_seconds
        more: dict[str, Any] = {}
        if not conninfo and options.pool is None and options.async_pool is not None:
            conninfo, more = connecting_as(options.async_pool)
        self._conninfo = conninfo
        self._kwargs = {**connecting(conninfo, timeout_seconds), **more, "autocommit": True}
        if not options.prepared_statements:
            self._kwargs["prepare_threshold"] = None
        self._closed = self._forked = False
        self._start_empty()
        self.watch_forks()

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPool] = (
            weakref.WeakKeyDictionary()
        )

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections, which are not closed: they are the parent's to close."""
        self._forked = True
        if self._pool is not None:
            # Or else its end would wait for locks and threads that only the parent has.
            self._pool._closed = True
        for pool in list(self._loops.values()):
            pool.disown()
        self._start_empty()

    # -- threads -------------------------------------------------------------------------------

    def connection(
        self, timeout_seconds: float | None = None
    ) -> AbstractContextManager[Connection]:
        """Lend a connection."""
        if self._closed:
            raise MemoryClosed()
        own = self._options.pool
        timeout = self._timeout if timeout_seconds is None else timeout_seconds
        if own is None:
            return self._sync().connection(timeout)
        if self._forked and not hasattr(own, "raw_connection"):
            raise StoreUnavailable(
                "The pool that was given was opened before this process was forked, and its "
                "connections are the parent's. Open a pool and a memory in each process."
            )
        return lent(own, timeout, prepared=self._options.prepared_statements)

    @contextmanager
    def apart(self) -> Iterator[Connection]:
        """Lend a connection for work of minutes: none of our pool, where it would be missed."""
        if self._options.pool is None:
            with psycopg.connect(self._conninfo, **self._kwargs) as connection:
                connection.isolation_level = ISOLATION
                yield connection
            return
        with self.connection() as connection:
            before, connection.autocommit = connection.autocommit, True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = before

    def probe(self, location: str) -> None:
        """Make one connection, at once or not at all: a pool does not say why it has none.

        Raises:
            StoreUnavailable: the server cannot be reached, or refuses.
        """
        if self._options.pool is not None:
            return
        try:
            psycopg.connect(self._conninfo, **self._kwargs).close()
        except psycopg.Error as error:
            raise translated(error, location, self._timeout) from None

    def reason_of(self, error: Exception) -> Exception:
        """Return why the pool for threads had no connection to lend, which it does not say."""
        own = self._options.pool
        if not isinstance(error, PoolTimeout) or not isinstance(own, ConnectionPool | None):
            return error
        how = (self._conninfo, self._kwargs) if own is None else (own.conninfo, own.kwargs or {})
        return _refusal(*how) or error

    async def areason_of(self, error: Exception) -> Exception:
        """Twin of `reason_of`; pools of our own for event loops do say."""
        own = self._own_of_loop()
        if not isinstance(error, PoolTimeout) or own is None:
            return error
        return await asyncio.to_thread(_refusal, own.conninfo, own.kwargs or {}) or error

    def _sync(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._closed:
                raise MemoryClosed()
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._conninfo,
                    min_size=1,
                    max_size=self._options.max_connections,
                    open=True,
                    timeout=self._timeout,
                    max_idle=_IDLE_SECONDS,
                    reconnect_timeout=self._timeout,
                    kwargs=self._kwargs,
                    configure=self._configure,
                    name="langchain-kronvex",
                )
            return self._pool

    def _configure(self, connection: Connection) -> None:
        connection.isolation_level = ISOLATION
        connection.execute(_DIRECT, self._direct(connection))

    def _direct(self, connection: Connection | AsyncConnection) -> list[str | int]:
        return [milliseconds(self._timeout), connection.info.backend_pid]

    def check(self) -> None:
        """Weed out connections that broke; after one did, others have too."""
        pool = self._pool if self._options.pool is None else self._options.pool
        if isinstance(pool, ConnectionPool) and not pool.closed:
            pool.check()

    # -- event loops ---------------------------------------------------------------------------

    def needs_threads(self) -> bool:
        """Tell whether asynchronous verbs have nothing but the user's pool for threads."""
        return not self._conninfo and self._options.pool is not None and not self._own_of_loop()

    def aconnection(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Lend a connection of the running event loop."""
        if self._closed:
            raise MemoryClosed()
        own = self._own_of_loop()
        if own is not None:
            return alent(own, self._timeout, prepared=self._options.prepared_statements)
        return self._of_loop().connection()

    def _own_of_loop(self) -> AsyncConnectionPool[AsyncConnection] | None:
        """Return the user's pool, if it belongs to the running event loop or is not open."""
        own = self._options.async_pool
        if own is None or loop_of(own) not in (None, asyncio.get_running_loop()):
            return None
        return own

    def _of_loop(self) -> LoopPool:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise MemoryClosed()
            pool = self._loops.get(loop)
            if pool is None:
                self._let_go_of_ended_loops()
                pool = self._loops[loop] = LoopPool(
                    self._connected, self._options.max_connections, self._timeout
                )
            return pool

    async def _connected(self) -> AsyncConnection:
        connection = await psycopg.AsyncConnection.connect(self._conninfo, **self._kwargs)
        try:
            await connection.set_isolation_level(ISOLATION)
            await connection.execute(_DIRECT, self._direct(connection))
        except BaseException:  # cancelled: the driver may let others run here
            connection.pgconn.finish()
            raise
        return connection

    def _let_go_of_ended_loops(self) -> None:
        for loop in [loop for loop in self._loops if loop.is_closed()]:
            self._loops.pop(loop).close()

    async def acheck(self) -> None:
        """Twin of `check`."""
        own = self._own_of_loop()
        if own is None:
            self._of_loop().drop_idle()
        elif not own.closed:
            await own.check()

    # -- closing -------------------------------------------------------------------------------

    def close(self) -> None:
        """Close our own pools, also those of event loops."""
        with self._lock:
            self._closed = True
            pool, loops = self._pool, list(self._loops.values())
            self._pool, self._loops = None, weakref.WeakKeyDictionary()
        if pool is not None:
            pool.close(_CLOSING_SECONDS)
        for each in loops:
            each.close()


def _refusal(conninfo: Any, kwargs: Any) -> Exception | None:
    """Return why nobody can connect now; None if one can, or if how is computed each time."""
    if callable(conninfo) or callable(kwargs):
        return None
    try:
        psycopg.connect(conninfo, **{**kwargs, "connect_timeout": _ASKING_SECONDS}).close()
    except psycopg.Error as refused:
        return refused
    return None
