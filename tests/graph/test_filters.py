"""Filters: the values that each of them accepts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from inside import accepting
from langchain_kronvex import InvalidInput

VALUE: dict[str, Any] = {
    "n": 5, "f": 4.5, "s": "tea", "date": "2026-04-28", "digits": "10", "none": None, "yes": True,
    "tags": ["a", "b"], "user": {"name": "Ana", "age": 41, "tags": ["x"]}, "dotted.name": 1,
    "big": 10**30, "list": [{"k": 1}],
}  # fmt: skip


@pytest.mark.parametrize(
    "wanted",
    [
        {}, None, {"n": 5}, {"n": 5.0}, {"s": "tea"}, {"none": None}, {"absent": None},
        {"yes": True}, {"tags": ["a", "b"]}, {"tags": ("a", "b")}, {"user": {"name": "Ana"}},
        {"dotted.name": 1},
        {"user": {"tags": ["x"], "age": {"$gt": 40}}}, {"user.name": "Ana"}, {"user.absent": None},
        {"user.age": {"$lt": 42}}, {"list": [{"k": 1}]}, {"list": [{"k": {"$gte": 1}}]},
        {"n": {"$eq": 5}}, {"n": {"$ne": 6}}, {"absent": {"$ne": 1}}, {"tags": {"$eq": ["a", "b"]}},
        {"n": {"$gt": 4, "$gte": 5, "$lt": 6, "$lte": 5}}, {"f": {"$gt": 4.4}},
        {"big": {"$gt": 10**29}},
        {"n": {"$lt": float("inf")}}, {"date": {"$gte": "2026-01-01", "$lt": "2027-01-01"}},
        {"digits": {"$gt": 9}}, {"digits": {"$gt": "9"}}, {"n": {"$gt": "4"}},
    ],
    ids=repr,
)  # fmt: skip
def test_the_filter_accepts(wanted: dict[str, Any] | None) -> None:
    assert accepting(wanted)(VALUE)


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": 6}, {"n": "5"}, {"s": "Tea"}, {"s": "t%"}, {"none": 0}, {"absent": 1},
        {"tags": ["a"]},
        {"tags": ["b", "a"]}, {"tags": "a"}, {"user": {"name": "Bob"}}, {"user": {"absent": 1}},
        {"user.name.more": 1}, {"s.name": "x"}, {"n": {"$eq": 6}}, {"n": {"$ne": 5}},
        {"n": {"$gt": 5}}, {"n": {"$lt": 5}}, {"n": {"$gt": 4, "$lt": 5}},
        {"n": {"$gt": float("nan")}},
        {"none": {"$gt": 0}}, {"absent": {"$lt": 9}}, {"tags": {"$gt": 0}}, {"s": {"$gt": 1}},
        {"n": 5, "s": "coffee"}, {"n": {"$eq": float("nan")}}, {"user": {"$gt": 1}},
        {"n": {"age": 1}},
        {"tags": {"$ne": ("a", "b")}},
    ],
    ids=repr,
)  # fmt: skip
def test_the_filter_rejects(wanted: dict[str, Any]) -> None:
    assert not accepting(wanted)(VALUE)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({"$or": [{"n": 6}, {"s": "tea"}]}, True),
        ({"$or": [{"n": 6}, {"s": "coffee"}]}, False),
        ({"$and": [{"n": {"$gt": 4}}, {"user.name": "Ana"}]}, True),
        ({"$and": [{"n": 5}, {"s": "coffee"}]}, False),
        ({"$not": {"n": 5}}, False),
        ({"$not": {"n": 5, "s": "coffee"}}, True),
        ({"$nor": [{"n": 6}, {"s": "coffee"}]}, True),
        ({"$nor": [{"n": 6}, {"s": "tea"}]}, False),
        ({"s": "tea", "$or": [{"n": 5}]}, True),
        ({"s": "coffee", "$or": [{"n": 5}]}, False),
        ({"$or": [{"$and": [{"n": 5}, {"$not": {"s": "coffee"}}]}, {"n": 9}]}, True),
        ({"n": {"$not": {"$gt": 4}}}, False),
        ({"n": {"$or": [{"$lt": 4}, {"$gt": 4}]}}, True),
        ({"n": {"$gt": 1, "$not": {"$eq": 5}}}, False),
        ({"user": {"$or": [{"name": "Ben"}, {"age": {"$gte": 41}}]}}, True),
        ({"user": {"$not": {"name": "Ana"}}}, False),
        ({"absent": {"$not": {"$gt": 1}}}, True),
        ({"list": [{"k": {"$or": [{"$gt": 5}, 1]}}]}, None),
        ({"list": [{"k": {"$or": [{"$gt": 5}, {"$eq": 1}]}}]}, True),
    ],
    ids=repr,
)
def test_conditions_are_combined(wanted: dict[str, Any], fits: bool | None) -> None:
    if fits is None:
        with pytest.raises(InvalidInput, match="at least one mapping"):
            accepting(wanted)
    else:
        assert accepting(wanted)(VALUE) is fits


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"$gt": 5}, "names no field.*gt"),
        ({"$eq": 5, "n": 5}, "names no field.*eq"),
        ({"$or": [{"$gt": 5}]}, "names no field.*gt"),
        ({"n": {"$gt": None}}, "gt.*NoneType"),
        ({"n": {"$lte": [1]}}, "lte.*list"),
        ({"n": {"$gte": {"a": 1}}}, "gte.*dict"),
        ({"n": {"$in": [5]}}, "in.*unknown"),
        ({"$where": "n"}, "where.*unknown"),
        ({"tags": [{"$regex": "a"}]}, "regex.*unknown"),
        ({"list": [{"k": {"$exists": True}}]}, "exists.*unknown"),
        ({"tags": {"$eq": [{"$gt": 1}]}}, "eq.*without operators"),
        ({"user": {"$ne": {"age": {"$gt": 1}}}}, "ne.*without operators"),
        ({"$or": []}, "or.*at least one"),
        ({"$or": {"n": 5}}, "or.*a list"),
        ({"$and": [5]}, "and.*at least one"),
        ({"$not": [{"n": 5}]}, "not.*one mapping"),
        ({"n": {"$not": 5}}, "not.*one mapping"),
        ({"user": {"$gt": 1, "name": "Ana"}}, "mixes.*gt"),
    ],
    ids=repr,
)
def test_a_filter_that_could_never_match_is_rejected_by_name(
    wanted: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        accepting(wanted)


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner),
    max_leaves=5,
)
CONDITIONS = (
    VALUES
    | st.fixed_dictionaries({"$eq": VALUES})
    | st.fixed_dictionaries({"$ne": VALUES})
    | st.fixed_dictionaries({"x": st.fixed_dictionaries({"$ne": SCALARS})})
)
NUMBERS = st.integers(-3, 3) | st.floats(-3, 3)
ORDERS = st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS, min_size=1)


@given(value=VALUES, wanted=CONDITIONS)
@settings(deadline=None)
def test_equality_is_as_in_langgraphs_own_store(value: Any, wanted: Any) -> None:
    theirs = InMemoryStore()
    theirs.put(("a",), "k", {"field": value})
    expected = bool(theirs.search(("a",), filter={"field": wanted}))
    assert accepting({"field": wanted})({"field": value}) is expected


@given(value=NUMBERS, wanted=ORDERS)
@settings(deadline=None)
def test_order_is_as_in_langgraphs_own_store(value: float, wanted: dict[str, float]) -> None:
    theirs = InMemoryStore()
    theirs.put(("a",), "k", {"field": value})
    expected = bool(theirs.search(("a",), filter={"field": wanted}))
    assert accepting({"field": wanted})({"field": value}) is expected
