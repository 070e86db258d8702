"""Other processes that consolidate the same store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.crew import Crew


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
