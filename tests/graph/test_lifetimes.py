"""Lifetimes in minutes: expired items are invisible at once; reading restarts the lifetime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from langgraph.store.base import GetOp, SearchOp

from integration.parts import files_with
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenStore = Callable[..., KronvexStore]
A = ("a",)


def test_a_query_restarts_the_lifetime(store: KronvexStore, clock: Clock) -> None:
    def read(refresh: bool | None) -> bool:
        return bool(store.search(A, query="tea", refresh_ttl=refresh))

    store.put(A, "k", {"text": "tea"}, ttl=10)
    created = clock.now
    for refresh in (None, True, None):
        clock.advance(minutes=8)
        assert read(refresh)
    clock.advance(minutes=8)
    assert read(False)
    item = store.get(A, "k", refresh_ttl=False)
    assert (item.created_at, item.updated_at) == (created, created)  # reading is not a change
    clock.advance(minutes=3)
    assert not read(None)


def test_only_returned_items_live_longer(store: KronvexStore, clock: Clock) -> None:
    for number in range(4):
        store.put(A, str(number), {"n": number}, ttl=10)
        clock.advance(seconds=1)
    clock.advance(minutes=8)
    assert [i.key for i in store.search(A, limit=2, filter={"n": {"$gt": 0}})] == ["3", "2"]
    clock.advance(minutes=8)
    assert {item.key for item in store.search(A)} == {"3", "2"}


def test_the_store_may_disable_refreshing(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(ttl={"default_ttl": 10, "refresh_on_read": False})
    store.put(A, "k", {"v": 1})
    clock.advance(minutes=8)
    assert store.get(A, "k")
    assert store.search(A)
    clock.advance(minutes=3)
    assert store.get(A, "k") is None
    store.put(A, "k", {"v": 1})
    clock.advance(minutes=8)
    assert store.get(A, "k", refresh_ttl=True)  # unless the reader disables it
    clock.advance(minutes=8)
    assert store.get(A, "k")


def test_the_default_lifetime(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(ttl={"default_ttl": 5})
    store.put(A, "default", {"v": 1})
    store.put(A, "own", {"v": 1}, ttl=60)
    store.put(A, "none", {"v": 1}, ttl=None)
    clock.advance(minutes=6)
    assert {item.key for item in store.search(A)} == {"own", "none"}
    clock.advance(minutes=61)
    assert {item.key for item in store.search(A)} == {"none"}


def test_reading_does_not_restore_replaced_or_deleted_items(
    plain: KronvexStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain.put(A, "k", {"v": 1}, ttl=10)
    backend = plain.memory.engine.backend
    change = backend.change
    meanwhile = [lambda: plain.put(A, "k", {"v": 2}, ttl=10), lambda: plain.delete(A, "k")]

    def late(*args: object) -> None:
        meanwhile.pop(0)()
        change(*args)

    monkeypatch.setattr(backend, "change", late)
    assert plain.get(A, "k").value == {"v": 1}
    assert plain.get(A, "k").value == {"v": 2}
    monkeypatch.undo()
    assert plain.get(A, "k") is None
    assert plain.search(A) == []


def test_expired_items_are_swept_from_the_file(
    plain: KronvexStore, clock: Clock, tmp_path: Path
) -> None:
    plain.put(A, "k", {"v": "w0123456789abcdef"}, ttl=1)
    plain.put(A, "l", {"v": 1})
    assert plain.sweep_ttl() == 0
    clock.advance(minutes=2)
    assert plain.sweep_ttl() == 1
    plain.delete(A, "l")
    plain.memory.flush()
    assert files_with(tmp_path, "w0123456789abcdef") == []


def test_operations_in_a_batch_refresh_too(store: KronvexStore, clock: Clock) -> None:
    for key in "klm":
        store.put(A, key, {"v": key}, ttl=10)
    clock.advance(minutes=8)
    got = [GetOp(A, "k", True), GetOp(A, "l", False), SearchOp(A, {"v": "m"}, refresh_ttl=True)]
    assert all(store.batch(got))
    clock.advance(minutes=8)
    assert {item.key for item in store.search(A)} == {"k", "m"}
