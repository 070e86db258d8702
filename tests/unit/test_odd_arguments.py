"""Odd arguments of the public verbs are rejected at the call, by an error that names them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel

from langchain_kronvex import (
    InvalidInput,
    KronvexError,
    KronvexMemory,
    MemoryDraft,
)
from langchain_kronvex.consolidation import KronvexConsolidator

OpenMemory = Callable[..., KronvexMemory]
MEANT: dict[str, tuple[str, dict[str, Any], str]] = {
    "k": ("recall", {"query": "tea", "k": 3}, "top_k"),
    "user": ("remember", {"content": "tea", "user": "ana"}, "user_id"),
    "type": ("memories", {"type": "fact"}, "memory_type"),
    "ttl": ("save_exchange", {"user_message": "a", "assistant_message": "b", "ttl": 1}, "ttl_days"),
    "memroy_type": ("update", {"id": "x", "memroy_type": "fact"}, "memory_type"),
    "keep": ("forget", {"id": "x", "keep": True}, "keep_messages"),
    "memory": ("as_retriever", {"memory": "fact"}, "memory_type"),
    "seconds": ("flush", {"seconds": 3}, "timeout"),
}
FLAGS: list[tuple[str, dict[str, Any], str]] = [
    ("remember", {"content": "tea"}, "pinned"),
    ("recall", {"query": "tea"}, "include_shared"),
    ("memories", {}, "include_shared"),
    ("save_messages", {"messages": [], "session_id": "s"}, "remember"),
    ("forget", {"id": "x"}, "keep_messages"),
    ("export", {"file": "never"}, "vectors"),
    ("export", {"file": "never"}, "progress"),
]


@pytest.fixture
def memory(open_memory: OpenMemory) -> KronvexMemory:
    opened = open_memory("sqlite://", embeddings=False)
    opened.remember("stays", user_id="ana")
    return opened


@pytest.mark.parametrize(("verb", "given", "meant"), MEANT.values(), ids=MEANT)
async def test_an_unknown_option_names_the_one_that_was_meant(
    memory: KronvexMemory, verb: str, given: dict[str, Any], meant: str
) -> None:
    unknown = next(reversed(given))
    says = rf"{verb} has no option '{unknown}'; .*\b{meant}\b"
    with pytest.raises(InvalidInput, match=says):
        getattr(memory, verb)(**given)
    if twin := getattr(memory, f"a{verb}", None):
        with pytest.raises(InvalidInput, match=f"a{says}"):
            await twin(**given)


def test_an_unknown_option_of_the_constructor() -> None:
    for given, meant in [("http_async_client", "http_client"), ("timeout", "timeout_seconds")]:
        with pytest.raises(InvalidInput, match=f"KronvexMemory.* no option '{given}'.*'{meant}'"):
            KronvexMemory("sqlite://", **{given: 7})


async def test_an_unknown_option_of_a_consolidator(memory: KronvexMemory) -> None:
    model = FakeListChatModel(responses=["{}"])
    with pytest.raises(InvalidInput, match="no option 'batch_size'"):
        KronvexConsolidator(memory, model, batch_size=0)  # type: ignore[call-arg]
    consolidator = KronvexConsolidator(memory, model)
    with pytest.raises(InvalidInput, match="no option 'user'"):
        consolidator.run(user="ana")  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="no option 'dry'"):
        await consolidator.arun(dry=True)  # type: ignore[call-arg]


@pytest.mark.parametrize(("verb", "given", "flag"), FLAGS)
@pytest.mark.parametrize("value", ["no", 0, 1, [], "False"])
def test_a_flag_is_true_or_false(
    memory: KronvexMemory, verb: str, given: dict[str, Any], flag: str, value: Any
) -> None:
    with pytest.raises(InvalidInput, match=f"{flag} must be True or False"):
        getattr(memory, verb)(**given, **{flag: value})
    assert [each.content for each in memory.memories(user_id="ana")] == ["stays"]


def test_flags_of_drafts_and_updates(memory: KronvexMemory) -> None:
    drafts: Any = [MemoryDraft("one"), MemoryDraft("two", pinned="no")]  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="pinned"):
        memory.remember_many(drafts)
    assert memory.memories() == []
    [stays] = memory.memories(user_id="ana")
    with pytest.raises(InvalidInput, match="pinned"):
        memory.update(stays.id, pinned="yes")  # type: ignore[arg-type]
    assert memory.get(stays.id) == stays


def test_dates_without_a_time_zone_and_lone_texts(memory: KronvexMemory) -> None:
    with pytest.raises(InvalidInput, match="created_at has no time zone"):
        memory.remember("tea", created_at=datetime(2026, 1, 1))
    with pytest.raises(InvalidInput, match="already_shown must be a list"):
        memory.inject_context("tea", already_shown="tea")
    with pytest.raises(InvalidInput, match="every item of already_shown must be a string"):
        memory.inject_context("tea", already_shown=[[]])
    for timeout in ("soon", float("nan"), True):
        with pytest.raises(InvalidInput, match="timeout must be a number"):
            memory.flush(timeout)  # type: ignore[arg-type]


def test_errors_inside_a_verb_stay_what_they_are(memory: KronvexMemory) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        memory.recall()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional argument"):
        memory.recall("tea", "ana")  # type: ignore[misc]


def test_the_verbs_still_look_like_themselves() -> None:
    for name, verb in inspect.getmembers(KronvexMemory, inspect.isfunction):
        if not name.startswith("_"):
            assert verb.__doc__, name
            assert "args" not in inspect.signature(verb).parameters
    assert inspect.iscoroutinefunction(KronvexMemory.arecall)
    assert not inspect.iscoroutinefunction(KronvexMemory.recall)


def test_nothing_odd_raises_a_foreign_error(memory: KronvexMemory) -> None:
    odd: list[Any] = [None, 7, -1, "no", b"x", [], {}, object(), 3.5, float("nan"), "", ["a"]]
    given: dict[str, dict[str, Any]] = {
        "remember": {"content": "a"},
        "save_exchange": {"user_message": "a", "assistant_message": "b"},
        "recall": {"query": "a"},
        "inject_context": {"query": "a"},
        "memories": {},
        "get": {"id": "x"},
        "update": {"id": "x"},
        "forget": {"id": "x"},
        "sessions": {},
        "load_messages": {"session_id": "s"},
        "save_messages": {"messages": [], "session_id": "s"},
        "clear_messages": {"session_id": "s"},
        "import_": {"file": "missing"},
        "flush": {"timeout": 1},
        "chat_history": {"session_id": "s"},
    }
    for verb, needed in given.items():
        method = getattr(memory, verb)
        for name in inspect.signature(method).parameters:
            for value in odd:
                with contextlib.suppress(KronvexError):
                    method(**{**needed, name: value})
