"""The contract of a LangGraph store: items, batches, namespaces and lifetimes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

import pytest
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from langchain_kronvex.testing.suite import HOSTILE_IDS, ContractTests, in_threads

OpenStore = Callable[[], BaseStore]
PassMinutes = Callable[[float], None]

ANA = ("users", "ana")
TREE = [
    ("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f"), ("a", "c", "f"),
    ("b", "a", "f"), ("users", "123"), ("users", "456", "settings"), ("admin", "users", "789"),
]  # fmt: skip
# What is asked, and which of the namespaces above are returned.
_LISTINGS: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {
    "all": ({}, TREE),
    "prefix": ({"prefix": ("a", "b")}, TREE[:4]),
    "suffix": ({"suffix": ("f",)}, TREE[3:6]),
    "prefix and suffix": ({"prefix": ("a",), "suffix": ("f",)}, TREE[3:5]),
    "prefix and depth": ({"prefix": ("a", "b"), "max_depth": 3}, [("a", "b", x) for x in "cdf"]),
    "depth": ({"max_depth": 1}, [("a",), ("admin",), ("b",), ("users",)]),
    "limit": ({"prefix": ("a", "b"), "limit": 2}, TREE[:2]),
    "offset": ({"prefix": ("a", "b"), "offset": 2}, TREE[2:4]),
    "any label in a prefix": ({"prefix": ("a", "*", "f")}, TREE[3:5]),
    "any first label": ({"prefix": ("*", "users")}, [TREE[8]]),
    "any label in a suffix": ({"suffix": ("*", "f")}, TREE[3:6]),
    "any last label": ({"suffix": ("users", "*")}, [TREE[6], TREE[8]]),
    "whole namespace": ({"prefix": ("users", "123")}, [TREE[6]]),
    "part of a first label": ({"prefix": ("users", "12")}, []),
    "part of a last label": ({"suffix": ("23",)}, []),
    "longer than any": ({"prefix": ("a", "b", "c", "d")}, []),
    "limit of 0": ({"limit": 0}, []),
    "offset behind the end": ({"offset": 99}, []),
}
_STEPS = 5
_INVALID: list[Any] = [(), ("a", ""), ("a", "b.c"), ("a", 3), ("langgraph", "x")]


class StoreFixtures(ContractTests):
    """The fixtures of the store suites; a subclass overrides `open_store`.

    Attributes:
        ttl: Minutes that items with a lifetime are kept in these tests.
    """

    ttl: ClassVar[float] = 0.05

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Override it.

        Returns:
            A function that opens the store. Opened twice, it has the same items. At the start of a
            test it has none.
        """
        raise NotImplementedError("Override the fixture open_store in your test class.")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> BaseStore:
        """The store under test, without items."""
        return open_store()

    @pytest.fixture
    def pass_minutes(self) -> PassMinutes:
        """Override it if your store has a clock that tests can set.

        Returns:
            A function that waits for so many minutes.
        """
        return lambda minutes: time.sleep(minutes * 60)


