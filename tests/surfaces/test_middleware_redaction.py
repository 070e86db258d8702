"""`KronvexMemoryMiddleware` with middleware that redacts or blocks: it saves the state."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    PIIMiddleware,
    before_agent,
    before_model,
)
from langchain.agents.middleware.pii import PIIDetectionError
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import (
    Agent,
    AgentCall,
    AgentModel,
    ainvoke,
    asking,
    calls,
    can_be_interrupted,
    config_of,
    every_way,
    invoke,
    sync_and_async,
)
from .models import ModelDown
from .runs import remembered, said
from .test_middleware_turns import APPROVED, order

MAIL = "My mail is ana@example.com"
REDACTED = "My mail is [REDACTED_EMAIL]"
CARD = "My card is 4111 1111 1111 1111"
in_any_order = pytest.mark.parametrize("first", [True, False], ids=["memory first", "last"])


def mails(**options: Any) -> PIIMiddleware:
    return PIIMiddleware("email", strategy="redact", **options)


def cards() -> PIIMiddleware:
    return PIIMiddleware("credit_card", strategy="block")


def guarded(
    memory: KronvexMemory, model: AgentModel, *others: Any, first: bool = True, **options: Any
) -> Agent:
    remembering: Any = KronvexMemoryMiddleware(memory=memory)
    middleware = [remembering, *others] if first else [*others, remembering]
    return create_agent(model, middleware=middleware, **options)


@every_way
@in_any_order
async def test_redacted_messages_are_saved_redacted(
    memory: KronvexMemory, call: AgentCall, first: bool
) -> None:
    model = AgentModel(replies=["Noted."])
    agent = guarded(memory, model, mails(), first=first, checkpointer=InMemorySaver())

    state = await call(agent, asking(MAIL))
    await call(agent, asking("What is my mail?"), config_of(thread_id="another"))

    assert state["messages"][0].text == REDACTED
    assert said(memory) == [f"human: {REDACTED}", "ai: Noted."]
    assert f"User: {REDACTED}\nAssistant: Noted." in remembered(memory)
    assert f"User: {REDACTED} Assistant: Noted." in model.prompts[1][0].text
    assert "ana@example" not in repr([model.prompts, remembered(memory)])


@sync_and_async
@in_any_order
async def test_a_redacted_answer_is_saved_redacted(
    memory: KronvexMemory, call: AgentCall, first: bool
) -> None:
    model = AgentModel(replies=["Write to ben@example.com."])
    redacts = mails(apply_to_output=True)

    await call(guarded(memory, model, redacts, first=first), asking("Whom do I ask?"))

    assert said(memory) == ["human: Whom do I ask?", "ai: Write to [REDACTED_EMAIL]."]
    assert "ben@example" not in repr(remembered(memory))


@pytest.mark.parametrize(("call", "restarted"), [(invoke, False), (ainvoke, True)])
@in_any_order
async def test_a_blocked_message_is_not_saved_now_or_later(
    open_memory: OpenMemory, call: AgentCall, first: bool, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    agent = guarded(memory, AgentModel(), cards(), first=first, checkpointer=saver)

    with pytest.raises(PIIDetectionError):
        await call(agent, asking(CARD))
    assert said(memory) == []
    if restarted:
        memory = open_memory()
        agent = guarded(memory, AgentModel(), cards(), first=first, checkpointer=saver)
    await call(agent, asking("Never mind."))

    assert said(memory) == ["human: Never mind.", "ai: Fine."]
    assert remembered(memory) == ["User: Never mind.\nAssistant: Fine."]


def test_a_redacted_and_blocked_message_is_not_saved(memory: KronvexMemory) -> None:
    agent = guarded(memory, AgentModel(), mails(), cards(), checkpointer=InMemorySaver())

    with pytest.raises(PIIDetectionError):
        agent.invoke(asking(f"{MAIL}. {CARD}"), config_of())
    agent.invoke(asking("Never mind."), config_of())

    assert said(memory) == ["human: Never mind.", "ai: Fine."]


@sync_and_async
@in_any_order
async def test_the_message_is_on_disk_when_the_model_is_called(
    memory: KronvexMemory, open_memory: OpenMemory, call: AgentCall, first: bool
) -> None:
    elsewhere = open_memory()
    model = AgentModel(replies=[lambda prompt: " | ".join(said(elsewhere))])

    state = await call(guarded(memory, model, mails(), first=first), asking(MAIL))

    assert state["messages"][-1].text == f"human: {REDACTED}"


@sync_and_async
@pytest.mark.parametrize("restarted", [False, True])
async def test_redacted_messages_are_saved_once_despite_a_failure(
    open_memory: OpenMemory, call: AgentCall, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    model = AgentModel(replies=[ModelDown("gone"), "Noted."])
    with pytest.raises(ModelDown):
        await call(guarded(memory, model, mails(), checkpointer=saver), asking(MAIL))
    assert said(memory) == [f"human: {REDACTED}"]

    if restarted:
        memory.save_messages([HumanMessage("Rain?"), AIMessage("Yes.")], "chat", user_id="ana")
        memory = open_memory()
    await call(guarded(memory, model, mails(), checkpointer=saver), {"messages": []})

    meanwhile = ["human: Rain?", "ai: Yes."] if restarted else []
    assert said(memory) == [f"human: {REDACTED}", *meanwhile, "ai: Noted."]
    assert f"User: {REDACTED}\nAssistant: Noted." in remembered(memory)


@can_be_interrupted
@in_any_order
async def test_redacted_messages_are_saved_once_despite_an_interrupt(
    open_memory: OpenMemory, call: AgentCall, first: bool
) -> None:
    saver, model = InMemorySaver(), AgentModel(replies=[calls("order", what="tea"), "Ordered."])

    def agent(memory: KronvexMemory) -> Agent:
        asks = HumanInTheLoopMiddleware(interrupt_on={"order": True})
        options: Any = {"first": first, "tools": [order], "checkpointer": saver}
        return guarded(memory, model, mails(), asks, **options)

    await call(agent(open_memory()), asking(MAIL))
    memory = open_memory()
    memory.save_messages([HumanMessage("Rain?"), AIMessage("Yes.")], "chat", user_id="ana")
    await call(agent(memory), APPROVED)

    assert said(memory) == [f"human: {REDACTED}", "human: Rain?", "ai: Yes.", "ai: Ordered."]
    assert f"User: {REDACTED}\nAssistant: Ordered." in remembered(memory)


def test_a_client_that_sends_all_messages_again_does_not_undo_the_redaction(
    memory: KronvexMemory,
) -> None:
    agent = guarded(memory, AgentModel(), mails(), checkpointer=InMemorySaver())
    first, second = HumanMessage(MAIL, id="1"), HumanMessage("And now?", id="2")

    state = agent.invoke({"messages": [first]}, config_of())
    answer = AIMessage(state["messages"][-1].text, id=state["messages"][-1].id)
    agent.invoke({"messages": [first, answer, second]}, config_of())

    assert said(memory) == [f"human: {REDACTED}", "ai: Fine.", "human: And now?", "ai: Fine."]


@sync_and_async
@in_any_order
async def test_a_model_fallback_is_one_turn(
    memory: KronvexMemory, call: AgentCall, first: bool
) -> None:
    stands_in = ModelFallbackMiddleware(AgentModel(replies=["Hello."]))
    model = AgentModel(replies=[ModelDown("gone")])

    await call(guarded(memory, model, stands_in, first=first), asking("Hi."))

    assert said(memory) == ["human: Hi.", "ai: Hello."]
    assert remembered(memory) == ["User: Hi.\nAssistant: Hello."]


# -- without the model -------------------------------------------------------------------------


@sync_and_async
@in_any_order
async def test_an_answer_of_another_middleware_is_saved_as_in_the_final_state(
    memory: KronvexMemory, call: AgentCall, first: bool
) -> None:
    @before_model(can_jump_to=["end"])
    def answers(state: Any, runtime: Any) -> dict[str, Any]:
        return {"jump_to": "end", "messages": [AIMessage("We are open.")]}

    agent = guarded(memory, AgentModel(), mails(), answers, first=first)
    await call(agent, asking(MAIL))

    assert remembered(memory) == [f"User: {REDACTED}\nAssistant: We are open."]


@sync_and_async
@in_any_order
async def test_messages_removed_from_the_state_are_not_saved(
    memory: KronvexMemory, call: AgentCall, first: bool
) -> None:
    @before_model(can_jump_to=["end"])
    def takes_out(state: Any, runtime: Any) -> dict[str, Any] | None:
        last = state["messages"][-1]
        if "card" not in last.text:
            return None
        return {"jump_to": "end", "messages": [RemoveMessage(last.id), AIMessage("Not here.")]}

    saver = InMemorySaver()
    agent = guarded(memory, AgentModel(), takes_out, first=first, checkpointer=saver)
    for text in ("Hi.", CARD, "Well?"):
        await call(agent, asking(text))

    assert said(memory) == ["human: Hi.", "ai: Fine.", "human: Well?", "ai: Fine."]
    assert remembered(memory) == ["User: Hi.\nAssistant: Fine.", "User: Well?\nAssistant: Fine."]


@sync_and_async
async def test_an_answer_before_the_turn_begins_is_not_saved(
    memory: KronvexMemory, call: AgentCall
) -> None:
    @before_agent(can_jump_to=["end"])
    def refuses(state: Any, runtime: Any) -> dict[str, Any] | None:
        if "card" not in state["messages"][-1].text:
            return None
        return {"jump_to": "end", "messages": [AIMessage("Not here.")]}

    agent = guarded(memory, AgentModel(), refuses, first=False, checkpointer=InMemorySaver())
    for text in ("Hi.", CARD):
        await call(agent, asking(text))

    assert remembered(memory) == ["User: Hi.\nAssistant: Fine."]
    assert said(memory) == ["human: Hi.", "ai: Fine."]
