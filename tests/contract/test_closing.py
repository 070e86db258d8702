"""Every verb of a closed memory raises MemoryClosed."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from contract.drivers import Driver
from langchain_kronvex import KronvexMemory, MemoryClosed, MemoryDraft

CALLS = {
    "remember": lambda m: m.remember("tea"),
    "remember_many": lambda m: m.remember_many([MemoryDraft("tea")]),
    "save_exchange": lambda m: m.save_exchange("tea?", "tea!"),
    "recall": lambda m: m.recall("tea"),
    "recall of a user": lambda m: m.recall("tea", user_id="ana"),
    "inject_context": lambda m: m.inject_context("tea"),
    "memories": lambda m: m.memories(),
    "get": lambda m: m.get("x"),
    "update": lambda m: m.update("x", pinned=True),
    "forget": lambda m: m.forget(id="x"),
    "forget a user": lambda m: m.forget(user_id="ana"),
    "clear": lambda m: m.clear(),
    "sessions": lambda m: m.sessions(),
    "stats": lambda m: m.stats(),
    "save_messages": lambda m: m.save_messages([HumanMessage("hi")], "s"),
    "load_messages": lambda m: m.load_messages("s"),
    "clear_messages": lambda m: m.clear_messages("s"),
}


def test_every_verb_of_a_closed_memory_raises_memory_closed(memory: Driver) -> None:
    memory.remember("tea", user_id="ana")
    memory.recall("tea", user_id="ana")
    memory.close()
    for call in CALLS.values():
        with pytest.raises(MemoryClosed, match="closed"):
            call(memory)


def test_closing_twice_is_closing_once(memory: Driver) -> None:
    memory.close()
    memory.close()


def test_leaving_a_with_block_closes(backend, tmp_path) -> None:
    with KronvexMemory(backend.url(tmp_path)) as memory:
        memory.remember("tea")
    with pytest.raises(MemoryClosed):
        memory.memories()


async def test_leaving_an_async_with_block_closes(backend, tmp_path) -> None:
    async with KronvexMemory(backend.url(tmp_path)) as memory:
        await memory.aremember("tea")
    with pytest.raises(MemoryClosed):
        await memory.amemories()


def test_an_error_in_a_with_block_closes_and_is_not_hidden(backend, tmp_path) -> None:
    memory = KronvexMemory(backend.url(tmp_path))
    with pytest.raises(ZeroDivisionError), memory:
        _ = 1 / 0
    with pytest.raises(MemoryClosed):
        memory.memories()
