"""LangMem works with our store: its tools for agents, and its memory manager."""

from __future__ import annotations

import asyncio
import json
import uuid
import warnings
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage

from langchain_kronvex.langgraph import KronvexStore
from surfaces.agents import AgentModel, asking, calls

with warnings.catch_warnings():  # a dependency of LangMem imports old names of LangGraph
    warnings.simplefilter("ignore", DeprecationWarning)
    from langmem import (
        create_manage_memory_tool,
        create_memory_store_manager,
        create_search_memory_tool,
    )

NAMESPACE = ("memories", "{user_id}")
TEXT = "The user is allergic to peanuts."


def config_of(user_id: str) -> Any:
    return {"configurable": {"user_id": user_id}}


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_tools_of_an_agent(plain: KronvexStore, way: str) -> None:
    tools = [create_manage_memory_tool(NAMESPACE), create_search_memory_tool(NAMESPACE)]
    script = [
        calls("manage_memory", content=TEXT, action="create"),
        calls("search_memory", query="What must I not eat?"),
        AIMessage("done"),
    ]
    state = run(create_agent(AgentModel(replies=script), tools, store=plain), way, "ana")
    [item] = plain.search(("memories", "ana"))
    assert item.value == {"content": TEXT}
    found = json.loads(state["messages"][-2].text)
    assert [(i["key"], i["namespace"]) for i in found] == [(item.key, ["memories", "ana"])]

    script = [
        calls("manage_memory", content="Peanuts are fine.", action="update", id=item.key),
        calls("search_memory", query="peanuts"),
        calls("manage_memory", action="delete", id=item.key),
        AIMessage("done"),
    ]
    state = run(create_agent(AgentModel(replies=script), tools, store=plain), way, "ana")
    assert "Peanuts are fine." in state["messages"][-4].text
    assert plain.search(("memories",)) == []


def test_the_tools_keep_users_apart(plain: KronvexStore) -> None:
    plain.put(("memories", "bob"), "1", {"content": TEXT})
    script = [calls("search_memory", query="peanuts"), AIMessage("done")]
    agent = create_agent(
        AgentModel(replies=script), [create_search_memory_tool(NAMESPACE)], store=plain
    )
    assert run(agent, "sync", "ana")["messages"][-2].text == "[]"


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_manager_adds_changes_and_deletes_memories(plain: KronvexStore, way: str) -> None:
    plain.put(
        ("memories", "ana"), "old", {"kind": "Memory", "content": {"content": "Ana likes tea."}}
    )
    said = {"messages": [{"role": "user", "content": "I like coffee now; I live in Lisbon."}]}
    model = AgentModel(replies=[calls("Memory", content="Ana lives in Lisbon.")])
    manager = create_memory_store_manager(model, namespace=NAMESPACE, store=plain)
    if way == "sync":
        manager.invoke(said, config_of("ana"))
    else:
        asyncio.run(manager.ainvoke(said, config_of("ana")))

    kept = {item.value["content"]["content"] for item in plain.search(("memories", "ana"))}
    assert kept == {"Ana likes tea.", "Ana lives in Lisbon."}
    found = plain.search(("memories", "ana"), query="Where does Ana live?")
    assert found[0].value["content"] == {"content": "Ana lives in Lisbon."}
    assert manager.get("old", config=config_of("ana")).value.content == "Ana likes tea."
    manager.delete("old", config=config_of("ana"))
    assert len(manager.search(query="tea", config=config_of("ana"))) == 1


def test_the_manager_finds_the_memories_to_change(plain: KronvexStore) -> None:
    key = str(uuid.uuid4())
    plain.put(
        ("memories", "ana"), key, {"kind": "Memory", "content": {"content": "Ana likes tea."}}
    )
    seen: list[str] = []

    class Watching(AgentModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(" ".join(message.text for message in messages))
            return super()._generate(messages, *args, **kwargs)

    model = Watching(replies=[AIMessage("nothing new")])
    manager = create_memory_store_manager(model, namespace=NAMESPACE, store=plain)
    manager.invoke({"messages": [{"role": "user", "content": "I drink tea."}]}, config_of("ana"))
    assert "Ana likes tea." in " ".join(seen)


def run(agent: Any, way: str, user_id: str) -> dict[str, Any]:
    if way == "sync":
        return agent.invoke(asking("hello"), config_of(user_id))
    return asyncio.run(agent.ainvoke(asking("hello"), config_of(user_id)))
