"""How a PostgreSQL store is reached; checked before anything is opened."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_kronvex.core.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

DEFAULT_SCHEMA = "langchain_kronvex"
REACH = "kronvex.reach"  # the setting that row-level security asks for
_MAX_IDENTIFIER_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """How a PostgreSQL store is reached, for `KronvexMemory(postgres=…)`.

    Attributes:
        pool: A `psycopg_pool.ConnectionPool` of yours, or an SQLAlchemy engine of the psycopg
            dialect. It is used and never closed. Without it the memory keeps a pool of its own.
            When no URL is given, the `a…` twins use it too, in threads.
        async_pool: An open `psycopg_pool.AsyncConnectionPool` of yours, for the `a…` twins in the
            event loop that it belongs to. Without it there is a pool for each event loop. When
            neither a URL nor a `pool` is given, all else connects as this pool does.
        schema: Where the tables are; made when it is not there.
        max_connections: Of each pool of our own.
        prepared_statements: Turn this off behind a pooler in transaction mode that does not keep
            them (PgBouncer before 1.21).
        statement_timeout_seconds: How long the server may take for one statement; None for what
            the server is set to.
        row_level_security: Let the database itself refuse rows of another user. The role must not
            be a superuser nor have BYPASSRLS, for which PostgreSQL makes an exception.
        exact_up_to: Removed: every user is searched in RAM, whatever the number of memories.
    """

    pool: ConnectionPool[psycopg.Connection[Any]] | Any | None = None
    async_pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] | None = None
    schema: str = DEFAULT_SCHEMA
    max_connections: int = 10
    prepared_statements: bool = True
    statement_timeout_seconds: float | None = None
    row_level_security: bool = False
    exact_up_to: None = None

    def __post_init__(self) -> None:
        _check_schema(self.schema)
        _check_pools(self.pool, self.async_pool)
        if not isinstance(self.max_connections, int) or self.max_connections < 1:
            raise ConfigurationError("max_connections must be a whole number of at least 1.")
        if self.exact_up_to is not None:
            raise ConfigurationError(
                "exact_up_to was removed: every user is searched in RAM. Leave it out, and bound "
                "the RAM with cache_megabytes of KronvexMemory."
            )
        timeout = self.statement_timeout_seconds
        is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
        if timeout is not None and not (is_number and 0 < timeout < 1e6):
            raise ConfigurationError("statement_timeout_seconds must be a positive number.")


def _check_schema(name: object) -> None:
    try:
        size = len(name.encode()) if isinstance(name, str) and "\0" not in name else 0
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= _MAX_IDENTIFIER_BYTES:
        raise ConfigurationError("schema must be a name of 1 to 63 bytes.")
    if str(name).startswith("pg_"):
        raise ConfigurationError('schema must not begin with "pg_": PostgreSQL keeps these names.')


def _check_pools(pool: object, async_pool: object) -> None:
    lends = getattr(pool, "raw_connection", None) or getattr(pool, "connection", None)
    if pool is not None and (not callable(lends) or _is_async(pool)):
        raise ConfigurationError(
            "pool must be a psycopg_pool.ConnectionPool or an SQLAlchemy engine, not "
            f"{type(pool).__name__}; an AsyncConnectionPool goes into async_pool."
        )
    if async_pool is not None and not inspect.iscoroutinefunction(
        getattr(async_pool, "getconn", None)  # which an asynchronous engine has not
    ):
        raise ConfigurationError(
            "async_pool must be a psycopg_pool.AsyncConnectionPool, not "
            f"{type(async_pool).__name__}."
        )


def _is_async(pool: object) -> bool:
    verbs = (getattr(pool, name, None) for name in ("raw_connection", "getconn"))
    return any(inspect.iscoroutinefunction(verb) for verb in verbs)


def settings_of(
    options: PostgresOptions,
    reach: tuple[str, ...] | None,
    *,
    limited: bool,
    patience_seconds: float | None,
) -> Mapping[str, str]:
    """Return what holds for one transaction alone: its reach, and how long it may take.

    Args:
        options: Of the store.
        reach: Scopes; None for all.
        limited: Row-level security is on.
        patience_seconds: How long to wait for another worker's lock; None where none is needed.
    """
    settings: dict[str, str] = {}
    if limited:
        settings[REACH] = "*" if reach is None else ",".join(reach)
    if patience_seconds is not None:
        settings["lock_timeout"] = milliseconds(patience_seconds)
    if options.statement_timeout_seconds is not None:
        settings["statement_timeout"] = milliseconds(options.statement_timeout_seconds)
    return settings


def milliseconds(seconds: float) -> str:
    """Return a time as PostgreSQL's settings take it: never 0, which means without end."""
    return str(min(max(round(seconds * 1000), 1), 2**31 - 1))
