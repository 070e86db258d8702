"""The key-value store returns values as they were stored, keeps them apart and loses none."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_classic.storage import EncoderBackedStore

from integration.parts import files_with
from langchain_kronvex import InvalidInput, KronvexKeyValueStore, KronvexMemory, StoreError

OpenMemory = Callable[..., KronvexMemory]


class Methods:
    """The methods of a store, called sync or async."""

    def __init__(self, store: KronvexKeyValueStore, way: str) -> None:
        self._store, self._way = store, way

    def __getattr__(self, name: str) -> Any:
        if self._way == "sync":
            return getattr(self._store, name)
        method = getattr(self._store, "a" + name)
        return lambda *args, **kwargs: asyncio.run(method(*args, **kwargs))


@pytest.fixture
def store(memory: KronvexMemory) -> KronvexKeyValueStore:
    return KronvexKeyValueStore(memory, "settings")


@pytest.fixture(params=["sync", "async"])
def words(request: pytest.FixtureRequest, store: KronvexKeyValueStore) -> Methods:
    return Methods(store, request.param)


def test_get_set_and_delete(words: Methods, store: KronvexKeyValueStore) -> None:
    assert words.get("a") is None
    assert words.get("a", 3) == 3
    words.set("a", {"n": [1, (2, 3)]})
    words.set("b", None)
    assert words.get("a") == {"n": [1, [2, 3]]}
    assert words.get("b", "default") is None
    assert words.list_keys() == ["a", "b"]
    assert "a" in store
    assert "c" not in store
    assert 3 not in store
    assert words.delete("a") is True
    assert words.delete("a") is False
    assert words.list_keys() == ["b"]


def test_keys_are_listed_by_prefix(words: Methods, store: KronvexKeyValueStore) -> None:
    store.mset([(key, 1) for key in ("u%", "u1", "U1", "u_", "v", "u1/x")])

    assert words.list_keys("u1") == ["u1", "u1/x"]
    assert words.list_keys("u%") == ["u%"]
    assert words.list_keys("u_") == ["u_"]
    assert words.list_keys("") == words.list_keys()
    assert list(store.yield_keys(prefix="u1")) == ["u1", "u1/x"]


def test_if_a_key_is_set_twice_in_one_call_the_last_value_counts(
    store: KronvexKeyValueStore,
) -> None:
    store.mset([("a", 1), ("b", 2), ("a", 3)])
    assert store.mget(["a", "b", "c", "a"]) == [3, 2, None, 3]
    store.mset([])
    assert store.mget([]) == []
    store.mdelete([])


def test_a_value_expires(open_memory: OpenMemory) -> None:
    now = [datetime(2026, 4, 28, tzinfo=timezone.utc)]
    store = KronvexKeyValueStore(open_memory(clock=lambda: now[0]), "cache")
    store.set("short", 1, ttl_days=1)
    store.set("long", 1, ttl_days=3)
    store.set("changed", 1, ttl_days=1)
    store.change("changed", lambda n: n + 1)
    store.set("kept", 1, ttl_days=1)
    store.set("kept", 2)
    now[0] += timedelta(days=2)

    assert store.list_keys() == ["kept", "long"]
    assert store.mget(["short", "long", "changed"]) == [None, 1, None]
    assert "short" not in store
    assert store.compare_and_set("short", 1, 2) is False
    assert store.compare_and_set("short", None, 2) is True


def test_namespaces_do_not_see_each_other(memory: KronvexMemory, open_memory: OpenMemory) -> None:
    names = ["john-doe", "john_doe", "john%", "John-doe", "john-doe ", "john-doe/x"]
    stores = [KronvexKeyValueStore(memory, name) for name in names]
    for store in stores:
        store.set("name", store.namespace)
    other_agent = KronvexKeyValueStore(open_memory(agent_id="other"), "john-doe")

    assert [store.get("name") for store in stores] == names
    assert other_agent.list_keys() == []
    stores[0].delete("name")
    assert [store.get("name") for store in stores] == [None, *names[1:]]


def test_memories_and_values_do_not_affect_each_other(
    memory: KronvexMemory, store: KronvexKeyValueStore
) -> None:
    store.set("tea", "jasmine tea")
    memory.remember("Ana drinks coffee.", user_id="settings", session_id="key-value")

    assert [m.content for m in memory.recall("jasmine tea", user_id="settings")] == [
        "Ana drinks coffee."
    ]
    assert memory.stats().memories == 1
    assert store.list_keys() == ["tea"]
    assert memory.forget(user_id="settings") == 1
    assert store.get("tea") == "jasmine tea"
    assert memory.clear() == 1
    assert store.list_keys() == []


@pytest.mark.parametrize("key", ["", " \n", "a\0b", "\ud800", 3, None, b"a"], ids=repr)
def test_an_invalid_key_is_rejected(store: KronvexKeyValueStore, key: Any) -> None:
    for doing in (
        lambda: store.get(key),
        lambda: store.set(key, 1),
        lambda: store.mset([("good", 1), (key, 1)]),
        lambda: store.mget([key]),
        lambda: store.mdelete([key]),
    ):
        with pytest.raises(InvalidInput, match="key"):
            doing()
    assert store.list_keys() == []


@pytest.mark.parametrize("prefix", [3, b"a", ["a"]], ids=repr)
def test_an_invalid_prefix_is_rejected(store: KronvexKeyValueStore, prefix: Any) -> None:
    for doing in (
        lambda: store.list_keys(prefix),
        lambda: list(store.yield_keys(prefix=prefix)),
    ):
        with pytest.raises(InvalidInput, match="prefix"):
            doing()


@pytest.mark.parametrize("namespace", ["", "x" * 256, "a\0", 3, None], ids=repr)
def test_an_invalid_namespace_is_rejected(memory: KronvexMemory, namespace: Any) -> None:
    with pytest.raises(InvalidInput, match="namespace"):
        KronvexKeyValueStore(memory, namespace)


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, float("nan"), {"a": object()}], ids=type)
def test_a_value_that_is_not_json_is_rejected_and_nothing_is_stored(
    store: KronvexKeyValueStore, value: Any
) -> None:
    store.set("a", 1)
    for doing in (
        lambda: store.set("a", value),
        lambda: store.mset([("b", 1), ("a", value)]),
        lambda: store.compare_and_set("a", 1, value),
        lambda: store.change("a", lambda _: value),
    ):
        with pytest.raises(InvalidInput, match="EncoderBackedStore"):
            doing()
    assert store.get("a") == 1
    assert store.list_keys() == ["a"]


def test_an_invalid_ttl_is_rejected(store: KronvexKeyValueStore) -> None:
    with pytest.raises(InvalidInput, match="ttl_days"):
        store.set("a", 1, ttl_days=0)


@given(
    keys=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
        .filter(str.strip),
        unique=True, min_size=1, max_size=6,
    )
)  # fmt: skip
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_a_key_of_its_own(memory: KronvexMemory, keys: list[str]) -> None:
    store = KronvexKeyValueStore(memory, "any key")
    store.mset([(key, key) for key in keys])

    assert store.mget(keys) == keys
    assert store.list_keys() == sorted(keys)
    store.mdelete(keys[:1])
    assert store.mget(keys) == [None, *keys[1:]]
    store.mdelete(keys)


def test_compare_and_set(words: Methods) -> None:
    assert words.compare_and_set("a", 1, 2) is False
    assert words.get("a") is None
    assert words.compare_and_set("a", None, {"x": 1, "y": [2]}) is True
    assert words.compare_and_set("a", None, 2) is False
    assert words.compare_and_set("a", {"y": [2], "x": 1}, 2) is True
    assert words.compare_and_set("a", True, 3) is False
    assert words.get("a") == 2
    words.set("a", None)
    assert words.compare_and_set("a", None, 3) is True
    assert words.get("a") == 3


def test_change(words: Methods) -> None:
    assert words.change("log", lambda log: [*log, 1], default=[]) == [1]
    assert words.change("log", lambda log: [*log, 2], default=[]) == [1, 2]
    assert words.get("log") == [1, 2]
    with pytest.raises(InvalidInput, match="returned None"):
        words.change("log", lambda log: log.append(3))
    assert words.get("log") == [1, 2]


def test_a_concurrent_change_is_repeated_with_the_newer_value(
    store: KronvexKeyValueStore,
) -> None:
    seen: list[Any] = []

    def add(log: list[int]) -> list[int]:
        seen.append(list(log))
        if len(seen) == 1:
            store.set("log", [7])
        log.append(1)
        return log

    default: list[int] = []
    assert store.change("log", add, default) == [7, 1]
    assert seen == [[], [7]]
    assert default == []


def test_threads_appending_to_one_list_lose_nothing(
    memory: KronvexMemory, open_memory: OpenMemory
) -> None:
    stores = [KronvexKeyValueStore(m, "x") for m in (memory, memory, open_memory())]

    def append(worker: int) -> None:
        for step in range(15):
            stores[worker].change("log", lambda log, step=step: [*log, [worker, step]], [])

    threads = [threading.Thread(target=append, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stores[0].get("log")) == [[w, step] for w in range(3) for step in range(15)]


async def test_tasks_appending_to_one_list_lose_nothing(store: KronvexKeyValueStore) -> None:
    async def append(worker: int) -> None:
        for step in range(10):
            await store.achange("log", lambda log, step=step: [*log, [worker, step]], [])

    await asyncio.gather(*(append(worker) for worker in range(4)))
    assert sorted(store.get("log")) == [[w, step] for w in range(4) for step in range(10)]


def test_deleted_values_are_erased_from_the_files(
    memory: KronvexMemory, store: KronvexKeyValueStore, tmp_path: Path
) -> None:
    words = [f"w{number:016x}" for number in range(20)]
    for word in words:
        store.set("secret", word)
    assert files_with(tmp_path, words[-1])
    store.delete("secret")
    assert files_with(tmp_path, *words) == []


def test_a_closed_memory_raises(memory: KronvexMemory, store: KronvexKeyValueStore) -> None:
    memory.close()
    with pytest.raises(Exception, match="closed") as raised:
        store.get("a")
    assert type(raised.value).__name__ == "MemoryClosed"


def test_a_failing_store_raises(faults: Any, store: KronvexKeyValueStore) -> None:
    faults.fail("put")
    with pytest.raises(StoreError):
        store.set("a", 1)


async def test_bytes_with_langchains_encoding_store(store: KronvexKeyValueStore) -> None:
    encoding = EncoderBackedStore[str, bytes](
        store, str, lambda value: base64.b64encode(value).decode(), base64.b64decode
    )
    encoding.mset([("picture", bytes(range(256)))])

    assert encoding.mget(["picture", "none"]) == [bytes(range(256)), None]
    assert await encoding.amget(["picture", "none"]) == [bytes(range(256)), None]
    assert [key async for key in encoding.ayield_keys(prefix="pic")] == ["picture"]
