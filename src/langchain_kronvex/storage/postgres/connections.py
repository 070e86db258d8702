"""Connections to PostgreSQL: lent by the user's pool, or by one of our own."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from langchain_kronvex.core.config.settings import DEFAULT_SCHEMA, PostgresOptions
from langchain_kronvex.core.errors import ConfigurationError, MemoryClosed, StoreUnavailable
from langchain_kronvex.core.fork_safety import ForkAware

Connection = psycopg.Connection[Any]
# The store is written for this level: a transaction that waited for a lock sees what the former
# holder of the lock wrote.
_ISOLATION = IsolationLevel.READ_COMMITTED
_CONNECTING_SECONDS = 10.0
_IDLE_SECONDS = 300.0
_CLOSING_SECONDS = 2.0  # to wait for threads of the pool that are busy
_GRACE_SECONDS = 1.0  # so that a wait for a lock is reported before the statement's own timeout
# Bounds every statement of a session. A lower statement_timeout of the server stays. A pooler
# reports another process number. It gets no settings, because its other clients would get them too.
# A row is returned if the settings hold.
BOUND_SESSION = (
    "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', coalesce("
    "%s::int, least(%s::int, nullif(s.setting::int, 0)))::text, false) FROM pg_settings AS s "
    "WHERE s.name = 'statement_timeout' AND pg_backend_pid() = %s"
)
_UNREADABLE = (
    "The URL cannot be read as that of a PostgreSQL database. Write "
    "postgresql://user:password@host:5432/database, and encode any of @ / % : # ? inside the user "
    "or the password with urllib.parse.quote(…, safe='')."
)
_NOT_OPEN = "The pool that was given is not open. Open it before the memory, and close it after."
_FORKED = (
    "The pool that was given was opened before this process was forked, and its connections belong "
    "to the parent process. Open a pool and a memory in each process."
)
_Place = tuple[str, float, PostgresOptions]


class Connections(ForkAware):
    """Lends connections. Our own pool opens when it is first needed.

    A forked child opens its own pool, because two processes must not read from one socket.

    Args:
        conninfo: A connection string of libpq; "" with a pool of the user's.
        options: The user's own pool, and the size of ours.
        timeout_seconds: How long to wait for a connection, a lock or a server that is away.
    """

    def __init__(self, conninfo: str, options: PostgresOptions, timeout_seconds: float) -> None:
        self._conninfo, self._options, self._timeout = conninfo, options, timeout_seconds
        self._kwargs = {**_connecting(conninfo, timeout_seconds), "autocommit": True}
        if not options.prepared_statements:
            self._kwargs["prepare_threshold"] = None
        self._forked = False
        self._lock = threading.Lock()
        self._users = 0
        self._pool: _OwnPool | None = None
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections without closing them."""
        self._forked = True
        self._lock = threading.Lock()
        self._pool = None

    def connection(self, seconds: float) -> AbstractContextManager[Connection]:
        """Lend a connection; wait at most this many seconds for one.

        Raises:
            MemoryClosed: all memories that used this are closed.
            PoolTimeout: no connection became free in time.
            StoreUnavailable: the user's pool cannot be used.
        """
        if self._options.pool is None:
            return self._own().connection(seconds)
        if self._forked:
            raise StoreUnavailable(_FORKED)
        return _lent(self._options.pool, seconds, prepared=self._options.prepared_statements)

    def bounds_statements(self, connection: Connection) -> bool:
        """Return whether the session of a connection limits its statements by itself."""
        return self._options.pool is None and connection.autocommit

    def reason_of(self, error: Exception) -> Exception:
        """Return why the pool had no connection to lend, which its own error does not say."""
        return (self.refusal() or error) if isinstance(error, PoolTimeout) else error

    def refusal(self) -> Exception | None:
        """Return why a connection fails now; None if it succeeds, or if a pool computes how."""
        given: tuple[str, dict[str, Any]] | None = self._conninfo, self._kwargs
        if self._options.pool is not None:
            given = _given(self._options.pool)
        if given is None:
            return None
        try:
            psycopg.connect(given[0], **{"connect_timeout": 2, **given[1]}).close()
        except psycopg.Error as refused:
            return refused
        return None

    def check(self) -> None:
        """Replace connections that broke; after one did, others have too."""
        pool = self._pool if self._options.pool is None else self._options.pool
        if isinstance(pool, ConnectionPool) and not pool.closed:
            pool.check()

    def enter(self) -> None:
        """Note one more memory that uses this."""
        with self._lock:
            self._users += 1

    def close(self) -> None:
        """Note one memory fewer; with the last one our own pool closes."""
        pool = None
        with self._lock:
            self._users -= 1
            if not self._users:
                pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(_CLOSING_SECONDS)

    def _own(self) -> _OwnPool:
        with self._lock:
            if not self._users:
                raise MemoryClosed()
            if self._pool is None:
                self._pool = _OwnPool(
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
        connection.isolation_level = _ISOLATION
        limit = self._options.statement_timeout_seconds
        own = None if limit is None else milliseconds(limit)
        waits = milliseconds(self._timeout), own, milliseconds(self._timeout + _GRACE_SECONDS)
        found = connection.execute(BOUND_SESSION, [*waits, connection.info.backend_pid])
        connection.autocommit = found.fetchone() is not None


class _OwnPool(ConnectionPool[Connection]):
    """A pool that a forked child does not close: closing would wait for the parent's threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._made_in_process = os.getpid()
        super().__init__(*args, **kwargs)

    def __del__(self) -> None:
        if os.getpid() == self._made_in_process:
            super().__del__()


_open: weakref.WeakValueDictionary[_Place, Connections] = weakref.WeakValueDictionary()


def connections_to(conninfo: str, options: PostgresOptions, timeout_seconds: float) -> Connections:
    """Return connections, to be closed once by each caller; see `Connections` for the arguments.

    Memories in one database share them. A server opens a memory for each agent, and a LangGraph
    store opens its own. With a pool for each, the database would run out of connections.
    """
    shared = replace(options, schema=DEFAULT_SCHEMA, row_level_security=False)
    place = (conninfo, timeout_seconds, shared)
    connections = _open.get(place)
    if connections is None:
        connections = _open[place] = Connections(conninfo, options, timeout_seconds)
    connections.enter()
    return connections


@contextmanager
def _lent(pool: Any, timeout_seconds: float, *, prepared: bool) -> Iterator[Connection]:
    """Lend a connection of the user's pool, and give it back as it was."""
    try:
        with pool.connection(timeout=min(pool.timeout, timeout_seconds)) as connection:
            if connection.info.transaction_status == TransactionStatus.INTRANS:
                connection.commit()  # what a `configure` or `check` of the user's left open
            if not _is_idle(connection):
                raise psycopg.OperationalError("the connection that was lent cannot be used")
            before = (connection.prepare_threshold, connection.isolation_level)
            if not prepared:
                connection.prepare_threshold = None
            connection.isolation_level = _ISOLATION
            try:
                yield connection
            finally:
                connection.prepare_threshold = before[0]
                if _is_idle(connection):
                    connection.isolation_level = before[1]
                else:  # it broke, or was interrupted: the pool makes another one
                    connection.close()
    except PoolClosed:
        raise StoreUnavailable(_NOT_OPEN) from None


def _is_idle(connection: Connection) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


def location_of(conninfo: str, options: PostgresOptions) -> str:
    """Return the URL of a database without the password.

    Raises:
        ConfigurationError: the URL cannot be read.
    """
    if options.pool is not None and not conninfo:
        conninfo, kwargs = _given(options.pool) or ("", {})
        return _without_password({**_parts(conninfo), **kwargs})
    before_query = conninfo.partition("?")[0].removeprefix("postgresql://")
    authority, _, path = before_query.partition("/")
    if authority.count("@") > 1 or "@" in path:
        raise ConfigurationError(_UNREADABLE)  # part of the password would pass for the host
    return _without_password(_parts(conninfo))


def _given(pool: object) -> tuple[str, dict[str, Any]] | None:
    """Return how a pool of the user's connects; None if it computes that."""
    conninfo, kwargs = getattr(pool, "conninfo", None), getattr(pool, "kwargs", None) or {}
    return (conninfo, kwargs) if isinstance(conninfo, str) and isinstance(kwargs, dict) else None


def _parts(conninfo: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(conninfo))
    except psycopg.ProgrammingError:
        raise ConfigurationError(_UNREADABLE) from None  # the driver's error quotes the password


def _without_password(parts: dict[str, Any]) -> str:
    if not any(parts.get(name) for name in ("user", "host", "hostaddr", "dbname")):
        return "postgresql://"
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    host = str(parts.get("host") or parts.get("hostaddr") or "")
    return f"postgresql://{user}{host}{port}/{parts.get('dbname') or ''}"


def _connecting(conninfo: str, timeout_seconds: float) -> dict[str, Any]:
    """Return the parameters of libpq that the URL and the environment leave open.

    They make libpq notice a server whose machine or network is gone.
    """
    given = _parts(conninfo)
    if "PGCONNECT_TIMEOUT" in os.environ:
        given["connect_timeout"] = ""
    wanted = {
        "connect_timeout": int(max(min(timeout_seconds, _CONNECTING_SECONDS), 2)),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": int(max(timeout_seconds, 2) * 1000),
        "fallback_application_name": "langchain-kronvex",
        "client_encoding": "utf8",
    }
    return {name: value for name, value in wanted.items() if name not in given}


def milliseconds(seconds: float) -> str:
    """Return a time as PostgreSQL's settings take it: never 0, which would mean no limit."""
    return str(min(max(round(seconds * 1000), 1), 2**31 - 1))
