"""The sweeper removes what has expired now and then, and ends when it should."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from integration.parts import files_with
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenStore = Callable[..., KronvexStore]
A = ("a",)
OFTEN = {"sweep_interval_minutes": 0.001}  # every 60 ms


class Swept:
    """Notes what a store's sweeps removed."""

    def __init__(self, store: KronvexStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: list[int] = []
        self.failures: list[Exception] = []
        self._changed = threading.Condition()
        purge = store.memory.engine.backend.purge

        def noting(*args: Any) -> int:
            with self._changed:
                self._changed.notify_all()
                if self.failures:
                    self.counts.append(-1)
                    raise self.failures.pop()
                self.counts.append(purge(*args))
                return self.counts[-1]

        monkeypatch.setattr(store.memory.engine.backend, "purge", noting)

    def until(self, condition: Callable[[], Any]) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, 30)


def sweepers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "langchain-kronvex-sweeper"]


@pytest.fixture
def store(open_store: OpenStore) -> KronvexStore:
    return open_store(ttl=OFTEN)


def test_what_has_expired_leaves_the_file(
    store: KronvexStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = Swept(store, monkeypatch)
    store.put(A, "k", {"v": "w0123456789abcdef"}, ttl=1)
    store.put(A, "l", {"v": 1}, ttl=10)
    clock.advance(minutes=2)
    future = store.start_ttl_sweeper()

    assert swept.until(lambda: 1 in swept.counts)
    assert [item.key for item in store.search(A)] == ["l"]
    assert not future.done()
    assert store.stop_ttl_sweeper() is True
    assert future.result(timeout=0) is None
    assert sweepers() == []
    store.delete(A, "l")
    store.memory.flush()
    assert files_with(tmp_path, "w0123456789abcdef") == []


def test_a_sweep_that_fails_does_not_end_it(
    store: KronvexStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    swept = Swept(store, monkeypatch)
    swept.failures.append(OSError("the disk is away"))
    store.start_ttl_sweeper()

    assert swept.until(lambda: len(swept.counts) >= 2)
    assert [r.name for r in caplog.records] == ["langchain_kronvex"]


def test_one_sweeper_at_a_time_which_can_be_started_anew(store: KronvexStore) -> None:
    future = store.start_ttl_sweeper()
    assert store.start_ttl_sweeper(7) is future
    assert len(sweepers()) == 1
    future.cancel()
    again = store.start_ttl_sweeper()
    assert again is not future
    with pytest.raises(CancelledError):
        future.result(timeout=0)
    assert store.stop_ttl_sweeper(timeout=30)
    assert again.done()
    assert store.stop_ttl_sweeper()
    assert not store.start_ttl_sweeper(60).done()


def test_closing_the_store_ends_it(store: KronvexStore) -> None:
    future = store.start_ttl_sweeper(60)
    store.close()

    assert future.result(timeout=0) is None
    assert sweepers() == []


def test_closing_the_memory_under_it_ends_it(store: KronvexStore) -> None:
    future = store.start_ttl_sweeper()
    store.memory.close()

    assert future.result(timeout=30) is None


def test_it_does_not_keep_the_store_alive(open_memory: Callable[..., KronvexMemory]) -> None:
    memory = open_memory()
    future = KronvexStore(memory, ttl=OFTEN).start_ttl_sweeper()
    gc.collect()

    assert future.result(timeout=30) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_none(store: KronvexStore) -> None:
    store.start_ttl_sweeper(60)
    child = os.fork()
    if child == 0:
        fine = store.stop_ttl_sweeper(timeout=5) and store.get(A, "k") is None
        os._exit(0 if fine else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(sweepers()) == 1


def test_without_lifetimes_nothing_is_swept(open_store: OpenStore) -> None:
    plain = open_store()

    assert plain.start_ttl_sweeper().result(timeout=0) is None
    assert sweepers() == []
    assert plain.stop_ttl_sweeper() is True


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "5", True, [1]])
def test_an_interval_that_does_not_fit_is_refused(store: KronvexStore, wrong: Any) -> None:
    with pytest.raises(ValueError, match="sweep_interval_minutes"):
        store.start_ttl_sweeper(wrong)
    assert sweepers() == []


async def test_the_twins(store: KronvexStore, clock: Clock) -> None:
    store.put(A, "k", {"v": 1}, ttl=1)
    clock.advance(minutes=2)
    future = await store.astart_ttl_sweeper(60)
    assert isinstance(future, Future)
    assert await store.asweep_ttl() == 1
    assert await store.astop_ttl_sweeper(5) is True
    await asyncio.wrap_future(future)
    for name in ("start_ttl_sweeper", "stop_ttl_sweeper", "sweep_ttl"):
        twins = (getattr(KronvexStore, name), getattr(KronvexStore, "a" + name))
        assert len({str(inspect.signature(each)) for each in twins}) == 1