class StoreTests(StoreFixtures):
    """Tests of items, batches, namespaces and lifetimes."""

    def test_an_item_is_returned_as_it_was_put(self, store: BaseStore) -> None:
        """A value is any JSON object; the order of its fields stays."""
        value = {"z": [1, 2.5, None, True, {"deep": "é 🙂"}], "a": "", "": {}}
        store.put(ANA, "k", value)
        item = store.get(ANA, "k")
        assert isinstance(item, Item)
        assert (item.namespace, item.key, item.value) == (ANA, "k", value)
        assert list(item.value) == ["z", "a", ""]
        assert isinstance(item.created_at, datetime)
        assert item.created_at.tzinfo is not None
        assert item.updated_at >= item.created_at

    def test_any_text_is_a_value(self, store: BaseStore) -> None:
        """JSON has escapes for the characters that databases and UTF-8 refuse."""
        for text in ("nul \0 nul", "half \ud83d of a pair"):
            store.put(ANA, "k", {text: text})
            assert _value(store, ANA, "k") == {text: text}

    def test_a_missing_item_is_none(self, store: BaseStore) -> None:
        """Neither another key nor a namespace above or below has the item."""
        store.put(ANA, "k", {"v": 1})
        for namespace, key in ((ANA, "other"), (("users", "bob"), "k"), (("users",), "k")):
            assert store.get(namespace, key) is None
        assert store.get((*ANA, "k"), "k") is None

    def test_a_put_replaces_the_value_and_keeps_the_creation_date(
        self, store: BaseStore, pass_minutes: PassMinutes
    ) -> None:
        """Old fields go, and the update date moves on."""
        store.put(ANA, "k", {"v": 1, "old": True})
        before = store.get(ANA, "k")
        pass_minutes(0.001)
        store.put(ANA, "k", {"v": 2})
        item = store.get(ANA, "k")
        assert before
        assert item
        assert item.value == {"v": 2}
        assert item.created_at == before.created_at < item.updated_at
        assert len(store.search(ANA)) == 1

    def test_a_deleted_item_is_gone(self, store: BaseStore) -> None:
        """Deleting what is not there is allowed."""
        store.put(ANA, "k", {"v": 1})
        store.put(ANA, "other", {"v": 2})
        store.delete(ANA, "k")
        store.delete(ANA, "never there")
        assert store.get(ANA, "k") is None
        assert [item.key for item in store.search(ANA)] == ["other"]

    def test_any_text_is_a_key(self, store: BaseStore) -> None:
        """Keys match exactly."""
        keys = ["", " ", *HOSTILE_IDS, "x" * 5000]
        store.batch([PutOp(ANA, key, {"v": key}) for key in keys])
        for key in keys:
            item = store.get(ANA, key)
            assert item
            assert (item.key, item.value) == (key, {"v": key})
        store.delete(ANA, "ana")
        assert {item.key for item in store.search(ANA, limit=100)} == {*keys} - {"ana"}

    def test_later_changes_of_objects_change_nothing(self, store: BaseStore) -> None:
        """What is stored depends neither on the given value nor on the returned one."""
        value: dict[str, Any] = {"list": [1]}
        store.put(ANA, "k", value)
        value["list"].append(2)
        item = store.get(ANA, "k")
        assert item
        item.value["list"].append(3)
        assert _value(store, ANA, "k") == {"list": [1]}

    def test_results_are_in_the_order_of_the_operations(self, store: BaseStore) -> None:
        """A batch reads before it writes."""
        store.put(("a",), "1", {"v": 1})
        store.put(("b",), "2", {"v": 2})
        got: Any = store.batch(
            [
                GetOp(("b",), "2"),
                PutOp(("c",), "3", {"v": 3}),
                SearchOp(("a",)),
                ListNamespacesOp(),
                GetOp(("c",), "3"),
                PutOp(("a",), "1", None),
                GetOp(("a",), "1"),
            ]
        )
        assert got[0].value == {"v": 2}
        assert [got[1], got[4], got[5]] == [None, None, None]
        assert [item.key for item in got[2]] == ["1"]
        assert got[3] == [("a",), ("b",)]
        assert got[6].value == {"v": 1}
        assert store.get(("c",), "3")
        assert store.get(("a",), "1") is None
        assert store.batch([]) == []

    def test_the_last_put_of_an_item_counts(self, store: BaseStore) -> None:
        """One batch may put and delete the same item several times."""
        store.put(("a",), "gone", {"v": 0})
        values = {"k": [{"v": 1}, None, {"v": 3}], "gone": [{"v": 1}, None]}
        store.batch([PutOp(("a",), key, value) for key in values for value in values[key]])
        assert [(item.key, item.value) for item in store.search(("a",))] == [("k", {"v": 3})]

    def test_an_invalid_namespace_is_rejected(self, store: BaseStore) -> None:
        """`put` raises, and nothing is stored."""
        for invalid in _INVALID:
            with pytest.raises(InvalidNamespaceError):
                store.put(invalid, "k", {"v": 1})
        assert store.list_namespaces() == []

    def test_a_batch_is_written_whole_or_not_at_all(self, store: BaseStore) -> None:
        """An operation that cannot be done leaves the others undone."""
        fine = PutOp(("fine",), "k", {"v": 1})
        for invalid in (PutOp(("a", "b.c"), "k", {"v": 1}), PutOp(ANA, "k", {"v": object()})):
            with pytest.raises(Exception):  # noqa: B017 - of any kind
                store.batch([fine, invalid])
            assert store.list_namespaces() == []

    def test_namespaces_are_listed(self, store: BaseStore) -> None:
        """They are sorted, filtered by whole labels, cut to a depth, and paged."""
        store.batch([PutOp(namespace, "k", {"n": n}) for n, namespace in enumerate(TREE)])
        for asked, (options, expected) in _LISTINGS.items():
            assert store.list_namespaces(**options) == sorted(expected), asked
        paths = (("a",), ("*", "b"), ("a", "b"))
        conditions = tuple(MatchCondition("prefix", path) for path in paths)
        assert store.batch([ListNamespacesOp(conditions)]) == [TREE[:4]]

    def test_namespaces_without_items_are_not_listed(self, store: BaseStore) -> None:
        """A namespace exists as long as it has an item."""
        store.put(("a", "deleted"), "k", {"v": 1})
        store.put(("a", "hidden"), "k", {"v": 1}, index=False)
        store.delete(("a", "deleted"), "k")
        assert store.list_namespaces() == [("a", "hidden")]

    def test_items_survive_a_restart(
        self, open_store: OpenStore, reopen: Callable[[], None]
    ) -> None:
        """After everything was closed, the items are read from where they were stored."""
        open_store().put(ANA, "k", {"v": 1})
        reopen()
        assert _value(open_store(), ANA, "k") == {"v": 1}
        assert open_store().list_namespaces() == [ANA]

    def test_threads_lose_nothing(self, open_store: OpenStore) -> None:
        """Threads may write to one item, and each to its own namespace."""
        store = open_store()

        def write(writer: int) -> None:
            own = open_store()
            for step in range(_STEPS):
                own.put(("shared",), "same", {"step": step})
                own.put(("own", str(writer)), f"k{step}", {"step": step})

        writers = in_threads(write)
        assert _value(store, ("shared",), "same") == {"step": _STEPS - 1}
        assert len(store.search(("own",), limit=1000)) == _STEPS * writers

    @pytest.mark.asyncio
    async def test_tasks_lose_nothing(self, store: BaseStore) -> None:
        """Tasks of one event loop may write and read at once."""
        places = [(("a", str(number % 3)), str(number)) for number in range(30)]
        await asyncio.gather(*(store.aput(*place, {"n": place[1]}) for place in places))
        found = await asyncio.gather(*(store.aget(*place) for place in places))
        assert [item.value["n"] for item in found if item] == [key for _, key in places]

    @pytest.mark.asyncio
    async def test_async_methods_do_the_same(self, store: BaseStore) -> None:
        """`aput`, `aget`, `asearch`, `alist_namespaces`, `abatch` and `adelete`."""
        await store.aput(ANA, "k", {"text": "tea"}, index=["text"])
        item = await store.aget(ANA, "k")
        assert item
        assert item.value == {"text": "tea"}
        assert [found.key for found in await store.asearch(ANA, filter={"text": "tea"})] == ["k"]
        assert await store.alist_namespaces(prefix=ANA) == [ANA]
        assert await store.abatch([GetOp(ANA, "none"), ListNamespacesOp()]) == [None, [ANA]]
        await store.adelete(ANA, "k")
        assert await store.aget(ANA, "k") is None

    # -- lifetimes, for stores with `supports_ttl` -----------------------------------------------

    def test_a_lifetime_is_kept_or_rejected(
        self, store: BaseStore, pass_minutes: PassMinutes
    ) -> None:
        """An expired item is invisible; a store without lifetimes says so."""
        if not store.supports_ttl:
            with pytest.raises(NotImplementedError):
                store.put(ANA, "k", {"v": 1}, ttl=self.ttl)
            return
        store.put(ANA, "short", {"v": 1}, ttl=self.ttl)
        store.put(ANA, "long", {"v": 1}, ttl=self.ttl * 1000)
        store.put(ANA, "ever", {"v": 1}, ttl=None)
        store.put(("expired",), "short", {"v": 1}, ttl=self.ttl)
        pass_minutes(self.ttl * 1.2)
        assert store.get(ANA, "short", refresh_ttl=False) is None
        for wanted in (None, {"v": 1}):
            assert {item.key for item in store.search(ANA, filter=wanted)} == {"long", "ever"}
        assert store.list_namespaces() == [ANA]

    def test_a_put_starts_a_new_lifetime(self, store: BaseStore, pass_minutes: PassMinutes) -> None:
        """The lifetime counts from the last put; an expired item can be put again."""
        _needs_lifetimes(store)
        store.put(ANA, "put again", {"v": 1}, ttl=self.ttl)
        store.put(ANA, "expired", {"v": 1}, ttl=self.ttl / 10)
        pass_minutes(self.ttl * 0.7)
        store.put(ANA, "put again", {"v": 2}, ttl=self.ttl)
        store.put(ANA, "expired", {"v": 2}, ttl=None)
        pass_minutes(self.ttl * 0.7)
        found = {item.key: item.value for item in store.search(ANA, refresh_ttl=False)}
        assert found == {"put again": {"v": 2}, "expired": {"v": 2}}

    @pytest.mark.parametrize("way", ["get", "search"])
    def test_reading_restarts_the_lifetime(
        self, store: BaseStore, pass_minutes: PassMinutes, way: str
    ) -> None:
        """Unless the reader asks not to; reading is not a change of the item."""
        _needs_lifetimes(store)

        def read(refresh: bool) -> Item | None:
            if way == "get":
                return store.get(ANA, "k", refresh_ttl=refresh)
            return next(iter(store.search(ANA, refresh_ttl=refresh)), None)

        store.put(ANA, "k", {"v": 1}, ttl=self.ttl)
        put = read(False)
        for refresh in (True, True, False):
            pass_minutes(self.ttl * 0.7)
            item = read(refresh)
            assert item
            assert put
            assert item.updated_at == put.updated_at
        pass_minutes(self.ttl * 0.7)
        assert read(False) is None


def _value(store: BaseStore, namespace: tuple[str, ...], key: str) -> Any:
    item = store.get(namespace, key)
    return item and item.value


def _needs_lifetimes(store: BaseStore) -> None:
    if not store.supports_ttl:
        pytest.skip("supports_ttl is False")
