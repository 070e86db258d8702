"""`start_ttl_sweeper` and `sweep_ttl` remove expired items from the file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from integration.parts import files_with
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenStore = Callable[..., KronvexStore]
A = ("a",)
WORD = "w0123456789abcdef"


def test_starting_the_sweeper_removes_expired_items_once(
    open_store: OpenStore, clock: Clock, tmp_path: Path
) -> None:
    store = open_store(ttl={"sweep_interval_minutes": 60})
    store.put(A, "k", {"v": WORD}, ttl=1)
    store.put(A, "l", {"v": 1}, ttl=10)
    clock.advance(minutes=2)

    assert store.start_ttl_sweeper().result(timeout=0) is None
    assert store.sweep_ttl() == 0
    assert [item.key for item in store.search(A)] == ["l"]
    assert store.stop_ttl_sweeper() is True
    store.delete(A, "l")
    store.memory.flush()
    assert files_with(tmp_path, WORD) == []


def test_without_a_ttl_config_nothing_is_swept(open_store: OpenStore, clock: Clock) -> None:
    store = open_store()
    store.put(A, "k", {"v": 1}, ttl=1)
    clock.advance(minutes=2)

    assert store.start_ttl_sweeper().result(timeout=0) is None
    assert store.sweep_ttl() == 1


async def test_the_async_versions(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(ttl={"sweep_interval_minutes": 60})
    store.put(A, "k", {"v": 1}, ttl=1)
    clock.advance(minutes=2)

    assert await store.asweep_ttl() == 1
    assert (await store.astart_ttl_sweeper(60)).done()
    assert await store.astop_ttl_sweeper(5) is True
    for name in ("start_ttl_sweeper", "stop_ttl_sweeper", "sweep_ttl"):
        both = (getattr(KronvexStore, name), getattr(KronvexStore, "a" + name))
        assert len({str(inspect.signature(each)) for each in both}) == 1
