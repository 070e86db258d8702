"""The contract of searching a LangGraph store: prefixes, filters, pages and queries."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langgraph.store.base import BaseStore, PutOp, SearchItem

from langchain_kronvex.testing.stores import PassMinutes, StoreFixtures
from langchain_kronvex.testing.suite import HOSTILE_IDS

_ANA = ("users", "ana")
_FACTS = {
    "nuts": {"text": "Ana is allergic to peanuts", "kind": "health", "weight": 9},
    "city": {"text": "Ana lives in Lisbon", "kind": "place", "weight": 5},
    "dog": {"text": "her dog is called Biscuit", "kind": "family", "weight": 5.5, "in": {"m": 1}},
    "job": {"text": "she designs bridges", "kind": "work", "weight": -1, "tags": ["x", "y"]},
}
# Filters, and the items that they accept.
_FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"kind": "place"}, {"city"}),
    ({"kind": "place", "weight": 9}, set()),
    ({"in": {"m": 1}}, {"dog"}),
    ({"tags": ["x", "y"]}, {"job"}),
    ({"weight": {"$eq": 5}}, {"city"}),
    ({"kind": {"$ne": "work"}, "weight": {"$ne": 9}}, {"city", "dog"}),
    ({"kind": "nothing"}, set()),
    ({"absent": 1}, set()),
    ({"weight": {"$gt": 5}}, {"nuts", "dog"}),
    ({"weight": {"$gte": 5}}, {"nuts", "city", "dog"}),
    ({"weight": {"$lt": 5}}, {"job"}),
    ({"weight": {"$lte": 5}}, {"city", "job"}),
    ({"weight": {"$gt": 5, "$lt": 9}}, {"dog"}),
]


class StoreSearchTests(StoreFixtures):
    """Tests of `search`.

    Attributes:
        searches_by_query: Whether the store ranks items by a query. The last tests need it; a
            query of them has a word in common with the item that must come first.
    """

    searches_by_query: ClassVar[bool] = True

    @pytest.fixture
    def facts(self, store: BaseStore) -> BaseStore:
        """The store with four items of one namespace, and one of another."""
        store.batch([PutOp(_ANA, key, value) for key, value in _FACTS.items()])
        store.put(("others", "bob"), "nuts", {"text": "Bob loves peanuts.", "weight": 5})
        return store

    def test_without_a_query_the_newest_items_are_first(
        self, store: BaseStore, pass_minutes: PassMinutes
    ) -> None:
        """The date of the last put counts; there is no score."""
        for key in ("first", "second", "third", "first"):
            store.put(("a",), key, {"v": key})
            pass_minutes(0.001)
        for query in (None, ""):
            found = store.search(("a",), query=query)
            assert _keys(found) == ["first", "third", "second"]
            assert [item.score for item in found] == [None] * 3

    def test_items_are_found_under_their_prefix_alone(self, store: BaseStore) -> None:
        """Whole labels count; no patterns, no paths, no normalization."""
        labels = [label for label in HOSTILE_IDS if "." not in label]
        namespaces = [(label,) for label in labels] + [("ana", label) for label in labels]
        store.batch([PutOp(namespace, "k", {"n": n}) for n, namespace in enumerate(namespaces)])
        prefixes = [*namespaces[: len(labels)], ("ana", "%"), ("ana", "a"), ("an",), ("a*",), ()]
        for prefix in prefixes:
            expected = {name for name in namespaces if name[: len(prefix)] == prefix}
            found = store.search(prefix, limit=200)
            assert {item.namespace for item in found} == expected
            assert len(found) == len(expected)

    def test_items_are_filtered(self, facts: BaseStore) -> None:
        """A filter compares fields of the value, also by order."""
        for wanted, expected in _FILTERS:
            assert {*_keys(facts.search(("users",), filter=wanted))} == expected, wanted

    def test_a_missing_number_is_neither_less_nor_greater(self, facts: BaseStore) -> None:
        """Items without the field are left out, and the search goes on."""
        facts.put(_ANA, "none", {"kind": "no weight"})
        facts.put(_ANA, "null", {"weight": None})
        for operator in ("$gt", "$lte"):
            found = _keys(facts.search(("users",), filter={"weight": {operator: 5}}))
            assert not {"none", "null"} & {*found}
            assert len(found) == 2

    def test_pages_follow_each_other(self, store: BaseStore) -> None:
        """A filter is applied before the page is cut, so that pages are full."""
        store.batch(
            [PutOp(("n",), f"k{n:03d}", {"rare": n % 20 == 7, "text": f"{n}"}) for n in range(100)]
        )
        for options in _optional(filter={"rare": True}):
            whole = _keys(store.search(("n",), limit=200, **options))
            assert len(whole) == len(set(whole)) == (5 if options else 100)
            pages = [store.search(("n",), limit=3, offset=n, **options) for n in (0, 3, 6, 200)]
            assert [_keys(page) for page in pages] == [whole[:3], whole[3:6], whole[6:9], []]
            assert store.search(("n",), limit=0, **options) == []

    # -- with a query ----------------------------------------------------------------------------

    def test_a_query_puts_the_best_item_first(self, facts: BaseStore) -> None:
        """All items under the prefix are ranked; none is left out for a low score."""
        self._needs_queries()
        for query, first in (("peanuts", "nuts"), ("Biscuit the dog", "dog")):
            found = facts.search(_ANA, query=query)
            scores = [item.score or 0.0 for item in found]
            assert (found[0].key, found[0].value) == (first, _FACTS[first])
            assert scores == sorted(scores, reverse=True)
            assert {*_keys(found)} == {*_FACTS}
            assert all(item.namespace == _ANA for item in found)

    def test_pages_of_a_query_follow_each_other(self, facts: BaseStore) -> None:
        """With or without a filter."""
        self._needs_queries()
        for options in _optional(filter={"weight": {"$gte": 5}}):
            whole = _keys(facts.search(_ANA, query="Ana in the city", **options))
            assert len(whole) == (3 if options else 4)
            pages = [
                facts.search(_ANA, query="Ana in the city", limit=2, offset=offset, **options)
                for offset in (0, 2, 4)
            ]
            assert [_keys(page) for page in pages] == [whole[:2], whole[2:], []]

    def test_the_best_items_of_several_namespaces_are_first(self, store: BaseStore) -> None:
        """A prefix is searched as a whole."""
        self._needs_queries()
        for number in range(12):
            text = "zebra zebra" if number == 7 else f"note {number}"
            store.put(("u", str(number)), "k", {"text": text})
        found = store.search(("u",), query="zebra", limit=5)
        assert found[0].namespace == ("u", "7")
        assert len(found) == 5

    def test_a_query_searches_the_fields_of_an_item(self, store: BaseStore) -> None:
        """`index` names the fields to search; with False the item is not found by a query."""
        self._needs_queries()
        store.put(("a",), "1", {"x": "zebra", "y": "tea"}, index=["y"])
        store.put(("a",), "2", {"x": "zebra", "y": "coffee"}, index=["x"])
        store.put(("a",), "3", {"x": "zebra", "y": "tea"}, index=False)
        assert _keys(store.search(("a",), query="zebra")) == ["2", "1"]
        assert _keys(store.search(("a",), query="tea")) == ["1", "2"]
        assert {*_keys(store.search(("a",)))} == {"1", "2", "3"}

    def test_a_replaced_item_is_found_by_its_new_text(self, store: BaseStore) -> None:
        """Its old text no longer counts, and an item may leave the index."""
        self._needs_queries()
        store.put(("a",), "1", {"text": "zany zebra"})
        store.put(("a",), "2", {"text": "about birds"})
        before = store.search(("a",), query="zany zebra")[0]
        store.put(("a",), "1", {"text": "news about dogs"})
        after = {item.key: item for item in store.search(("a",), query="zany zebra")}
        assert before.key == "1"
        assert (after["1"].score or 0) < (before.score or 0)
        assert store.search(("a",), query="dogs")[0].key == "1"
        store.put(("a",), "1", {"text": "news about dogs"}, index=False)
        assert _keys(store.search(("a",), query="dogs")) == ["2"]

    def _needs_queries(self) -> None:
        if not self.searches_by_query:
            pytest.skip("searches_by_query is False")


def _optional(**options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, options


def _keys(found: list[SearchItem]) -> list[str]:
    return [item.key for item in found]
