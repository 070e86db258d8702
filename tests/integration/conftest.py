"""The crew: other processes, for tests that share a store, or kill who writes to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from inside import snapshot_keeping

from .crew import Crew


@pytest.fixture(scope="session")
def _warm_crew() -> Iterator[Crew]:
    if sys.platform == "win32":
        pytest.skip("needs fork and SIGKILL")
    with Crew() as crew:
        yield crew


@pytest.fixture
def crew(_warm_crew: Crew) -> Iterator[Crew]:
    """Starts child processes; those still alive at the end are killed."""
    yield _warm_crew
    _warm_crew.dismiss()


@pytest.fixture
def small_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every index have a snapshot, however small it is."""
    monkeypatch.setattr(snapshot_keeping, "_LEAST_MEMORIES", 1)
