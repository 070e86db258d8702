"""A damaged vector is skipped, reported, and fetched anew; nothing else is missing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langchain_kronvex import KronvexMemory

OpenMemory = Callable[..., KronvexMemory]
WIDTH = 256  # of the bundled embeddings


def nan_in_one_place() -> bytes:
    vector = np.full(WIDTH, 1 / 16, "<f2")
    vector[7] = np.nan
    return vector.tobytes()


DAMAGES: dict[str, Any] = {
    "a NaN": nan_in_one_place(),
    "infinite": np.full(WIDTH, np.inf, "<f2").tobytes(),
    "too short": np.ones(8, "<f2").tobytes(),
    "too long": np.ones(WIDTH + 1, "<f2").tobytes(),
    "half a number": b"\0" * (2 * WIDTH - 1),
    "empty": b"",
    "text": "not a vector",
}


def damage(path: Path, vector: Any, condition: str) -> None:
    """Overwrite vectors as another program does, or a failing disk."""
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE records SET vector = ? WHERE {condition}", (vector,))
    connection.commit()
    connection.close()


def vectors(path: Path) -> list[bytes | None]:
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute("SELECT vector FROM records ORDER BY seq")]
    connection.close()
    return found


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("condition", ["content LIKE '%peanuts%'", "TRUE"], ids=["one", "all"])
def test_a_damaged_vector_is_skipped_reported_and_fetched_anew(
    kind: str, condition: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, errors = tmp_path / "memory.db", []
    with KronvexMemory(f"sqlite:///{path}") as memory:
        memory.remember("Ana is allergic to peanuts.", user_id="ana")
        memory.remember("Ana lives in Porto.", user_id="ana")
    whole = vectors(path)
    damage(path, DAMAGES[kind], condition)
    with KronvexMemory(f"sqlite:///{path}", on_error=errors.append) as memory:
        found = memory.recall("Which city does Ana live in, Porto?", user_id="ana")
        assert {m.content for m in found} == {"Ana is allergic to peanuts.", "Ana lives in Porto."}
        assert "are damaged" in caplog.text
        assert "peanuts" not in caplog.text
        assert len(errors) == 1
        assert "are damaged" in str(memory.stats().last_error)
        memory.recall("peanuts", user_id="ana")
        assert len(errors) == 1  # said once
        end = time.monotonic() + 20
        while memory.stats().unembedded and time.monotonic() < end:
            time.sleep(0.05)
    assert vectors(path) == whole


def test_a_report_may_use_the_memory(tmp_path: Path) -> None:
    path, seen = tmp_path / "memory.db", []
    with KronvexMemory(f"sqlite:///{path}") as memory:
        memory.remember("Ana is allergic to peanuts.", user_id="ana")
    damage(path, DAMAGES["too short"], "TRUE")

    def look(_: Exception) -> None:
        seen.append(memory.recall("peanuts", user_id="ana"))

    memory = KronvexMemory(f"sqlite:///{path}", on_error=look)
    assert memory.recall("peanuts", user_id="ana")
    assert len(seen) == 1
    memory.close()


def test_an_export_leaves_a_damaged_vector_out(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with KronvexMemory(f"sqlite:///{path}") as memory:
        memory.remember("Ana is allergic to peanuts.", user_id="ana")
    damage(path, DAMAGES["a NaN"], "TRUE")
    with KronvexMemory(f"sqlite:///{path}") as memory, KronvexMemory("sqlite://") as other:
        memory.export(tmp_path / "all.jsonl", vectors=True)
        other.import_(tmp_path / "all.jsonl")
        assert other.recall("peanuts", user_id="ana")
