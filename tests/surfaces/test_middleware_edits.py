"""`KronvexMemoryMiddleware` with edited messages: new text with an old id."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import types
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import (
    Agent,
    AgentCall,
    AgentModel,
    agent_of,
    ainvoke,
    config_of,
    invoke,
    sync_and_async,
)
from .models import ModelDown
from .runs import remembered, said

# The first LangGraph takes the answer in a fork from where it was forked.
FORKS_ASK_AGAIN = hasattr(types, "ExtendedModelResponse")
LISBON, PORTO = "I live in Lisbon.", "I live in Porto."
FIRST = [f"human: {LISBON}", "ai: A1"]
SECOND = [f"human: {PORTO}", "ai: A2"]


def answering(memory: KronvexMemory, saver: Any, *replies: Any) -> Agent:
    model = AgentModel(replies=list(replies) or ["A1", "A2", "A3"])
    return agent_of(model, memory, checkpointer=saver)


def saying(text: str, id_: str = "1") -> dict[str, Any]:
    return {"messages": [HumanMessage(text, id=id_)]}


@pytest.mark.parametrize(("call", "restarted"), [(invoke, False), (ainvoke, True)])
@pytest.mark.parametrize("new_id", ["1", "2"], ids=["same id", "new id"])
async def test_an_edited_message_is_saved_with_its_answer(
    open_memory: OpenMemory, call: AgentCall, new_id: str, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    agent = answering(memory, saver)
    await call(agent, saying(LISBON))
    if restarted:
        memory = open_memory()
        agent = answering(memory, saver, "A2")

    await call(agent, saying(PORTO, new_id))

    assert said(memory) == [*FIRST, *SECOND]
    assert remembered(memory) == [
        f"User: {LISBON}\nAssistant: A1", f"User: {PORTO}\nAssistant: A2",
    ]  # fmt: skip


@sync_and_async
@pytest.mark.parametrize("restarted", [False, True] if FORKS_ASK_AGAIN else [True])
async def test_a_message_edited_in_the_state_is_saved(
    open_memory: OpenMemory, call: AgentCall, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    agent = answering(memory, saver)
    await call(agent, saying(LISBON))
    if restarted:
        memory = open_memory()
        agent = answering(memory, saver, "A2")
    states = agent.get_state_history(config_of())
    asked = next(state for state in states if state.next == ("model",))

    edited = agent.update_state(asked.config, saying(PORTO))
    edited["configurable"]["user_id"] = "ana"
    state = await call(agent, None, edited)

    answer = state["messages"][-1].text
    assert said(memory) == [*FIRST, f"human: {PORTO}", f"ai: {answer}"]
    assert f"User: {PORTO}\nAssistant: {answer}" in remembered(memory)


@sync_and_async
async def test_a_message_edited_before_the_model_call_is_saved_only_edited(
    memory: KronvexMemory, call: AgentCall
) -> None:
    model = AgentModel(replies=["A2"])
    agent = agent_of(model, memory, checkpointer=InMemorySaver(), interrupt_before=["model"])
    await call(agent, saying(LISBON))

    agent.update_state(config_of(), saying(PORTO))
    await call(agent, None)

    assert said(memory) == SECOND
    assert remembered(memory) == [f"User: {PORTO}\nAssistant: A2"]


def test_a_message_edited_back_is_saved_again(memory: KronvexMemory) -> None:
    agent = answering(memory, InMemorySaver())

    for text in (LISBON, PORTO, LISBON):
        agent.invoke(saying(text), config_of())

    assert said(memory) == [*FIRST, *SECOND, f"human: {LISBON}", "ai: A3"]
    assert f"User: {LISBON}\nAssistant: A3" in remembered(memory)


@sync_and_async
async def test_a_message_of_an_earlier_turn_can_be_edited(
    memory: KronvexMemory, call: AgentCall
) -> None:
    agent = answering(memory, InMemorySaver(), "A1", "A2", "A3", "A4")

    await call(agent, saying(LISBON))
    await call(agent, saying("It rains.", "2"))
    await call(agent, saying(PORTO))
    await call(agent, saying(PORTO))  # not an edit

    assert remembered(memory) == [
        f"User: {LISBON}\nAssistant: A1", f"User: {PORTO}\nAssistant: A4",
        "User: It rains.\nAssistant: A2",
    ]  # fmt: skip
    assert len(said(memory)) == 7


@sync_and_async
@pytest.mark.parametrize("restarted", [False, True])
async def test_the_answer_belongs_to_a_message_edited_after_a_failure(
    open_memory: OpenMemory, call: AgentCall, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    agent = answering(memory, saver, ModelDown("gone"), "A2")
    with pytest.raises(ModelDown):
        await call(agent, saying(LISBON))
    if restarted:
        memory = open_memory()
        agent = answering(memory, saver, "A2")

    await call(agent, saying(PORTO))

    assert said(memory) == [f"human: {LISBON}", *SECOND]
    assert remembered(memory) == [f"User: {LISBON}", f"User: {PORTO}\nAssistant: A2"]


def test_a_message_changed_by_others_is_not_saved_again(memory: KronvexMemory) -> None:
    agent = answering(memory, InMemorySaver())
    agent.invoke(saying(LISBON), config_of())

    agent.update_state(config_of(), saying("[removed]"))
    agent.invoke(saying(PORTO, "2"), config_of())

    assert said(memory) == [*FIRST, *SECOND]


def test_memories_are_recalled_for_the_edited_message(memory: KronvexMemory) -> None:
    for fact in ("The tram of Porto is old.", "Green tea is bitter."):
        memory.remember(fact, user_id="ana", memory_type="fact")
    model = AgentModel()
    remembering: Any = KronvexMemoryMiddleware(memory=memory, top_k=1)
    agent: Agent = create_agent(model, middleware=[remembering], checkpointer=InMemorySaver())

    for question in ("Which tea is bitter?", "How old is the tram of Porto?"):
        agent.invoke(saying(question), config_of())

    assert ["tea is" in prompt[0].text for prompt in model.prompts] == [True, False]
    assert ["tram of" in prompt[0].text for prompt in model.prompts] == [False, True]
