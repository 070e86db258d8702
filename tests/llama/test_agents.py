"""Agents and chat engines of LlamaIndex with this memory and a scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.chat_engine import CondensePlusContextChatEngine, SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer, InsertMethod, Memory

from langchain_kronvex import KronvexMemory
from langchain_kronvex.llama_index import (
    KronvexAsyncChatStore,
    KronvexChatStore,
    KronvexMemoryBlock,
    KronvexRetriever,
)

from .parts import ScriptedModel, assistant, texts, user

# LlamaIndex's own: it inspects every agent, deprecated attributes included, and its ReActAgent
# asks a workflow what it may no longer ask.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.PydanticDeprecationWarning:inspect",
    "ignore:is_running called from within a step:DeprecationWarning",
)
FACT = "I am allergic to peanuts."


def long_term(memory: KronvexMemory, user_id: str, session: str) -> Memory:
    return Memory.from_defaults(
        session_id=session,
        chat_store=KronvexAsyncChatStore(memory=memory, user_id=user_id),
        memory_blocks=[KronvexMemoryBlock(memory=memory, user_id=user_id)],
    )


def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


def calls_a_tool(messages: Sequence[ChatMessage]) -> ChatMessage:
    if messages[-1].role.value == "tool":
        return assistant(f"It says: {messages[-1].content}.")
    call = ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs={"city": "Porto"})
    return ChatMessage(role="assistant", blocks=[TextBlock(text="Let me look."), call])


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_function_agent_remembers_across_sessions(
    memory: KronvexMemory, streaming: bool
) -> None:
    model = ScriptedModel()
    agent = FunctionAgent(llm=model, tools=[weather], streaming=streaming)
    await agent.run(FACT, memory=long_term(memory, "ana", "monday"))
    await agent.run("What must I not eat?", memory=long_term(memory, "ana", "tuesday"))
    await agent.run("What must I not eat?", memory=long_term(memory, "ben", "tuesday"))

    assert FACT in model.shown[1]
    assert "<LongTermMemory>" in model.shown[1]
    assert "peanuts" not in model.shown[2]


async def test_tool_calls_are_stored_and_exchanges_are_remembered(memory: KronvexMemory) -> None:
    model = ScriptedModel(answer=calls_a_tool)
    agent = FunctionAgent(llm=model, tools=[weather], streaming=False)
    chat = long_term(memory, "ana", "monday")
    await agent.run("How is the weather?", memory=chat)
    kept = KronvexChatStore(memory=memory, user_id="ana").get_messages("monday")

    assert [message.role.value for message in kept] == ["user", "assistant", "tool", "assistant"]
    assert isinstance(kept[1].blocks[1], ToolCallBlock)
    assert kept[2].additional_kwargs == {"tool_call_id": "c1"}
    assert [found.content for found in memory.memories(user_id="ana")] == [
        "User: How is the weather?\nAssistant: Let me look. It says: rain in Porto."
    ]


@pytest.mark.parametrize("method", ["system", "user"])
async def test_a_react_agent_remembers_across_sessions(memory: KronvexMemory, method: str) -> None:
    """It drops the first system message: its own if it has one, else that of the memory."""
    model = ScriptedModel(answer=lambda _: assistant("Thought: I know.\nAnswer: Noted."))
    prompt = "Be brief." if method == "system" else None
    for session, said in (("monday", FACT), ("tuesday", "What must I not eat?")):
        agent = ReActAgent(llm=model, tools=[weather], streaming=False, system_prompt=prompt)
        chat = long_term(memory, "ana", session)
        chat.insert_method = InsertMethod(method)
        await agent.run(said, memory=chat)

    assert "<LongTermMemory>" not in model.shown[0]
    assert f"User: {FACT}" in model.shown[1]


async def test_a_workflow_of_agents_and_two_users_at_once(memory: KronvexMemory) -> None:
    async def talk(user_id: str, secret: str) -> list[str]:
        model = ScriptedModel()
        for session, said in (("one", f"My code is {secret}."), ("two", "What is my code?")):
            workflow = AgentWorkflow(
                [FunctionAgent(name="clerk", description="d", llm=model, tools=[weather])]
            )
            await workflow.run(user_msg=said, memory=long_term(memory, user_id, session))
        return model.shown

    ana, ben = await asyncio.gather(talk("ana", "alpha"), talk("ben", "beta"))
    assert "alpha" in ana[1]
    assert "beta" not in " ".join(ana)
    assert "beta" in ben[1]
    assert "alpha" not in " ".join(ben)


def test_a_chat_engine_continues_with_its_buffer(memory: KronvexMemory) -> None:
    model = ScriptedModel()

    def engine() -> SimpleChatEngine:
        store = KronvexChatStore(memory=memory, user_id="ana")
        buffer = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="monday")
        return SimpleChatEngine.from_defaults(llm=model, memory=buffer)

    engine().chat("one")
    streamed = engine().stream_chat("two")
    assert "".join(streamed.response_gen) == "re two"
    asyncio.run(engine().achat("three"))

    assert model.shown[2].splitlines() == [
        "user: one", "assistant: re one", "user: two", "assistant: re two", "user: three"
    ]  # fmt: skip
    engine().reset()
    assert KronvexChatStore(memory=memory, user_id="ana").get_keys() == []


def test_a_chat_engine_over_the_memories_themselves(memory: KronvexMemory) -> None:
    memory.remember("Ana is allergic to peanuts.", user_id="ana")
    model = ScriptedModel()
    engine = CondensePlusContextChatEngine.from_defaults(
        retriever=KronvexRetriever(memory=memory, user_id="ana"),
        llm=model,
        memory=long_term(memory, "ana", "monday"),
    )
    engine.chat("What am I allergic to?")

    assert "Ana is allergic to peanuts." in model.shown[-1]
    store = KronvexChatStore(memory=memory, user_id="ana")
    assert texts(store.get_messages("monday"))[0] == "user: What am I allergic to?"


def test_threads_of_one_conversation_lose_nothing(memory: KronvexMemory) -> None:
    async def talk() -> None:
        store = KronvexChatStore(memory=memory, user_id="ana")
        await asyncio.gather(*(store.async_add_message("k", user(str(n))) for n in range(40)))

    asyncio.run(talk())
    found: list[Any] = KronvexChatStore(memory=memory, user_id="ana").get_messages("k")
    assert sorted(int(m.content) for m in found) == list(range(40))
