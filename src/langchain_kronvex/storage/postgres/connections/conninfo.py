"""Where a database is, told without its password, and how connections to it are kept alive."""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.postgres.options import PostgresOptions

_CONNECTING_SECONDS = 10.0
_UNREADABLE = (
    "The URL cannot be read as that of a PostgreSQL database. Write "
    "postgresql://user:password@host:5432/database, and any of @ / % : # ? inside the user or the "
    "password as urllib.parse.quote(…, safe='') does."
)


def location_of(conninfo: str, options: PostgresOptions) -> str:
    """Return the URL of a database, without the password.

    Raises:
        ConfigurationError: the URL cannot be read.
    """
    pool = options.pool if options.pool is not None else options.async_pool
    if pool is not None and not conninfo:
        return _location_of_pool(pool)
    before_query = conninfo.partition("?")[0].removeprefix("postgresql://")
    authority, _, path = before_query.partition("/")
    if authority.count("@") > 1 or "@" in path:
        raise ConfigurationError(_UNREADABLE)  # part of the password would pass for the host
    return _told(_parts(conninfo))


def _location_of_pool(pool: Any) -> str:
    url = getattr(pool, "url", None)  # of an engine
    if url is not None:
        names = {"user": "username", "host": "host", "port": "port", "dbname": "database"}
        return _told({ours: getattr(url, theirs, None) for ours, theirs in names.items()})
    conninfo, kwargs = getattr(pool, "conninfo", None), getattr(pool, "kwargs", None)
    if not isinstance(conninfo, str) or not isinstance(kwargs, dict | None):
        return "postgresql://"
    return _told({**_parts(conninfo), **(kwargs or {})})


def _parts(conninfo: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(conninfo))
    except psycopg.ProgrammingError:
        raise ConfigurationError(_UNREADABLE) from None  # the driver's error quotes the password


def _told(parts: dict[str, Any]) -> str:
    if not any(parts.get(name) for name in ("user", "host", "hostaddr", "dbname")):
        return "postgresql://"
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    host = str(parts.get("host") or parts.get("hostaddr") or "")
    return f"postgresql://{user}{host}{port}/{parts.get('dbname') or ''}"


def connecting(conninfo: str, timeout_seconds: float) -> dict[str, Any]:
    """Return how to connect, as far as a URL and the environment leave it open.

    A server that has vanished without a word is noticed, instead of being waited for.
    """
    told = _parts(conninfo)
    wanted = {
        "connect_timeout": int(max(min(timeout_seconds, _CONNECTING_SECONDS), 2)),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": int(max(timeout_seconds, 2) * 1000),
        "fallback_application_name": "langchain-kronvex",
        "client_encoding": "utf8",
    }
    if "PGCONNECT_TIMEOUT" in os.environ:
        told["connect_timeout"] = ""
    return {name: value for name, value in wanted.items() if name not in told}
