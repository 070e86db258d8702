"""The key-value stores on a memory, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contract.drivers import Clock, Driver
from langchain_kronvex import KronvexKeyValueStore
from langchain_kronvex.langgraph import KronvexStore

ANA = ("users", "ana")


class Verbs:
    """A store's verbs, sync or async like the driver."""

    def __init__(self, store: Any, driver: Driver) -> None:
        self._store, self._driver = store, driver

    def __getattr__(self, verb: str) -> Any:
        loop = self._driver._loop
        if loop is None:
            return getattr(self._store, verb)
        twin = getattr(self._store, "a" + verb)
        return lambda *args, **kwargs: loop.run_until_complete(twin(*args, **kwargs))


@pytest.fixture
def values(memory: Driver) -> Verbs:
    return Verbs(KronvexKeyValueStore(memory.memory, "settings"), memory)


@pytest.fixture
def graph(memory: Driver) -> Iterator[Verbs]:
    store = KronvexStore(memory.memory)
    yield Verbs(store, memory)
    Verbs(store, memory).close()


def test_values_under_keys(values: Verbs, memory: Driver, clock: Clock) -> None:
    values.mset([("a", 1), ("b", {"x": [None, "é"]}), ("long " * 100, 3)])
    values.set("a", 2)
    values.set("short", 4, ttl_days=1)
    assert values.mget(["b", "a", "c"]) == [{"x": [None, "é"]}, 2, None]
    clock.advance(days=2)
    assert values.list_keys() == ["a", "b", "long " * 100]
    assert values.delete("a") is True
    assert values.get("a") is None
    other = Verbs(KronvexKeyValueStore(memory.memory, "Settings"), memory)
    assert other.list_keys() == []
    assert memory.memories(user_id="settings") == []


def test_values_are_compared_and_changed(values: Verbs) -> None:
    assert values.compare_and_set("n", None, 1) is True
    assert values.compare_and_set("n", None, 2) is False
    assert values.compare_and_set("n", 1, 2) is True
    assert values.change("n", lambda n: n + 1) == 3
    assert values.get("n") == 3


def test_items_of_langgraph(graph: Verbs, memory: Driver, clock: Clock) -> None:
    graph.put(ANA, "nuts", {"text": "Ana is allergic to peanuts.", "n": 1})
    graph.put(ANA, "city", {"text": "Ana lives in Porto.", "n": 2})
    created = clock.now
    clock.advance(minutes=1)
    graph.put(ANA, "city", {"text": "Ana lives in Lisbon.", "n": 3})
    graph.put(("users", "bob"), "nuts", {"text": "Bob likes peanuts.", "n": 1})
    graph.put(ANA, "hidden", {"text": "peanuts"}, index=False)
    graph.put((*ANA, "short"), "k", {"text": "peanuts"}, ttl=5)

    assert graph.search(ANA, query="peanuts")[0].key in ("nuts", "k")
    assert {i.key for i in graph.search(ANA, query="peanuts")} == {"nuts", "city", "k"}
    assert [i.key for i in graph.search(ANA, query="Lisbon", filter={"n": 3})] == ["city"]
    item = graph.get(ANA, "city")
    assert (item.value["n"], item.created_at, item.updated_at) == (3, created, clock.now)
    clock.advance(minutes=4)
    assert graph.get((*ANA, "short"), "k").value == {"text": "peanuts"}  # it lives on
    clock.advance(minutes=4)
    assert (*ANA, "short") in graph.list_namespaces()
    clock.advance(minutes=4)
    assert graph.list_namespaces() == [ANA, ("users", "bob")]
    assert {i.key for i in graph.search(ANA)} == {"hidden", "nuts", "city"}
    graph.delete(ANA, "nuts")
    graph.delete(ANA, "hidden")
    assert [i.key for i in graph.search(ANA)] == ["city"]
    assert len(graph.search(())) == 2
    assert memory.stats().memories == 0
