"""Agents and graphs of LangGraph use our store in tools, in nodes, and after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.tools import InjectedStore, ToolRuntime, tool
from langchain_core.messages import AIMessage
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from integration.crew import run_python
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
from surfaces.agents import AgentModel, asking, calls

OpenStore = Callable[..., KronvexStore]
FOOD = ("users", "ana", "food")


@tool
def note(fact: str, runtime: ToolRuntime) -> str:
    """Store a fact."""
    assert runtime.store is not None
    runtime.store.put(FOOD, "note", {"text": fact})
    return "noted"


@tool
async def anote(fact: str, runtime: ToolRuntime) -> str:
    """Store a fact."""
    assert runtime.store is not None
    await runtime.store.aput(FOOD, "note", {"text": fact})
    return "noted"


@tool
def look_up(query: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Look something up."""
    return store.search(("users", "ana"), query=query, limit=1)[0].value["text"]


def last_text(state: dict[str, Any]) -> str:
    return state["messages"][-1].text


@pytest.mark.parametrize("noting", [note, anote], ids=["sync", "async"])
def test_tools_of_an_agent_share_the_store(plain: KronvexStore, noting: Any) -> None:
    script = [
        calls(noting.name, fact="Ana is allergic to peanuts."),
        calls("look_up", query="allergies"),
        AIMessage("done"),
    ]
    agent = create_agent(AgentModel(replies=script), tools=[noting, look_up], store=plain)
    if noting is note:
        state = agent.invoke(asking("hello"))
    else:
        state = asyncio.run(agent.ainvoke(asking("hello")))

    assert last_text(state) == "done"
    told = [message.text for message in state["messages"] if message.type == "tool"]
    assert told == ["noted", "Ana is allergic to peanuts."]
    assert plain.get(FOOD, "note").value == {"text": "Ana is allergic to peanuts."}


async def test_nodes_of_a_graph_reach_the_store_in_every_way(plain: KronvexStore) -> None:
    async def by_runtime(state: MessagesState, runtime: Runtime[None]) -> dict[str, Any]:
        assert runtime.store is not None
        await runtime.store.aput(("a",), "1", {"text": "by runtime"})
        return {}

    async def by_argument(state: MessagesState, *, store: BaseStore) -> dict[str, Any]:
        found = await store.asearch(("a",), query="runtime")
        await store.aput(("a",), "2", {"text": f"after {found[0].value['text']}"})
        return {}

    def in_a_thread(state: MessagesState, *, store: BaseStore) -> dict[str, Any]:
        return {"messages": [AIMessage(store.get(("a",), "2").value["text"])]}

    graph = StateGraph(MessagesState)
    for name, node in (("1", by_runtime), ("2", by_argument), ("3", in_a_thread)):
        graph.add_node(name, node)
    graph.add_edge(START, "1").add_edge("1", "2").add_edge("2", "3")
    state = await graph.compile(store=plain).ainvoke({"messages": []})

    assert last_text(state) == "after by runtime"


def test_a_node_of_a_graph_asks_for_the_store(plain: KronvexStore) -> None:
    plain.put(("a",), "1", {"text": "by context"})

    def by_context(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(get_store().get(("a",), "1").value["text"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("1", by_context)
    graph.add_edge(START, "1")
    # Called sync, because LangGraph passes no context to async calls on Python 3.10.
    state = graph.compile(store=plain).invoke({"messages": []})

    assert last_text(state) == "by context"


REMEMBERING = """
import json, sys
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

store = KronvexStore(KronvexMemory(sys.argv[1]))
if sys.argv[2] == "write":
    store.put(("users", "ana"), "food", {"text": "Ana is allergic to peanuts."})
    store.put(("users", "ana"), "city", {"text": "Ana lives in Lisbon."}, ttl=60)
    store.put(("users", "bob"), "food", {"text": "Bob likes peanuts."})
    print(json.dumps("written"))  # the process ends without closing anything
else:
    found = store.search(("users", "ana"), query="peanuts")
    item = store.get(("users", "ana"), "city")
    print(json.dumps([[i.key for i in found], item.value, store.list_namespaces()]))
"""


@pytest.mark.slow
def test_items_are_read_by_another_process(store_url: str) -> None:
    assert run_python(REMEMBERING, store_url, "write") == "written"
    assert run_python(REMEMBERING, store_url, "read") == [
        ["food", "city"],
        {"text": "Ana lives in Lisbon."},
        [["users", "ana"], ["users", "bob"]],
    ]


def test_an_agent_after_a_restart(open_memory: Callable[..., KronvexMemory]) -> None:
    for script, told in (
        ([calls("note", fact="Ana is allergic to peanuts."), AIMessage("ok")], "noted"),
        ([calls("look_up", query="peanuts"), AIMessage("ok")], "Ana is allergic to peanuts."),
    ):
        with open_memory() as memory, KronvexStore(memory) as store:
            agent = create_agent(AgentModel(replies=script), tools=[note, look_up], store=store)
            state = agent.invoke(asking("hello"))
        assert state["messages"][-2].text == told


@pytest.mark.slow
def test_no_loadable_extension_and_nothing_heavy_is_needed() -> None:
    script = """
import json, sqlite3, sys
if hasattr(sqlite3.Connection, "enable_load_extension"):
    class Connection(sqlite3.Connection):
        def enable_load_extension(self, enabled):
            raise AssertionError("an extension is loaded")
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
with KronvexMemory("sqlite://") as memory, KronvexStore(memory) as store:
    store.put(("a",), "k", {"text": "tea"})
    assert store.search(("a",), query="tea")
heavy = {"torch", "sqlalchemy", "psycopg", "sqlite_vec", "openai", "langgraph.pregel"}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""
    assert run_python(script) == []


@pytest.mark.slow
def test_without_langgraph_the_error_names_the_extra() -> None:
    script = """
import json, sys
sys.modules["langgraph.store.base"] = None
try:
    import langchain_kronvex.langgraph
except ImportError as error:
    print(json.dumps(str(error)))
"""
    assert 'pip install "langchain-kronvex[langgraph]"' in run_python(script)
