"""Conditions on metadata, times and types, in `recall`, `inject_context` and `memories`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from typing import Any

import numpy as np
import pytest

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import InvalidInput, MemoryDraft

NOTES: list[tuple[str, dict[str, Any]]] = [
    ("Tea in the office.", {"topic": "work", "n": 1}),
    ("Tea at home.", {"topic": "home", "n": 2.5}),
    ("Tea on the train.", {"topic": "work", "n": 3, "by": {"name": "ana"}}),
    ("Tea with honey.", {"topic": "home", "n": "4", "tags": ["sweet", "hot"]}),
    ("Tea is a plant.", {}),
]
DEEP: dict[str, Any] = reduce(lambda inner, _: {"$not": inner}, range(200), {"n": 1})
FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2, 3, 4]),
    ({"topic": "work"}, [0, 2]),
    ({"topic": "work", "n": {"$gte": 3}}, [2]),
    ({"n": {"$gt": 1, "$lt": 3}}, [1]),
    ({"n": {"$gte": "3"}}, [2, 3]),
    ({"topic": {"$ne": "work"}}, [1, 3, 4]),
    ({"$or": [{"n": 1}, {"by.name": "ana"}]}, [0, 2]),
    ({"$and": [{"topic": "home"}, {"$not": {"n": {"$lt": 3}}}]}, [3]),
    ({"$nor": [{"topic": "home"}, {"topic": "work"}]}, [4]),
    ({"tags": ["sweet", "hot"]}, [3]),
    ({"by": {"name": "ana"}}, [2]),
    ({"topic": None}, [4]),
    ({"topic": "nothing"}, []),
    ({"$and": [{}]}, [0, 1, 2, 3, 4]),
    ({"$not": {}}, []),
    ({"tags": np.float64(1)}, []),
]


@pytest.fixture
def noted(memory: Driver) -> Driver:
    memory.remember_many([MemoryDraft(text, user_id="ana", metadata=m) for text, m in NOTES])
    memory.remember("Tea of another user.", user_id="ben", metadata={"topic": "work", "n": 9})
    return memory


def numbers(found: Any) -> list[int]:
    texts = [text for text, _ in NOTES]
    return sorted(texts.index(each.content) for each in found)


def test_a_filter_applies_everywhere(noted: Driver) -> None:
    for wanted, expected in FILTERS:
        options = {"user_id": "ana", "filter": wanted}
        assert numbers(noted.recall("tea", top_k=9, **options)) == expected, wanted
        context = noted.inject_context("tea", top_k=9, **options)
        assert numbers(context.memories) == expected, wanted
        assert numbers(noted.memories(**options)) == expected, wanted
        page = [noted.memories(limit=1, offset=n, **options) for n in range(5)]
        assert sorted(n for each in page for n in numbers(each)) == expected, wanted


def test_a_filter_chooses_before_the_best_are_taken(memory: Driver) -> None:
    texts = [f"The blue bicycle, part {n}." for n in range(60)]
    memory.remember_many([MemoryDraft(text, user_id="ana") for text in texts])
    memory.remember("A note on wheels.", user_id="ana", metadata={"kept": True})
    found = memory.recall("blue bicycle", user_id="ana", top_k=1, filter={"kept": True})
    assert [each.content for each in found] == ["A note on wheels."]


def test_changed_metadata_is_filtered_as_it_is_now(
    open_shared: Callable[..., Driver],
) -> None:
    here, there = open_shared(), open_shared()
    note = here.remember("Tea at home.", user_id="ana", metadata={"topic": "home"})
    here.flush(20)
    for topic in ("work", "garden"):
        here.update(note.id, metadata={"topic": topic})
        here.flush(20)
        for memory in (here, there):
            found = memory.recall("tea", user_id="ana", filter={"topic": topic})
            assert [each.id for each in found] == [note.id]
            assert memory.recall("tea", user_id="ana", filter={"topic": "home"}) == []


def test_a_period(memory: Driver) -> None:
    for day in range(4):
        moment = NOW - timedelta(days=day)
        memory.remember(NOTES[day][0], user_id="ana", created_at=moment)
    for since, until, expected in (
        (2, None, [0, 1, 2]),
        (None, 2, [3]),
        (2, 1, [2]),
        (2, 2, []),
    ):
        ends = {
            name: NOW - timedelta(days=days)
            for name, days in (("since", since), ("until", until))
            if days is not None
        }
        assert numbers(memory.recall("tea", user_id="ana", top_k=9, **ends)) == expected
        assert numbers(memory.memories(user_id="ana", **ends)) == expected
        context = memory.inject_context("tea", user_id="ana", **ends)
        assert numbers(context.memories) == expected


def test_several_types(memory: Driver, clock: Clock) -> None:
    types = ("episodic", "semantic", "procedural", "fact", "preference")
    for (text, _), type_ in zip(NOTES, types, strict=True):
        memory.remember(text, user_id="ana", memory_type=type_)
    for wanted, expected in (
        (["semantic", "fact"], [1, 3]),
        (("episodic", "semantic"), [0, 1]),
        ({"preference"}, [4]),
        ("procedural", [2]),
    ):
        assert numbers(memory.recall("tea", user_id="ana", memory_type=wanted)) == expected
        assert numbers(memory.memories(user_id="ana", memory_type=wanted)) == expected


def test_the_threshold_and_order_of_a_context(memory: Driver) -> None:
    memory.remember("Ana drinks tea.", user_id="ana")
    memory.remember("Tea grows in Nepal.")
    assert not memory.inject_context("What is 2+2?", user_id="ana", threshold=0.3).memories
    shared = memory.inject_context("tea", user_id="ana", include_shared=True)
    assert len(shared.memories) == 2
    ordered = memory.inject_context(
        "Does tea grow in Nepal?", user_id="ana", include_shared=True, order_by="similarity"
    )
    assert ordered.memories[0].content == "Tea grows in Nepal."


def test_a_flag_that_does_not_fit_is_refused_also_beside_as_of(noted: Driver) -> None:
    for call in (noted.memories, lambda **options: noted.recall("tea", **options)):
        with pytest.raises(InvalidInput, match="include_superseded"):
            call(user_id="ana", as_of=NOW, include_superseded="no")


WRONG: list[dict[str, Any]] = [
    {"filter": {"$in": [1]}},
    {"filter": {"n": np.int64(1)}},
    {"filter": {"tags": {"$eq": np.array([1])}}},
    {"filter": DEEP},
    {"filter": {"n": {"$in": [1]}}},
    {"filter": {"$gt": 5}},
    {"filter": ["topic"]},
    {"filter": {"n": {"$gt": None}}},
    {"since": "yesterday"},
    {"until": NOW.replace(tzinfo=None)},
    {"since": NOW, "until": NOW - timedelta(days=1)},
    {"as_of": 2026},
    {"memory_type": []},
    {"memory_type": ["semantic", "facts"]},
]


def test_conditions_that_do_not_fit(noted: Driver) -> None:
    for wrong in WRONG:
        for verb, asked in (("recall", ["tea"]), ("inject_context", ["tea"]), ("memories", [])):
            with pytest.raises(InvalidInput):
                getattr(noted, verb)(*asked, user_id="ana", **wrong)
