"""Where memories are kept: from arguments and environment to an open backend."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_kronvex.core.errors import ConfigurationError, NotSupported, StoreUnavailable
from langchain_kronvex.core.options import needing
from langchain_kronvex.core.validation import check_id
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.options import PostgresOptions, Settings
from langchain_kronvex.storage.read_only import read_only

if TYPE_CHECKING:
    from langchain_kronvex.storage.postgres.backend import PostgresBackend

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
    return url_and_reason(url, api_key, postgres)[0]


def url_and_reason(
    url: str | None, api_key: object = None, postgres: PostgresOptions | None = None
) -> tuple[str, str]:
    """Return the URL as `resolve_url` does, and what has decided it."""
    if url is not None:
        return url, "the argument"
    if postgres is not None and postgres.pool is not None:
        return "postgresql://", "the pool"
    if named := os.environ.get("KRONVEX_URL"):
        return named, "KRONVEX_URL"
    if not api_key and not os.environ.get("KRONVEX_API_KEY"):
        return default_url(), "the default, since neither KRONVEX_URL nor KRONVEX_API_KEY is set"
    if moved := os.environ.get("KRONVEX_BASE_URL"):
        return moved, "KRONVEX_BASE_URL, since there is an API key"
    return HOSTED_URL, "the hosted service, since there is an API key and no KRONVEX_URL"


def default_url() -> str:
    """Return the URL of the default file. It never depends on the current directory."""
    from platformdirs import user_data_path

    return f"sqlite:///{user_data_path('langchain-kronvex', appauthor=False) / 'memory.db'}"


def resolve_agent_id(agent_id: str | None) -> str:
    """Return the agent: the argument, else KRONVEX_AGENT_ID, else "default"."""
    if agent_id is None:
        agent_id = os.environ.get("KRONVEX_AGENT_ID") or "default"
    return check_id(agent_id, "agent_id")


def open_backend(url: str, agent_id: str, settings: Settings) -> MemoryBackend:
    """Open the backend that a URL names.

    Raises:
        ConfigurationError: no backend of this version understands the URL, or an option is of no
            use with it.
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


def is_remote(url: object) -> bool:
    """Return whether a URL names a Kronvex API."""
    return _scheme(url).lower() in ("http", "https")


def is_postgres(url: object) -> bool:
    """Return whether a URL names a PostgreSQL database."""
    return _scheme(url) in _POSTGRES


@lru_cache(1024)
def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _scheme(url: object) -> str:
    """Return what stands before `://`, or "" without it."""
    return url.partition("://")[0] if isinstance(url, str) and "://" in url else ""


def _postgres() -> type[PostgresBackend]:
    with needing("PostgreSQL needs psycopg and its pool", extra="postgres"):
        from langchain_kronvex.storage.postgres.backend import PostgresBackend
    return PostgresBackend


def conninfo(url: str) -> str:
    """Return the connection string of a PostgreSQL URL; "" if it names nothing."""
    rest = url.partition("://")[2]
    return f"postgresql://{rest}" if rest else ""


def sqlite_path(url: object) -> Path | None:
    """Read a SQLite URL as SQLAlchemy does: /relative, //absolute, or nothing.

    Raises:
        ConfigurationError: it is not a SQLite URL.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"url must be a string, not {type(url).__name__}: {_KNOWN}.")
    scheme = _scheme(url)
    if scheme != "sqlite":
        # Without a scheme, all of it may be a password.
        named = repr(scheme) if scheme else "This"
        raise ConfigurationError(f"{named} is not a URL that this package can open. Use {_KNOWN}.")
    rest = url.removeprefix("sqlite://")
    if rest in ("", "/", "/:memory:"):
        return None
    if not rest.startswith("/"):
        raise ConfigurationError(
            f"sqlite://{rest} names a host; write sqlite:///{rest} for a relative path."
        )
    if "?" in rest or "\0" in rest:
        raise ConfigurationError(
            "The path of a SQLite URL must have no ? and no NUL: parameters are not read. Pass "
            "settings to KronvexMemory, such as timeout_seconds."
        )
    return Path(rest[1:]).expanduser().absolute()
