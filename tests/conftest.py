"""What every test shares: no settings from outside, and memories that are always closed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_kronvex import KronvexMemory

OpenMemory = Callable[..., KronvexMemory]


def pytest_sessionfinish() -> None:
    databases = sys.modules.get("databases")  # if any test asked for one
    if databases is not None:
        databases.DATABASES.end()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("URL", "API_KEY", "AGENT_ID", "BASE_URL"):
        monkeypatch.delenv(f"KRONVEX_{name}", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """The URL of a store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'memory.db'}"


@pytest.fixture
def open_memory(store_url: str) -> Iterator[OpenMemory]:
    """Opens memories, on one and the same store unless told otherwise, and closes them all."""
    opened: list[KronvexMemory] = []

    def open_(url: str = store_url, **options: Any) -> KronvexMemory:
        opened.append(KronvexMemory(url, **options))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(open_memory: OpenMemory) -> KronvexMemory:
    """An empty memory in a real file."""
    return open_memory()
