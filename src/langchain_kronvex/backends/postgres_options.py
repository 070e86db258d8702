"""How a PostgreSQL store is reached; checked before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_kronvex.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

DEFAULT_SCHEMA = "langchain_kronvex"
_MAX_IDENTIFIER_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """How a PostgreSQL store is reached, for `KronvexMemory(postgres=…)`.

    Attributes:
        pool: A `psycopg_pool.ConnectionPool` of yours, or an SQLAlchemy engine of the psycopg
            dialect. It is used and never closed. Without it the memory keeps a pool of its own.
        async_pool: An open `psycopg_pool.AsyncConnectionPool` of yours, for the `a…` twins in the
            event loop that it belongs to. Without it there is a pool for each event loop.
        schema: Where the tables are; made when it is not there.
        max_connections: Of each pool of our own.
        prepared_statements: Turn this off behind a pooler in transaction mode that does not keep
            them (PgBouncer before 1.21).
        statement_timeout_seconds: How long the server may take for one statement; None for what
            the server is set to.
        row_level_security: Let the database itself refuse rows of another user. The role must not
            be a superuser nor have BYPASSRLS, for which PostgreSQL makes an exception.
    """

    pool: ConnectionPool[psycopg.Connection[Any]] | Any | None = None
    async_pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] | None = None
    schema: str = DEFAULT_SCHEMA
    max_connections: int = 10
    prepared_statements: bool = True
    statement_timeout_seconds: float | None = None
    row_level_security: bool = False

    def __post_init__(self) -> None:
        name = self.schema
        if (
            not isinstance(name, str)
            or not name
            or "\0" in name
            or len(name.encode(errors="replace")) > _MAX_IDENTIFIER_BYTES
        ):
            raise ConfigurationError("schema must be a name of 1 to 63 bytes.")
        if not isinstance(self.max_connections, int) or self.max_connections < 1:
            raise ConfigurationError("max_connections must be a whole number of at least 1.")
        timeout = self.statement_timeout_seconds
        if timeout is not None and not 0 < timeout < 1e6:
            raise ConfigurationError("statement_timeout_seconds must be a positive number.")


def settings_of(
    options: PostgresOptions, reach: tuple[str, ...] | None, *, limited: bool
) -> Mapping[str, str]:
    """Return what holds for one transaction alone: its reach, and how long a statement may take.

    Args:
        options: Of the store.
        reach: Scopes; None for all.
        limited: Row-level security is on.
    """
    settings: dict[str, str] = {}
    if limited:
        settings["langchain_kronvex.reach"] = "*" if reach is None else ",".join(reach)
    if options.statement_timeout_seconds is not None:
        settings["statement_timeout"] = str(max(round(options.statement_timeout_seconds * 1000), 1))
    return settings
