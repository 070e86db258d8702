"""Items: put, read, replaced, deleted; invalid ones are rejected, and nothing is half-written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    PutOp,
    SearchOp,
)

from integration.parts import files_with
from langchain_kronvex import InvalidInput, KronvexMemory, MemoryClosed
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenStore = Callable[..., KronvexStore]
ANA = ("users", "ana")


def test_a_deleted_item_is_gone(store: KronvexStore, clock: Clock, tmp_path: Path) -> None:
    words = [f"w{number:016x}" for number in range(9)]
    for word in words:
        store.put(ANA, "secret", {"text": word}, index=False if word == words[3] else None)
    store.put(ANA, "other", {"text": "stays"})
    assert files_with(tmp_path, words[-1])
    store.delete(ANA, "secret")
    store.delete(ANA, "never there")
    store.delete((), "never there")

    assert store.get(ANA, "secret") is None
    assert store.get((), "secret") is None
    assert [item.key for item in store.search(ANA)] == ["other"]
    store.memory.flush()  # or a moment later
    assert files_with(tmp_path, *words) == []
    clock.advance(hours=1)
    store.put(ANA, "secret", {"text": "new"})
    assert store.get(ANA, "secret").created_at == clock.now


def test_an_item_may_lose_its_index_and_get_it_back(store: KronvexStore) -> None:
    for index, found in ((None, ["k"]), (False, []), (["v"], ["k"]), (False, [])):
        store.put(ANA, "k", {"v": "tea"}, index=index)
        assert [item.key for item in store.search(ANA, query="tea")] == found
        assert [item.key for item in store.search(ANA)] == ["k"]
        assert store.get(ANA, "k").value == {"v": "tea"}


@pytest.mark.parametrize("namespace", [("a", "b.c"), ("a\0",), ("\ud800",)], ids=repr)
def test_an_invalid_namespace_is_rejected(store: KronvexStore, namespace: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {"v": 1})
    if namespace[:1] != ("langgraph",):
        with pytest.raises(InvalidNamespaceError):
            store.batch([PutOp(("fine",), "k", {"v": 1}), PutOp(namespace, "k", {"v": 1})])
    assert store.list_namespaces() == []


@pytest.mark.parametrize("namespace", [("a", ""), ("a", "b.c"), ("a\0",), "abc"], ids=repr)
def test_operations_with_invalid_labels_are_rejected(store: KronvexStore, namespace: Any) -> None:
    for operation in (GetOp(namespace, "k"), SearchOp(namespace), PutOp(namespace, "k", None)):
        with pytest.raises(InvalidNamespaceError):
            store.batch([operation])


WRONG: list[dict[str, Any]] = [
    {"value": {"v": object()}}, {"value": {"v": float("nan")}}, {"value": {1: "a"}},
    {"value": [1]}, {"value": "text"},
    {"key": "a\0"}, {"key": "\ud800"}, {"key": 3},
    {"index": True}, {"index": "text"}, {"index": [3]},
    {"ttl": 0}, {"ttl": -1}, {"ttl": float("nan")}, {"ttl": float("inf")}, {"ttl": "1"},
    {"ttl": True}, {"ttl": 10**400},
]  # fmt: skip


def test_invalid_operations_are_rejected_and_nothing_is_written(plain: KronvexStore) -> None:
    plain.put(ANA, "k", {"v": "before"})
    for wrong in WRONG:
        operation = PutOp(ANA, "k", {"v": "after"})._replace(**wrong)
        with pytest.raises(InvalidInput):
            plain.batch([PutOp(ANA, "fine", {"v": 1}), PutOp(ANA, "k", None), operation])
        found = [(item.key, item.value) for item in plain.search(ANA)]
        assert found == [("k", {"v": "before"})], [*wrong]


def test_other_values_than_operations_are_rejected(store: KronvexStore) -> None:
    with pytest.raises(InvalidInput, match="str"):
        store.batch([PutOp(ANA, "k", {"v": 1}), "put"])
    assert store.list_namespaces() == []


def test_namespaces_may_be_lists(store: KronvexStore) -> None:
    store.put(["users", "ana"], "k", {"v": 1})

    assert store.get(["users", "ana"], "k").namespace == ANA
    assert store.search(["users"])[0].namespace == ANA
    assert store.list_namespaces(prefix=["users"]) == [ANA]


def test_items_and_memories_do_not_affect_each_other(
    open_memory: Callable[..., KronvexMemory], open_store: OpenStore
) -> None:
    memory = open_memory()
    store = open_store(memory)
    store.put(ANA, "k", {"text": "jasmine tea"})
    memory.remember("Ana drinks coffee.", user_id="/users/ana")

    assert [m.content for m in memory.recall("jasmine tea", user_id="/users/ana")] == [
        "Ana drinks coffee."
    ]
    assert memory.stats().memories == 1
    assert [item.key for item in store.search(ANA)] == ["k"]
    memory.clear()
    assert store.get(ANA, "k").value == {"text": "jasmine tea"}


def test_every_agent_has_its_own_store(
    open_memory: Callable[..., KronvexMemory], open_store: OpenStore
) -> None:
    one = open_store(open_memory(agent_id="one"))
    two = open_store(open_memory(agent_id="two"))
    one.put(ANA, "k", {"v": 1})

    assert two.get(ANA, "k") is None
    assert two.list_namespaces() == []
    assert open_store(open_memory(agent_id="one")).get(ANA, "k").value == {"v": 1}


def test_a_closed_store_raises(open_memory: Callable[..., KronvexMemory]) -> None:
    memory = open_memory()
    with KronvexStore(memory) as store:
        store.put(ANA, "k", {"v": 1})
    with pytest.raises(MemoryClosed):
        store.get(ANA, "k")
    memory.remember("The memory itself stays open.")


async def test_a_store_is_an_async_context_manager(
    open_memory: Callable[..., KronvexMemory],
) -> None:
    async with KronvexStore(open_memory()) as store:
        await store.aput(ANA, "k", {"v": 1})
    with pytest.raises(MemoryClosed):
        await store.aget(ANA, "k")


def test_a_store_in_ram(open_memory: Callable[..., KronvexMemory]) -> None:
    with KronvexStore(open_memory("sqlite://")) as store:
        store.put(ANA, "k", {"text": "tea"})
        assert store.search((), query="tea")[0].value == {"text": "tea"}


async def test_async_methods_do_what_the_sync_ones_do_in_another_thread(
    plain: KronvexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def in_this_thread(works: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            threads.append(threading.current_thread())
            return works(*args)

        return call

    for method in ("batch", "sweep_ttl", "start_ttl_sweeper"):
        monkeypatch.setattr(plain, method, in_this_thread(getattr(plain, method)))
    await plain.aput(ANA, "k", {"text": "tea"}, index=["text"], ttl=10)
    found = [
        await plain.aget(ANA, "k"), await plain.asearch(ANA, query="tea", limit=3),
        await plain.alist_namespaces(prefix=ANA), await plain.asweep_ttl(),
    ]  # fmt: skip
    assert (await plain.astart_ttl_sweeper()).done()
    assert await plain.astop_ttl_sweeper()

    assert len(threads) == 6
    assert threading.current_thread() not in threads
    assert found[0].value == {"text": "tea"}
    assert found == [
        plain.get(ANA, "k"), plain.search(ANA, query="tea", limit=3),
        plain.list_namespaces(prefix=ANA), 0,
    ]  # fmt: skip
    await plain.adelete(ANA, "k")
    assert plain.get(ANA, "k") is None
