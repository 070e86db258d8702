"""Reads the URL of a store and the name of the agent from arguments and environment."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from langchain_kronvex.core.config.settings import PostgresOptions
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.validation import check_id

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
