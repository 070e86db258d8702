"""`KronvexMemoryMiddleware` while the store fails: the agent answers, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent

from langchain_kronvex import KronvexMemory, StoreError
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import AgentCall, AgentModel, agent_of, asking, every_colour, sync_and_async, whose
from .conftest import EventLog, Faults
from .runs import remembered, said

EXCHANGE = ["human: Hi.", "ai: Fine."]
Logged = Callable[[], list[str]]


def heard_by(log: EventLog) -> Any:
    return {**whose(), "callbacks": [log]}


@every_colour
async def test_when_the_recall_fails_the_agent_answers(
    memory: KronvexMemory, call: AgentCall, faults: Faults, event_log: EventLog,
    warnings_logged: Logged,
) -> None:  # fmt: skip
    faults.fail("recall")
    model = AgentModel()

    state = await call(agent_of(model, memory), asking("Hi."), heard_by(event_log))

    assert state["messages"][-1].text == "Fine."
    assert [message.type for message in model.prompts[0]] == ["human"]
    assert said(memory) == EXCHANGE
    assert memory.stats().degraded == 1
    assert event_log.events == [("kronvex_memory_degraded", {})]
    assert len(warnings_logged()) == 1


@every_colour
async def test_when_saving_fails_for_a_moment_it_is_made_up_for(
    memory: KronvexMemory, call: AgentCall, faults: Faults
) -> None:
    faults.fail("add", times=2)

    await call(agent_of(AgentModel(), memory), asking("Hi."))

    assert memory.flush(10)
    assert said(memory) == EXCHANGE
    assert remembered(memory) == ["User: Hi.\nAssistant: Fine."]


@sync_and_async
async def test_a_store_that_is_held_up_does_not_hold_up_the_agent(
    memory: KronvexMemory, call: AgentCall, monkeypatch: pytest.MonkeyPatch, event_log: EventLog
) -> None:
    free, works = threading.Event(), memory._backend.add

    def held_up(*args: Any, **kwargs: Any) -> Any:
        free.wait(30)
        return works(*args, **kwargs)

    monkeypatch.setattr("langchain_kronvex.turns.PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(memory._backend, "add", held_up)

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
    monkey.setattr(memory.writer, "_attempts", 1)
    strict = KronvexMemoryMiddleware(memory=memory, on_error="raise")
    model = AgentModel()

    with pytest.raises(StoreError, match="the disk is gone"):
        await call(create_agent(model, middleware=[strict]), asking("Hi."))

    assert model.prompts == []
    monkey.undo()


@sync_and_async
async def test_a_memory_that_was_closed_does_not_stop_the_agent(
    memory: KronvexMemory, call: AgentCall
) -> None:
    agent = agent_of(AgentModel(), memory)
    memory.close()

    state = await call(agent, asking("Hi."))

    assert state["messages"][-1].text == "Fine."
