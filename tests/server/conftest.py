"""One server without keys for most tests; each test uses its own agents."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import ServerSettings, create_app

from .running import Process, client, serving

# Schemathesis does not run on Python 3.10.
collect_ignore = ["test_schemathesis.py"] if sys.version_info < (3, 11) else []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server of the command line, without keys."""
    folder = tmp_path_factory.mktemp("server")
    process = Process(f"sqlite:///{folder / 'memory.db'}", folder / "log")
    yield process
    assert process.stop() == 0
    assert "Traceback" not in process.log


@pytest.fixture
def api(server: Process) -> Iterator[httpx.Client]:
    with client(server.base_url) as opened:
        yield opened


@pytest.fixture
def agent() -> str:
    """The readable name of an unused agent."""
    return f"agent-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def serve(store_url: str) -> Iterator[Callable[..., str]]:
    """Serve the test's store with the settings given; return the base URL."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**settings: Any) -> str:
            memory = stack.enter_context(KronvexMemory(store_url))
            app = create_app(memory, ServerSettings(**settings))
            return stack.enter_context(serving(app))

        yield start


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "server.log"
