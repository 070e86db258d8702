"""Settings that cannot be used are refused by name when a memory is opened; nothing is made."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from langchain_kronvex import ConfigurationError, InvalidInput, KronvexMemory, PostgresOptions

UNUSABLE = [
    *(("timeout_seconds", value) for value in (-1, "x", None, True, float("nan"), float("inf"))),
    *(("cache_megabytes", value) for value in (-1, 1.5, "64", None, True)),
    *(("max_threads", value) for value in (0, -1, 2.5, "8", None)),
    *(("on_error", value) for value in ("raise", "ignore", 1)),
    *(("before_save", value) for value in ("redact", False, asyncio.sleep)),
    *(("rerank", value) for value in ("cross-encoder", sorted)),
    ("allow_http", "no"),
    *(("clock", value) for value in (datetime.now, lambda: None, "now", 5)),
    *(("outbox", value) for value in (5, b"outbox.db", ["outbox.db"])),
    *(("retention", value) for value in (10, {"max_memories": 10}, "ten")),
    *(("postgres", value) for value in ("schema", {"schema": "mine"})),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), UNUSABLE)
def test_a_setting_that_cannot_be_used_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises((ConfigurationError, InvalidInput), match=name):
        KronvexMemory(f"sqlite:///{tmp_path}/memory.db", **{name: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("postgres", PostgresOptions()),
        ("outbox", "outbox.db"),
        ("allow_http", True),
        ("http_client", httpx.Client()),
    ],
)
def test_a_setting_for_another_store_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: of no use"):
        KronvexMemory(f"sqlite:///{tmp_path}/memory.db", **{name: value})
    assert list(tmp_path.iterdir()) == []
    if name == "postgres":
        with pytest.raises(ConfigurationError, match="postgres: of no use"):
            KronvexMemory("https://api.kronvex.io", api_key="kv-x", postgres=value)


def test_settings_that_are_of_use_are_taken(tmp_path: Path) -> None:
    with KronvexMemory(
        f"sqlite:///{tmp_path}/memory.db",
        timeout_seconds=0,
        cache_megabytes=0,
        max_threads=1,
        on_error=print,
        clock=lambda: datetime.now(timezone.utc),
    ) as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
        assert memory.recall("tea", user_id="ana")
