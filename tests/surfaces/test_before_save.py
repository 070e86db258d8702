"""`before_save` and `rerank` below chains, agents and tools: the chat goes on, and stays valid."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import RemoveMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory, redact_secrets, with_memory
from langchain_kronvex.middleware import KronvexMemoryMiddleware
from langchain_kronvex.tools import create_memory_tools

from .agents import AgentCall, AgentModel, agent_of, asking, calls, can_be_interrupted
from .agents import sync_and_async as agent_ways
from .models import FakeModel, ModelDown, echo
from .runs import Call, every_way, remembered, said, sync_and_async
from .test_middleware_turns import APPROVED, careful_agent

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Known: {memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


def no_codes(text: str) -> str | None:
    """Replace codes; refuse what is a secret."""
    return None if "secret" in text else re.sub(r"code \d+", "code XXXX", text)


@pytest.fixture
def memory(open_memory: OpenMemory) -> KronvexMemory:
    return open_memory(before_save=no_codes)


@every_way
async def test_a_chain_sees_what_was_said_and_stores_what_is_allowed(
    memory: KronvexMemory, call: Call
) -> None:
    model = FakeModel(replies=[echo])
    chain = with_memory(PROMPT | model, memory)

    await call(chain, {"input": "The door has code 7391."})
    await call(chain, {"input": "Tell me the secret."})
    await call(chain, {"input": "Good night."})

    assert "human: The door has code 7391." in [f"human: {p[-1].text}" for p in model.prompts]
    stored = ["human: The door has code XXXX.", "ai: You said: The door has code XXXX."]
    refused = ["human: [not saved]", "ai: [not saved]"]
    assert said(memory) == [*stored, *refused, "human: Good night.", "ai: You said: Good night."]
    assert remembered(memory) == [
        "User: Good night.\nAssistant: You said: Good night.",
        "User: The door has code XXXX.\nAssistant: You said: The door has code XXXX.",
    ]
    assert memory.stats().degraded == 0


@sync_and_async
async def test_a_changed_question_is_not_recalled_in_its_own_turn(
    memory: KronvexMemory, call: Call
) -> None:
    def look_up(given: dict[str, Any]) -> str:
        found = memory.recall("door code", user_id="ana")
        return ", ".join(each.content for each in found) or "nothing"

    chain = with_memory(RunnableLambda(look_up), memory)

    assert await call(chain, {"input": "The door has code 7391."}) == "nothing"
    again = await call(chain, {"input": "Which code does the door have?"})
    assert again.startswith("User: The door has code XXXX.")


@sync_and_async
async def test_a_failing_function_degrades_the_turn(open_memory: OpenMemory, call: Call) -> None:
    errors: list[Exception] = []

    def fails(text: str) -> str:
        raise ValueError(text)

    memory = open_memory(before_save=fails, on_error=errors.append)
    assert await call(with_memory(PROMPT | FakeModel(), memory), {"input": "Hi."})
    assert said(memory) == []
    assert memory.stats().degraded == len(errors) == 1
    assert memory.stats().failed == 0
    assert "Hi." not in str(memory.stats().last_error)


@can_be_interrupted
async def test_an_agent_resumed_by_another_process_saves_its_turn_once(
    open_memory: OpenMemory, call: AgentCall
) -> None:
    saver, memory = InMemorySaver(), open_memory(before_save=no_codes)
    begun = AgentModel(replies=[calls("order", what="tea, code 7")])
    await call(careful_agent(memory, saver, begun), asking("Order with code 7391."))
    memory.close()

    memory, resumed = (
        open_memory(before_save=no_codes),
        AgentModel(replies=["Code 7 it was: code 7."]),
    )
    await call(careful_agent(memory, saver, resumed), APPROVED)

    answer = "Code 7 it was: code XXXX."
    assert said(memory) == ["human: Order with code XXXX.", f"ai: {answer}"]
    assert remembered(memory) == [f"User: Order with code XXXX.\nAssistant: {answer}"]


@agent_ways
async def test_after_a_failure_a_changed_or_refused_turn_is_saved_once(
    open_memory: OpenMemory, call: AgentCall
) -> None:
    for question, stored, answer in (
        ("My code is code 7391.", "My code is code XXXX.", "Noted, code XXXX."),
        ("My secret.", "[not saved]", "Noted, code XXXX."),
    ):
        saver, memory = InMemorySaver(), open_memory(before_save=no_codes)
        memory.forget(user_id="ana")
        model = AgentModel(replies=[ModelDown("gone"), "Noted, code 1."])
        with pytest.raises(ModelDown):
            await call(agent_of(model, memory, checkpointer=saver), asking(question))
        memory.close()

        memory = open_memory(before_save=no_codes)
        await call(agent_of(model, memory, checkpointer=saver), None)
        assert said(memory) == [f"human: {stored}", f"ai: {answer}"]


@agent_ways
async def test_another_process_replaces_the_answer_to_a_changed_question(
    open_memory: OpenMemory, call: AgentCall
) -> None:
    saver, asked = InMemorySaver(), asking("What opens with code 7391?")
    for reply in ("A door.", "A gate with code 1."):
        memory = open_memory(before_save=no_codes)
        agent = agent_of(AgentModel(replies=[reply]), memory, checkpointer=saver)
        state = await call(agent, asked)
        asked = {"messages": [RemoveMessage(state["messages"][-1].id)]}

    exchange = ["What opens with code XXXX?", "A gate with code XXXX."]
    assert said(memory) == [f"human: {exchange[0]}", f"ai: {exchange[1]}"]
    assert remembered(memory) == [f"User: {exchange[0]}\nAssistant: {exchange[1]}"]


def test_a_tool_tells_the_model_of_a_refusal(memory: KronvexMemory) -> None:
    remember = create_memory_tools(memory, user_id="ana")[0]
    call = {"name": "remember", "args": {"content": "A secret."}, "id": "1", "type": "tool_call"}

    answer = remember.invoke(call)

    assert answer.status == "error"
    assert "before_save refused" in answer.text
    assert remembered(memory) == []


def test_an_agent_stores_no_memory_that_its_history_does_not_hold(memory: KronvexMemory) -> None:
    tools = create_memory_tools(memory, user_id="ana", session_id="chat")
    model = AgentModel(replies=[calls("remember", content="It is code 1."), "Kept."])
    remembering = KronvexMemoryMiddleware(memory=memory, user_id="ana", session_id="chat")
    agent = create_agent(model, tools=tools, middleware=[remembering])

    agent.invoke(asking("Keep code 1."))

    assert remembered(memory) == ["It is code XXXX.", "User: Keep code XXXX.\nAssistant: Kept."]


class ByLength:
    """A cross-encoder that can be pickled: the longest text first."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len(text)) for _, text in text_pairs]


@pytest.mark.parametrize("copied", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
def test_copies_and_other_agents_have_the_same_hooks(open_memory: OpenMemory, copied: Any) -> None:
    memory = open_memory(before_save=redact_secrets, rerank=ByLength())
    with memory.for_agent("other") as other:
        for each in (copied(memory), other):
            each.remember("password=swordfish", user_id="ana")
            each.remember("My password is a very long word.", user_id="ana")
            found = [m.content for m in each.recall("password", user_id="ana")]
            assert len(found) == 2
            assert "swordfish" not in str(found)
            assert [len(text) for text in found] == sorted(map(len, found), reverse=True)
            each.close()
