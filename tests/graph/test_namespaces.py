"""Namespaces: listed like in LangGraph, each with its own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import InvalidNamespaceError, ListNamespacesOp, MatchCondition

from inside import check_namespace, owner_of, read, written
from langchain_kronvex import InvalidInput
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenStore = Callable[..., KronvexStore]
TREE = [
    ("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f"), ("a", "c", "f"),
    ("b", "a", "f"), ("users", "123"), ("users", "456", "settings"), ("admin", "users", "789"),
]  # fmt: skip
LABELS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0."), min_size=1, max_size=90
) | st.sampled_from(["/", "%", "%2F", "%25", "/a", "a/", "*", "_", " "])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=5).map(tuple)


@pytest.fixture
def tree(store: KronvexStore) -> KronvexStore:
    for number, namespace in enumerate(TREE):
        store.put(namespace, f"k{number}", {"n": number})
    return store


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, TREE),
        ({"prefix": ("a", "b")}, TREE[:4]),
        ({"suffix": ("f",)}, [TREE[3], TREE[4], TREE[5]]),
        ({"prefix": ("a",), "suffix": ("f",)}, [TREE[3], TREE[4]]),
        ({"prefix": ("a", "b"), "max_depth": 3}, [("a", "b", x) for x in "cdf"]),
        ({"max_depth": 1}, [("a",), ("admin",), ("b",), ("users",)]),
        ({"prefix": ("a", "b"), "limit": 2}, TREE[:2]),
        ({"prefix": ("a", "b"), "offset": 2}, TREE[2:4]),
        ({"prefix": ("a", "*", "f")}, [TREE[3], TREE[4]]),
        ({"prefix": ("*", "users")}, [TREE[8]]),
        ({"suffix": ("*", "f")}, [TREE[3], TREE[4], TREE[5]]),
        ({"suffix": ("users", "*")}, [TREE[6], TREE[8]]),
        ({"prefix": ("users", "123")}, [TREE[6]]),
        ({"prefix": ("users", "12")}, []),
        ({"suffix": ("23",)}, []),
        ({"prefix": ("a", "b", "c", "d")}, []),
        ({"limit": 0}, []),
        ({"offset": 99}, []),
    ],
    ids=repr,
)
def test_listing(
    tree: KronvexStore, asked: dict[str, Any], expected: list[tuple[str, ...]]
) -> None:
    assert tree.list_namespaces(**asked) == sorted(expected)


def test_all_conditions_must_hold(tree: KronvexStore) -> None:
    conditions = tuple(MatchCondition("prefix", path) for path in (("a",), ("*", "b"), ("a", "b")))
    [found] = tree.batch([ListNamespacesOp(match_conditions=conditions)])
    assert found == TREE[:4]


def test_an_invalid_listing_is_rejected(store: KronvexStore) -> None:
    store.put(("a",), "k", {"v": 1})
    for wrong in ({"limit": -1}, {"offset": "1"}, {"max_depth": 0}):
        with pytest.raises(InvalidInput):
            store.batch([ListNamespacesOp(**wrong)])
    with pytest.raises(InvalidInput, match="infix"):
        store.batch([ListNamespacesOp((MatchCondition("infix", ("a",)),))])  # type: ignore
    with pytest.raises(InvalidNamespaceError):
        store.list_namespaces(prefix=("a", "b.c"))
    with pytest.raises(InvalidNamespaceError):
        store.batch([ListNamespacesOp((MatchCondition("prefix", ("a.b",)),))])


def test_namespaces_without_items_are_not_listed(store: KronvexStore, clock: Clock) -> None:
    store.put(("a", "deleted"), "k", {"v": 1})
    store.put(("a", "expired"), "k", {"v": 1}, ttl=1)
    store.put(("a", "hidden"), "k", {"v": 1}, index=False)
    store.put(("a",), "k", {"v": 1}, ttl=1)
    store.delete(("a", "deleted"), "k")
    clock.advance(minutes=2)

    assert store.list_namespaces(prefix=("a",)) == [("a", "hidden")]
    assert store.list_namespaces() == [("a", "hidden")]


@given(NAMESPACES)
@settings(deadline=None)
def test_a_namespace_can_be_read_from_its_name(namespace: tuple[str, ...]) -> None:
    assert check_namespace(namespace) == namespace
    assert read(written(namespace)) == namespace


@given(NAMESPACES, NAMESPACES)
@settings(deadline=None)
def test_names_of_nested_namespaces_begin_with_the_outer_name(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    under = len(other) > len(one) and other[: len(one)] == one
    assert written(other).startswith(f"{written(one)}/") is under
    assert (owner_of(one) == owner_of(other)) is (one == other)


@given(NAMESPACES)
@settings(deadline=None)
def test_every_name_fits_the_store(namespace: tuple[str, ...]) -> None:
    assert 0 < len(owner_of(namespace)) <= 255
    assert owner_of(namespace).strip()
