"""Where memories are kept: from arguments and environment to an open backend."""

from __future__ import annotations

import os
from pathlib import Path

from langchain_kronvex.core.errors import ConfigurationError, MissingExtra
from langchain_kronvex.core.validation import check_id
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.options import PostgresOptions, ServiceOptions

HOSTED_URL = "https://api.kronvex.io"
_KNOWN = (
    "sqlite:///path/to/memory.db for a file, sqlite:// for this process's memory only, "
    "postgresql://user:password@host/database, or https:// for a Kronvex API"
)
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


def resolve_url(url: str | None, api_key: object, postgres: PostgresOptions | None = None) -> str:
    """Return the URL: the argument, else that of a pool of the user's, else KRONVEX_URL, else the
    hosted service when there is an API key (KRONVEX_BASE_URL moves it), else a file in the user's
    data folder.
    """
    if url is None and postgres is not None and postgres.pool is not None:
        return "postgresql://"
    if url is None:
        url = os.environ.get("KRONVEX_URL") or None
    if url is None and (api_key or os.environ.get("KRONVEX_API_KEY")):
        url = os.environ.get("KRONVEX_BASE_URL") or HOSTED_URL
    return default_url() if url is None else url


def default_url() -> str:
    """Return the URL of the default file. It never depends on the current directory."""
    from platformdirs import user_data_path

    return f"sqlite:///{user_data_path('langchain-kronvex', appauthor=False) / 'memory.db'}"


def resolve_agent_id(agent_id: str | None) -> str:
    """Return the agent: the argument, else KRONVEX_AGENT_ID, else "default"."""
    if agent_id is None:
        agent_id = os.environ.get("KRONVEX_AGENT_ID") or "default"
    return check_id(agent_id, "agent_id")


def open_backend(
    url: str,
    agent_id: str,
    *,
    timeout: float,
    cache_bytes: int,
    service: ServiceOptions | None = None,
    postgres: PostgresOptions | None = None,
) -> MemoryBackend:
    """Open the backend that a URL names.

    Raises:
        ConfigurationError: no backend of this version understands the URL.
        StoreError: the place cannot be opened.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"url must be a string, not {type(url).__name__}: {_KNOWN}.")
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and separator:
        from langchain_kronvex.storage.sqlite.backend import SqliteBackend

        path = _sqlite_path(rest)
        return SqliteBackend(path, agent_id, timeout=timeout, cache_bytes=cache_bytes)
    if is_remote(url):
        from langchain_kronvex.storage.rest.opening import open_service

        return open_service(url, agent_id, service or ServiceOptions(), timeout=timeout)
    if is_postgres(url):
        return _postgres(url, agent_id, postgres, timeout=timeout, cache_bytes=cache_bytes)
    # Without a separator all of it is in `scheme`, perhaps a password, too.
    named = repr(scheme) if separator else "This"
    raise ConfigurationError(f"{named} is not a URL that this package can open. Use {_KNOWN}.")


def is_remote(url: object) -> bool:
    """Return whether a URL names a Kronvex API."""
    scheme, separator, _ = url.partition("://") if isinstance(url, str) else ("", "", "")
    return bool(separator) and scheme.lower() in ("http", "https")


def is_postgres(url: object) -> bool:
    """Return whether a URL names a PostgreSQL database."""
    scheme, separator, _ = url.partition("://") if isinstance(url, str) else ("", "", "")
    return bool(separator) and scheme in _POSTGRES


def _postgres(
    url: str, agent_id: str, options: PostgresOptions | None, *, timeout: float, cache_bytes: int
) -> MemoryBackend:
    try:
        from langchain_kronvex.storage.postgres.backend import PostgresBackend
    except ImportError as error:
        raise MissingExtra(
            "PostgreSQL needs psycopg and its pool: pip install 'langchain-kronvex[postgres]'"
        ) from error
    _, _, rest = url.partition("://")
    return PostgresBackend(
        f"postgresql://{rest}" if rest else "",
        agent_id,
        options or PostgresOptions(),
        timeout=timeout,
        cache_bytes=cache_bytes,
    )


def _sqlite_path(rest: str) -> Path | None:
    """Read what follows `sqlite://`, as SQLAlchemy does: /relative, //absolute, or nothing."""
    if rest in ("", "/", "/:memory:"):
        return None
    if not rest.startswith("/"):
        raise ConfigurationError(
            f"sqlite://{rest} names a host; write sqlite:///{rest} for a relative path."
        )
    return Path(rest[1:]).expanduser().absolute()
