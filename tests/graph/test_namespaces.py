"""Namespaces: listed like in LangGraph, each with its own name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import InvalidNamespaceError, ListNamespacesOp, MatchCondition

from inside import check_namespace, owner_of, read, written
from langchain_kronvex import InvalidInput
from langchain_kronvex.langgraph import KronvexStore

OpenStore = Callable[..., KronvexStore]
LABELS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0."), min_size=1, max_size=90
) | st.sampled_from(["/", "%", "%2F", "%25", "/a", "a/", "*", "_", " "])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=5).map(tuple)


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
