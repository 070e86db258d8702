"""How a store is reached: options of users, checked before anything is opened."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.background import OnError
from langchain_kronvex.core.errors import ConfigurationError, InvalidInput
from langchain_kronvex.core.types import Retention
from langchain_kronvex.core.validation import is_text

if TYPE_CHECKING:
    import httpx
    import psycopg
    from langchain_core.cross_encoders import BaseCrossEncoder
    from langchain_core.documents.compressor import BaseDocumentCompressor
    from psycopg_pool import ConnectionPool

DEFAULT_SCHEMA = "langchain_kronvex"
_MAX_IDENTIFIER_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """How a PostgreSQL store is reached, for `KronvexMemory(postgres=…)`.

    Attributes:
        pool: An open `psycopg_pool.ConnectionPool` of yours. It is used and never closed. Without
            it, all memories of this process that open the same database share a pool of ours.
        async_pool: Removed: the `a…` verbs run in threads and use `pool`.
        schema: Where the tables are; made when it is not there.
        max_connections: The most connections of our own pool.
        prepared_statements: Turn this off behind a pooler in transaction mode that does not keep
            them (PgBouncer before 1.21).
        statement_timeout_seconds: How long the server may take for one statement; None for what
            the server is set to.
        row_level_security: Let the database itself refuse rows of another user. The role must not
            be a superuser nor have BYPASSRLS, for which PostgreSQL makes an exception.
        exact_up_to: Removed: every user is searched in RAM, whatever the number of memories.
    """

    pool: ConnectionPool[psycopg.Connection[Any]] | None = None
    async_pool: None = None
    schema: str = DEFAULT_SCHEMA
    max_connections: int = 10
    prepared_statements: bool = True
    statement_timeout_seconds: float | None = None
    row_level_security: bool = False
    exact_up_to: None = None

    def __post_init__(self) -> None:
        _check_schema(self.schema)
        _check_pool(self.pool)
        if self.async_pool is not None:
            raise ConfigurationError(
                "async_pool was removed: the a… verbs run in threads. Pass an open "
                "psycopg_pool.ConnectionPool as pool."
            )
        with _as_configuration():
            checks.check_count(self.max_connections, "max_connections", least=1)
            if (seconds := self.statement_timeout_seconds) is not None:
                checks.check_seconds(seconds, "statement_timeout_seconds", least=1e-3)
        if self.exact_up_to is not None:
            raise ConfigurationError(
                "exact_up_to was removed: every user is searched in RAM. Leave it out, and bound "
                "the RAM with cache_megabytes of KronvexMemory."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a memory other than its URL, agent and embeddings; see `KronvexMemory`.

    `storage/opening.py` refuses those that its URL has no use for.
    """

    api_key: SecretStr | None = field(default=None, repr=False)
    before_save: Callable[[str], str | None] | None = None
    on_error: OnError | None = None
    rerank: BaseCrossEncoder | BaseDocumentCompressor | None = None
    timeout_seconds: float = 30.0
    cache_megabytes: int = 256
    max_threads: int = 32
    http_client: httpx.Client | None = None
    outbox: str | Path | None = None
    allow_http: bool = False
    postgres: PostgresOptions | None = None
    retention: Retention | None = None
    read_only: bool = False
    clock: Callable[[], datetime] | None = None

    def __post_init__(self) -> None:
        with _as_configuration():
            checks.check_seconds(self.timeout_seconds, "timeout_seconds")
            checks.check_count(self.cache_megabytes, "cache_megabytes", least=0)
            checks.check_count(self.max_threads, "max_threads", least=1)
            checks.check_flag(self.allow_http, "allow_http")
            checks.check_flag(self.read_only, "read_only")
        is_async = inspect.iscoroutinefunction(self.before_save)
        if self.before_save is not None and (is_async or not callable(self.before_save)):
            raise ConfigurationError(
                "before_save must be a function, and no async one, that takes a text and returns "
                "the text to store, or None to refuse it."
            )
        can_rerank = any(
            callable(getattr(self.rerank, name, None)) for name in ("score", "compress_documents")
        )
        if self.rerank is not None and not can_rerank:
            raise ConfigurationError(
                "rerank must be a cross-encoder of LangChain (it has a method score) or a document "
                f"compressor (compress_documents), not {type(self.rerank).__name__}."
            )
        if self.on_error is not None and not callable(self.on_error):
            raise ConfigurationError(
                "on_error of KronvexMemory must be a function that takes an exception. "
                '"raise" is an option of with_memory and KronvexMemoryContext.'
            )
        if not isinstance(self.outbox, str | PathLike | None):
            raise ConfigurationError("outbox must be the path of a file or a folder.")
        if not isinstance(self.postgres, PostgresOptions | None):
            raise ConfigurationError("postgres must be PostgresOptions(…).")
        if not isinstance(self.retention, Retention | None):
            raise ConfigurationError("retention must be Retention(…).")
        now = self.clock() if callable(self.clock) else None
        is_aware = isinstance(now, datetime) and now.utcoffset() is not None
        if self.clock is not None and not is_aware:
            raise ConfigurationError(
                "clock must be a function that returns the time with its time zone, such as "
                "lambda: datetime.now(timezone.utc)."
            )


@contextmanager
def _as_configuration() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise ConfigurationError(str(error)) from None


def _check_schema(name: object) -> None:
    size = len(name.encode()) if is_text(name) and "\0" not in name else 0
    if not 1 <= size <= _MAX_IDENTIFIER_BYTES:
        raise ConfigurationError("schema must be a name of 1 to 63 bytes.")
    if str(name).startswith("pg_"):
        raise ConfigurationError('schema must not begin with "pg_": PostgreSQL keeps these names.')


def _check_pool(pool: object) -> None:
    is_async = inspect.iscoroutinefunction(getattr(pool, "getconn", None))
    if pool is not None and (is_async or not callable(getattr(pool, "connection", None))):
        raise ConfigurationError(
            f"pool must be a psycopg_pool.ConnectionPool, not {type(pool).__name__}."
        )
