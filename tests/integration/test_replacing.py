"""Records replaced by their keys, in the file: it stays small and keeps no old bytes."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from pathlib import Path

import pytest

from inside import Page, Record, Replacement, Scope, Selection
from langchain_kronvex import KronvexMemory

from .parts import files_with

NOW = datetime(2026, 4, 28, tzinfo=timezone.utc)
DESK = Scope("desk", "drawer")


def put(memory: KronvexMemory, key: str, content: str, **more: object) -> None:
    record = Record(
        kind="item", id=uuid.uuid4().hex, scope=DESK, key=key, type="note", content=content,
        created_at=NOW, **more,
    )  # fmt: skip
    assert memory.engine.backend.put(Replacement([record]), NOW)


def test_thousands_of_puts_of_one_key_leave_a_small_file(memory: KronvexMemory) -> None:
    text = "x" * 20_000
    for number in range(1500):
        put(memory, "counter", f"{number} {text}")
    after_some = memory.stats().size_bytes
    for number in range(1500):
        put(memory, "counter", f"{number} {text}")

    assert memory.stats().size_bytes < 1.5 * after_some
    assert after_some < 10_000_000  # the write-ahead log, of 30,000,000 characters


@pytest.mark.parametrize("way", ["delete", "clear"])
def test_no_byte_of_any_version_is_left(memory: KronvexMemory, tmp_path: Path, way: str) -> None:
    words = [f"w{uuid.uuid4().hex[:16]}" for _ in range(40)]
    for word in words:
        put(memory, "secret", word, metadata={word: word}, search_text=f"by {word}")
    put(memory, "other", "stays")
    assert files_with(tmp_path, words[-1])

    if way == "delete":
        chosen = Selection(kind="item", scope=DESK, keys=("secret",))
        assert memory.engine.backend.delete(chosen, NOW) == 1
        found = memory.engine.backend.find(Selection(kind="item", scope=DESK), Page(), NOW)
        assert [record.content for record in found] == ["stays"]
    else:
        assert memory.clear() == 2
    assert files_with(tmp_path, *words) == []
