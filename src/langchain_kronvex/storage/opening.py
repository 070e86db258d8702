"""From a URL to an open backend."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from langchain_kronvex.core.config.settings import PostgresOptions, Settings
from langchain_kronvex.core.config.urls import conninfo, is_postgres, is_remote, sqlite_path
from langchain_kronvex.core.errors import ConfigurationError, NotSupported, StoreUnavailable
from langchain_kronvex.core.options import needing
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.read_only import read_only

if TYPE_CHECKING:
    from langchain_kronvex.storage.postgres.backend import PostgresBackend


def open_backend(url: str, agent_id: str, settings: Settings) -> MemoryBackend:
    """Open the backend that a URL names.

    Raises:
        ConfigurationError: no backend of this version understands the URL, or an option does
            not apply to it.
        NotSupported: a retention for a server.
        StoreError: the place cannot be opened.
    """
    _refuse_unused(url, settings)
    backend = _backend(url, agent_id, settings)
    return read_only(backend) if settings.read_only else backend


def _backend(url: str, agent_id: str, settings: Settings) -> MemoryBackend:
    if is_remote(url):
        from langchain_kronvex.storage.rest.opening import open_service

        return open_service(url, agent_id, settings)
    if is_postgres(url):
        return _postgres()(conninfo(url), agent_id, settings)
    path = sqlite_path(url)
    from langchain_kronvex.storage.sqlite.backend import SqliteBackend

    return SqliteBackend(path, agent_id, settings)


def _refuse_unused(url: str, settings: Settings) -> None:
    """Refuse settings that this kind of store does not read."""
    names = [] if is_postgres(url) else ["postgres"]
    names += [] if is_remote(url) else ["http_client", "outbox", "allow_http"]
    if unused := [name for name in names if getattr(settings, name)]:
        raise ConfigurationError(
            f"{' and '.join(unused)}: of no use with this URL. Leave it out, or check the URL: "
            "postgres goes with postgresql://, the others with a Kronvex API."
        )
    if is_remote(url) and settings.retention is not None:
        raise NotSupported(
            "retention needs a store of its own, sqlite:///path.db or postgresql://…: a Kronvex "
            "API does not say when a memory was last recalled. Leave it out."
        )


def require_store(url: str, postgres: PostgresOptions | None = None) -> None:
    """Check that a URL names a store that exists, for commands that must not create one.

    It creates nothing. A Kronvex API passes: whether it is there shows when it is asked.

    Raises:
        StoreUnavailable: there is no store, or it cannot be reached.
        ConfigurationError: no backend of this version understands the URL.
    """
    if is_remote(url):
        return
    if is_postgres(url):
        options = postgres or PostgresOptions()
        exists = _postgres().exists(conninfo(url), options, timeout=10.0)
        place = f"The schema {options.schema} of the database"
    else:
        path = sqlite_path(url)
        if path is not None and path.is_dir():
            raise StoreUnavailable(f"{path} is a folder. Name a file in it: {url}/memory.db")
        exists = path is None or (os.path.isfile(path) and os.path.getsize(path) > 0)
        place = str(path)
    if not exists:
        raise StoreUnavailable(
            f"{place} holds no store. Check the URL; the first memory that is stored creates one."
        )


def _postgres() -> type[PostgresBackend]:
    with needing("PostgreSQL needs psycopg and its pool", extra="postgres"):
        from langchain_kronvex.storage.postgres.backend import PostgresBackend
    return PostgresBackend
