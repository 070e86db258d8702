"""A node that consolidates the user of a run, in sync and async graphs."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from typing_extensions import TypedDict

from consolidation.models import TextModel
from langchain_kronvex import KronvexMemory, ScopeRequired
from langchain_kronvex.consolidation import KronvexConsolidator

PORTO = '{"Fact": [{"text": "Ana lives in Porto.", "sources": [1]}]}'
ANA: Any = {"configurable": {"user_id": "ana", "thread_id": "1"}}


class WhoseContext(TypedDict):
    user_id: str


@pytest.fixture
def model() -> TextModel:
    return TextModel(answer=AIMessage(PORTO))


@pytest.fixture
def graph(memory: KronvexMemory, model: TextModel) -> Any:
    memory.save_exchange("I live in Porto.", "How nice!", user_id="ana")
    memory.save_exchange("I live in Rome.", "How nice!", user_id="ben")
    building = StateGraph(MessagesState, context_schema=WhoseContext)
    building.add_node("consolidate", KronvexConsolidator(memory, model).as_node())
    building.add_edge(START, "consolidate")
    building.add_edge("consolidate", END)
    return building.compile()


def derived(memory: KronvexMemory, user_id: str) -> list[str]:
    found = memory.memories(user_id=user_id, memory_type="semantic")
    return [each.content for each in found]


def test_the_user_of_the_config_is_consolidated(graph: Any, memory: KronvexMemory) -> None:
    state = graph.invoke({"messages": [HumanMessage("Hello")]}, ANA)

    assert [message.text for message in state["messages"]] == ["Hello"]
    assert derived(memory, "ana") == ["Ana lives in Porto."]
    assert derived(memory, "ben") == []


def test_the_user_of_the_context_is_consolidated(graph: Any, memory: KronvexMemory) -> None:
    graph.invoke({"messages": []}, context={"user_id": "ana"})

    assert derived(memory, "ana") == ["Ana lives in Porto."]
    assert derived(memory, "ben") == []


async def test_in_an_async_graph(graph: Any, memory: KronvexMemory, model: TextModel) -> None:
    await graph.ainvoke({"messages": []}, ANA)
    await graph.ainvoke({"messages": []}, ANA)

    assert derived(memory, "ana") == ["Ana lives in Porto."]
    assert len(model.shown) == 1  # the second time nothing is waiting


def test_a_stream_holds_nothing_of_the_model(graph: Any, model: TextModel) -> None:
    modes = ["messages", "custom", "updates"]

    streamed = list(graph.stream({"messages": []}, ANA, stream_mode=modes))

    assert streamed == [("updates", {"consolidate": None})]
    assert model.shown


async def test_an_async_stream_holds_nothing_of_the_model(graph: Any, model: TextModel) -> None:
    modes = ["messages", "custom", "updates"]

    streamed = [each async for each in graph.astream({"messages": []}, ANA, stream_mode=modes)]

    assert streamed == [("updates", {"consolidate": None})]
    assert model.shown


def test_callbacks_of_the_graph_see_nothing_of_the_model(graph: Any, model: TextModel) -> None:
    seen: list[Any] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            seen.append(args)

    graph.invoke({"messages": []}, {**ANA, "callbacks": [Handler()]})

    assert model.shown
    assert seen == []


def test_a_run_that_names_no_user_is_rejected(graph: Any, model: TextModel) -> None:
    with pytest.raises(ScopeRequired):
        graph.invoke({"messages": []})
    assert not model.shown
