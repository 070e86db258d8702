"""Agents in one store have nothing in common."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from langchain_kronvex import MemoryNotFound


def test_agents_read_their_own_only(open_shared) -> None:
    one, two = open_shared(agent_id="one"), open_shared(agent_id="two")
    stored = {}
    for memory in (one, two):
        name = memory.memory.agent_id
        stored[name] = memory.remember(f"tea of {name}", user_id="ana", session_id="s")
        memory.remember(f"shared tea of {name}")
        memory.save_messages([HumanMessage(f"hi {name}")], "s", user_id="ana", remember=False)
    for memory, other in ((one, two), (two, one)):
        name, others = memory.memory.agent_id, other.memory.agent_id
        own = {f"tea of {name}", f"shared tea of {name}"}
        found = memory.recall("tea", user_id="ana", include_shared=True, top_k=99)
        assert {m.content for m in found} == own
        assert {m.content for m in memory.memories(user_id="ana", include_shared=True)} == own
        assert f"tea of {others}" not in memory.inject_context("tea", user_id="ana").context
        assert [m.content for m in memory.load_messages("s", user_id="ana")] == [f"hi {name}"]
        assert memory.get(stored[others].id) is None
        stats = memory.stats()
        assert (stats.memories, stats.messages, stats.users) == (2, 1, 2)
        assert len(memory.sessions()) == 2


def test_agents_change_and_forget_their_own_only(open_shared) -> None:
    one, two = open_shared(agent_id="one"), open_shared(agent_id="two")
    stored = one.remember("tea", user_id="ana")
    two.remember("tea", user_id="ana")
    with pytest.raises(MemoryNotFound):
        two.update(stored.id, pinned=True)
    assert two.forget(id=stored.id) == 0
    assert two.forget(user_id="ana") == 1
    assert two.clear() == 0
    assert one.get(stored.id) == stored
    two.remember("more", user_id="bob")
    assert one.clear() == 1
    assert [m.content for m in two.memories(user_id="bob")] == ["more"]


def test_names_of_agents_match_exactly(open_shared) -> None:
    names = ["agent", "Agent", "agent ", "agen_", "agen%", "default", "a'gent"]
    memories = [open_shared(agent_id=name) for name in names]
    for memory, name in zip(memories, names, strict=True):
        memory.remember(f"tea of {name!r}", user_id="ana")
    for memory, name in zip(memories, names, strict=True):
        assert [m.content for m in memory.recall("tea", user_id="ana")] == [f"tea of {name!r}"]


def test_without_a_name_the_agent_is_the_default_one(open_shared) -> None:
    stored = open_shared().remember("tea")
    assert open_shared(agent_id="default").get(stored.id) == stored
