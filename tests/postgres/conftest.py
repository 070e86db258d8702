"""What the tests of PostgreSQL share: an empty database for each, and a server to be rough with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from databases import DATABASES
from integration.crew import Crew
from langchain_kronvex import KronvexMemory, PostgresOptions
from postgres.server import Server

OpenMemory = Callable[..., KronvexMemory]


@pytest.fixture
def store_url() -> str:
    """The URL of a database whose tables are empty."""
    return DATABASES.fresh()


@pytest.fixture
def sql(store_url: str) -> Iterator[Callable[..., list[Any]]]:
    """Runs a statement beside the memory's back; returns its rows."""
    with psycopg.connect(store_url, autocommit=True) as connection:

        def run(statement: str, *parameters: Any) -> list[Any]:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def open_with(open_memory: OpenMemory) -> OpenMemory:
    """Opens memories with options of PostgreSQL."""

    def open_(*url: str, **options: Any) -> KronvexMemory:
        return open_memory(*url, postgres=PostgresOptions(**options), timeout_seconds=10)

    return open_


@pytest.fixture(scope="session")
def _own_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


@pytest.fixture
def server(_own_server: Server) -> Server:
    """A server that may be stopped, as long as it runs again in the end."""
    return _own_server


@pytest.fixture(scope="session")
def _warm_crew() -> Iterator[Crew]:
    if sys.platform == "win32":
        pytest.skip("needs fork and SIGKILL")
    with Crew(Path(__file__).parent) as crew:
        yield crew


@pytest.fixture
def crew(_warm_crew: Crew) -> Iterator[Crew]:
    """Starts child processes; those still alive at the end are killed."""
    yield _warm_crew
    _warm_crew.dismiss()
