"""`KronvexMemoryMiddleware` where messages have no ids: deep agents, and plain reducers."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from itertools import cycle
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentState, HumanInTheLoopMiddleware
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from typing_extensions import Required

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import Agent, AgentCall, AgentModel, calls, can_be_interrupted, config_of
from .models import ModelDown
from .runs import remembered, said
from .test_middleware_turns import APPROVED, EXCHANGE, order

if sys.version_info < (3, 11):  # which deepagents needs
    pytest.importorskip("deepagents")

from deepagents import create_deep_agent
from deepagents.backends import StoreBackend

Make = Callable[..., Agent]
REMEMBERED = ["User: Order tea.\nAssistant: Ordered."]
GIVEN: list[Any] = [
    "Order tea.", ("user", "Order tea."), {"role": "user", "content": "Order tea."},
    HumanMessage("Order tea."), HumanMessage("Order tea.", id="1"),
]  # fmt: skip


class PlainState(AgentState[Any]):
    messages: Required[Annotated[list[Any], operator.add]]  # type: ignore[misc]


def plain_agent(memory: KronvexMemory, model: AgentModel, **options: Any) -> Agent:
    middleware: Any = [
        KronvexMemoryMiddleware(memory=memory),
        HumanInTheLoopMiddleware(interrupt_on={"order": True}),
    ]
    return create_agent(
        model, tools=[order], state_schema=PlainState, middleware=middleware, **options
    )


def deep_agent(memory: KronvexMemory, model: AgentModel, **options: Any) -> Agent:
    return create_deep_agent(
        model, tools=[order], middleware=[KronvexMemoryMiddleware(memory=memory)],
        interrupt_on={"order": True}, **options,
    )  # fmt: skip


every_agent = pytest.mark.parametrize("make", [plain_agent, deep_agent], ids=["plain", "deep"])


@every_agent
@can_be_interrupted
@pytest.mark.parametrize(
    ("restarted", "given"), list(zip(cycle([False, True]), GIVEN)),
    ids=["text", "pair", "dict", "message", "id"],
)  # fmt: skip
async def test_a_turn_is_saved_once_also_when_it_is_resumed(
    open_memory: OpenMemory, make: Make, call: AgentCall, restarted: bool, given: Any
) -> None:
    saver, memory = InMemorySaver(), open_memory()
    memory.remember("Ana prefers tea.", user_id="ana", memory_type="semantic")
    begun = AgentModel(replies=[calls("order", what="tea"), "Ordered."])
    agent = make(memory, begun, checkpointer=saver)

    await call(agent, {"messages": [given]})
    assert said(memory) == EXCHANGE[:1]
    assert "Ana prefers tea." in begun.prompts[0][0].text
    if restarted:
        memory = open_memory()
        agent = make(memory, AgentModel(replies=["Ordered."]), checkpointer=saver)
    await call(agent, APPROVED)

    assert said(memory) == EXCHANGE
    assert remembered(memory)[1:] == REMEMBERED


@every_agent
def test_the_same_words_in_a_later_turn_are_saved_again(memory: KronvexMemory, make: Make) -> None:
    agent = make(memory, AgentModel(replies=["Hello."]), checkpointer=InMemorySaver())

    for _ in range(2):
        agent.invoke({"messages": [("user", "Hi.")]}, config_of())

    assert said(memory) == ["human: Hi.", "ai: Hello."] * 2


@every_agent
def test_a_failed_turn_goes_on_and_is_saved_once(memory: KronvexMemory, make: Make) -> None:
    model = AgentModel(replies=[ModelDown("gone"), "Ordered."])
    agent = make(memory, model, checkpointer=InMemorySaver())

    with pytest.raises(ModelDown):
        agent.invoke({"messages": [("user", "Order tea.")]}, config_of())
    agent.invoke(None, config_of())

    assert said(memory) == EXCHANGE
    assert remembered(memory) == REMEMBERED


def test_an_answer_of_a_deep_agent_is_replaced(memory: KronvexMemory) -> None:
    model = AgentModel(replies=["Take the 9:00 train.", "Ordered."])
    agent = deep_agent(memory, model, checkpointer=InMemorySaver())
    state = agent.invoke({"messages": [("user", "Order tea.")]}, config_of())

    agent.invoke({"messages": [RemoveMessage(state["messages"][-1].id)]}, config_of())

    assert said(memory) == EXCHANGE
    assert remembered(memory) == REMEMBERED


def test_the_files_of_a_deep_agent_outlive_the_process(open_memory: OpenMemory) -> None:
    def agent(memory: KronvexMemory, *replies: Any) -> Agent:
        files = StoreBackend(store=KronvexStore(memory), namespace=lambda runtime: ("ana", "files"))
        return create_deep_agent(AgentModel(replies=list(replies)), backend=files)

    path, text = "/notes.md", "Ana prefers tea."
    write = calls("write_file", file_path=path, content=text)
    agent(open_memory(), write, "Noted.").invoke({"messages": "Note that."}, config_of())
    read = calls("read_file", file_path=path)
    state = agent(open_memory(), read, "Read.").invoke({"messages": "Read that."}, config_of())

    assert [text in m.text for m in state["messages"] if m.type == "tool"] == [True]
