"""`KronvexMemoryMiddleware` with a failing store: the agent answers, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from inside import AgentTurn, middleware
from langchain_kronvex import BackgroundWriter, KronvexMemory, MemoryClosed, StoreError
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import (
    Agent,
    AgentCall,
    AgentModel,
    agent_of,
    asking,
    config_of,
    every_way,
    sync_and_async,
)
from .conftest import EventLog, Faults
from .runs import remembered, said

EXCHANGE = ["human: Hi.", "ai: Fine."]
Logged = Callable[[], list[str]]


def heard_by(log: EventLog) -> Any:
    return {**config_of(), "callbacks": [log]}


@every_way
async def test_when_the_recall_fails_the_agent_answers(
    memory: KronvexMemory, call: AgentCall, faults: Faults, event_log: EventLog,
    warnings_logged: Logged,
) -> None:  # fmt: skip
    faults.fail("recall")
    model = AgentModel()

    state = await call(agent_of(model, memory), asking("Is it raining?"), heard_by(event_log))

    assert state["messages"][-1].text == "Fine."
    assert [message.type for message in model.prompts[0]] == ["human"]
    assert said(memory) == ["human: Is it raining?", "ai: Fine."]
    assert memory.stats().degraded == 1
    assert event_log.events == [("kronvex_memory_degraded", {})]
    assert len(warnings_logged()) == 1


@every_way
async def test_a_temporary_save_failure_is_repaired(
    memory: KronvexMemory, call: AgentCall, faults: Faults
) -> None:
    faults.fail("add", times=2)

    await call(agent_of(AgentModel(), memory), asking("Hi."))

    assert memory.flush(10)
    assert said(memory) == EXCHANGE
    assert remembered(memory) == ["User: Hi.\nAssistant: Fine."]


@sync_and_async
async def test_a_slow_store_does_not_delay_the_agent(
    memory: KronvexMemory, call: AgentCall, monkeypatch: pytest.MonkeyPatch, event_log: EventLog
) -> None:
    free, works = threading.Event(), memory.engine.backend.add

    def held_up(*args: Any, **kwargs: Any) -> Any:
        free.wait(30)
        return works(*args, **kwargs)

    memory.engine.patience_seconds = 0.01
    monkeypatch.setattr(memory.engine.backend, "add", held_up)

    state = await call(agent_of(AgentModel(), memory), asking("Hi."), heard_by(event_log))
    assert state["messages"][-1].text == "Fine."
    assert event_log.events == [("kronvex_memory_degraded", {})]
    free.set()

    assert memory.flush(10)
    assert said(memory) == EXCHANGE
    assert remembered(memory) == ["User: Hi.\nAssistant: Fine."]


@sync_and_async
@pytest.mark.parametrize("verb", ["recall", "add"])
async def test_on_error_raise_raises(
    memory: KronvexMemory, call: AgentCall, faults: Faults, verb: str
) -> None:
    faults.fail(verb)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(memory.engine, "writer", BackgroundWriter(attempts=1))
    strict = KronvexMemoryMiddleware(memory=memory, on_error="raise")
    model = AgentModel()

    with pytest.raises(StoreError, match="the disk is gone"):
        await call(create_agent(model, middleware=[strict]), asking("Is it raining?"))

    assert model.prompts == []
    monkey.undo()


def test_a_retried_failure_saves_once(
    memory: KronvexMemory, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    @wrap_model_call
    def twice(request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except StoreError:
            return handler(request)

    faults.fail("add", times=1)
    monkeypatch.setattr(memory.engine, "writer", BackgroundWriter(attempts=1))
    strict = KronvexMemoryMiddleware(memory=memory, on_error="raise")
    middleware: list[Any] = [twice, strict]
    agent: Agent = create_agent(AgentModel(), middleware=middleware)

    agent.invoke(asking("Hi."), config_of())

    assert said(memory) == EXCHANGE


@sync_and_async
async def test_a_closed_memory_is_a_mistake_of_the_program(
    memory: KronvexMemory, call: AgentCall
) -> None:
    agent = agent_of(AgentModel(), memory)
    memory.close()

    with pytest.raises(MemoryClosed):
        await call(agent, asking("Hi."))


# -- where nobody said anything ----------------------------------------------------------------


@sync_and_async
@pytest.mark.parametrize(
    "messages", [[], [AIMessage("Welcome!")], [SystemMessage("Greet the user.")]],
    ids=["nothing", "the agent's own", "an instruction"],
)  # fmt: skip
async def test_without_a_user_message_the_agent_runs_and_nothing_is_saved(
    tea_lover: KronvexMemory, call: AgentCall, faults: Faults, messages: list[BaseMessage]
) -> None:
    faults.fail("recall", times=0)  # counts
    saver = InMemorySaver()
    agent = agent_of(AgentModel(replies=["Hello!"]), tea_lover, checkpointer=saver)

    for _ in range(2):
        state = await call(agent, {"messages": messages})
        assert state["messages"][-1].text == "Hello!"
    assert faults.calls == 0
    assert remembered(tea_lover) == ["Ana prefers tea."]
    assert said(tea_lover) == []
    assert tea_lover.stats().degraded == 0

    await call(agent, asking("Hi."))
    assert remembered(tea_lover) == ["Ana prefers tea.", "User: Hi.\nAssistant: Hello!"]


@sync_and_async
async def test_an_agent_with_only_another_agents_messages_runs(
    memory: KronvexMemory, call: AgentCall
) -> None:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("plan", lambda state: {"messages": [AIMessage("I ask a colleague.")]})
    graph.add_node("agent", agent_of(AgentModel(replies=["Done."]), memory))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "agent")

    state = await call(graph.compile(), {"messages": []})

    assert state["messages"][-1].text == "Done."
    assert remembered(memory) == []


def test_a_request_without_a_user_message_is_answered(tea_lover: KronvexMemory) -> None:
    @wrap_model_call
    def trims(request: Any, handler: Any) -> Any:
        return handler(request.override(messages=[AIMessage("Well?")]))

    model = AgentModel()
    middleware: list[Any] = [trims, KronvexMemoryMiddleware(memory=tea_lover)]
    agent: Agent = create_agent(model, middleware=middleware)

    agent.invoke(asking("Hi."), config_of())

    assert model.prompts[0][-1].text == "Well?"
    assert said(tea_lover) == EXCHANGE


# -- whatever else goes wrong ------------------------------------------------------------------


@sync_and_async
@pytest.mark.parametrize(
    ("place", "at"), [(middleware, "beginning"), (AgentTurn, "context_for"), (AgentTurn, "end")]
)
async def test_any_failure_respects_on_error(
    memory: KronvexMemory, call: AgentCall, monkeypatch: pytest.MonkeyPatch, place: Any, at: str
) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr(place, at, fails)
    strict = KronvexMemoryMiddleware(memory=memory, on_error="raise")

    state = await call(agent_of(AgentModel(), memory), asking("Hi."))
    assert state["messages"][-1].text == "Fine."
    assert memory.stats().degraded == 1
    with pytest.raises(RuntimeError, match="out of order"):
        await call(create_agent(AgentModel(), middleware=[strict]), asking("Hi."))
