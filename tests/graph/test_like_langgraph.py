"""Our store and LangGraph's `InMemoryStore` return the same after the same operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

LABEL = st.sampled_from(["a", "A", "b", "a-b", "a_b", "a%", "a/b", "a b", "é"])
NAMESPACE = st.lists(LABEL, min_size=1, max_size=3).map(tuple)
PREFIX = st.lists(LABEL, max_size=2).map(tuple)
KEY = st.sampled_from(["k", "K", "k1", "%"])
VALUE = st.fixed_dictionaries(
    {"n": st.integers(0, 3)},
    optional={"tags": st.lists(st.sampled_from("xy"), max_size=2), "in": st.just({"m": 1})},
)
INDEX = st.sampled_from([None, False, ["n"]])
PUT = st.builds(PutOp, NAMESPACE, KEY, VALUE | st.none(), index=INDEX, ttl=st.none())
FILTER = st.sampled_from(
    [None, {"n": 1}, {"n": {"$gte": 2}}, {"n": {"$ne": 0}, "tags": ["x"]}, {"in": {"m": 1}}]
)
PATH = st.lists(LABEL | st.just("*"), min_size=1, max_size=2).map(tuple)
CONDITION = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), PATH)
LIST = st.builds(
    ListNamespacesOp,
    st.lists(CONDITION, max_size=2).map(tuple),
    max_depth=st.none() | st.integers(1, 3),
    limit=st.integers(0, 5),
    offset=st.integers(0, 3),
)
GET = st.builds(GetOp, NAMESPACE, KEY)
SEARCH = st.builds(SearchOp, PREFIX, FILTER, st.just(100), st.just(0), st.none())
BATCH = st.lists(PUT | PUT | GET | SEARCH, max_size=8) | LIST.map(lambda listing: [listing])
BATCHES = st.lists(BATCH, min_size=1, max_size=6)


@given(batches=BATCHES)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_stores_return_the_same(batches: list[list[Any]]) -> None:
    theirs = InMemoryStore()
    with KronvexMemory("sqlite://") as memory, KronvexStore(memory) as ours:
        for operations in batches:
            forget_empty(theirs)
            said = [plainly(result) for result in ours.batch(operations)]
            assert said == [plainly(result) for result in theirs.batch(operations)]


def forget_empty(theirs: InMemoryStore) -> None:
    """Remove empty namespaces, which LangGraph's stores in databases do not list either."""
    for namespace in [name for name, items in theirs._data.items() if not items]:
        del theirs._data[namespace]


def plainly(result: Any) -> Any:
    """A result without its times, and found items in a fixed order."""
    if isinstance(result, list):
        if result and not isinstance(result[0], tuple):
            return sorted((plainly(item) for item in result), key=repr)
        return result
    return result and (result.namespace, result.key, result.value)


@given(
    items=st.dictionaries(st.tuples(NAMESPACE, KEY), VALUE, max_size=8),
    prefix=PREFIX,
    query=st.sampled_from(["n", "tags x", "zebra"]),
)
@settings(max_examples=30, deadline=None)
def test_a_search_by_query_never_leaves_its_prefix(
    items: dict[Any, Any], prefix: tuple[str, ...], query: str
) -> None:
    with KronvexMemory("sqlite://") as memory, KronvexStore(memory) as store:
        store.batch([PutOp(*place, value) for place, value in items.items()])
        found = store.search(prefix, query=query, limit=100)

    wanted = {place for place in items if place[0][: len(prefix)] == prefix}
    assert {(item.namespace, item.key) for item in found} == wanted
    assert all(item.value == items[item.namespace, item.key] for item in found)


def test_the_store_has_all_attributes_that_langgraph_uses(
    open_store: Callable[..., KronvexStore],
) -> None:
    index: Any = {"fields": ["text"], "dims": 3}
    store = open_store(index=index, ttl={"default_ttl": 5})

    assert store.supports_ttl is True
    assert store.ttl_config == {"default_ttl": 5}
    assert store.index_config == index
