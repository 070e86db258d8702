"""Users with very many memories, as the tests of PostgreSQL make them: hundreds are many there."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_kronvex import KronvexMemory, MemoryDraft
from langchain_kronvex.storage.postgres.large_owners import search as postgres_huge

WORKLOAD = Path(__file__).parents[2] / "benchmarks" / "workload.py"
PATIENCE = 60.0

postgres_huge._LOOK_AGAIN_SECONDS = 0.0  # so that no test waits to see what has been made


def workload() -> Any:
    """Synthetic conversations of one user, and questions."""
    return runpy.run_path(str(WORKLOAD))["Workload"]()


def drafts(count: int, user: str = "ana", start: int = 0) -> list[MemoryDraft]:
    """Return what a user remembers: turns of two speakers in sessions of 20."""
    found = list(workload().drafts(start + count))[start:]
    return [replace(draft, user_id=user) for draft in found]


def backend(memory: KronvexMemory) -> Any:
    return memory._backend


def made(memory: KronvexMemory) -> bool:
    """Wait until the indexes that this worker makes are made; False if that takes too long."""
    maker = backend(memory)._maker
    return maker is None or bool(maker.join(PATIENCE))


def is_huge(memory: KronvexMemory, user: str) -> bool:
    """Tell whether a user was last searched in the database."""
    return bool(backend(memory)._huge.knows(user))


def prepared(memory: KronvexMemory, *users: str) -> KronvexMemory:
    """Return a memory that searches these users in the database."""
    for user in users:
        memory.recall("first", user_id=user)
        assert made(memory)
        memory.recall("second", user_id=user)
        assert is_huge(memory, user)
    return memory
