"""Every output of a chain is saved once: tool calls, dicts, structures, agents' messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_kronvex import KronvexMemory, with_memory

from .models import FakeModel
from .runs import ANA, Call, ainvoke, each_in_one_way, invoke, remembered, said, sync_and_async

CALL = tool_call(name="search", args={"q": "tea"}, id="call-1")
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Known: {memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


@sync_and_async
async def test_a_tool_call_is_saved_as_the_message_it_is(memory: KronvexMemory, call: Call) -> None:
    answer = AIMessage("Let me look.", tool_calls=[CALL], id="run-1")
    chain = with_memory(PROMPT | FakeModel(replies=[answer]), memory)

    await call(chain, {"input": "Is there tea?"})

    _, saved = memory.load_messages("chat", user_id="ana")
    assert type(saved) is AIMessage
    assert saved.tool_calls == [CALL]
    assert saved.text == "Let me look."
    assert remembered(memory) == ["User: Is there tea?\nAssistant: Let me look."]


@sync_and_async
async def test_a_tool_call_without_text_is_saved_too(memory: KronvexMemory, call: Call) -> None:
    chain = with_memory(FakeModel(replies=[AIMessage("", tool_calls=[CALL])]), memory)

    await call(chain, "Is there tea?")

    _, saved = memory.load_messages("chat", user_id="ana")
    assert saved.tool_calls == [CALL]
    assert remembered(memory) == ["User: Is there tea?"]


@tool
def search(q: str) -> str:
    """Look something up."""
    return f"{q}: three bags"


def loop(model: Any) -> Callable[[list[BaseMessage]], list[BaseMessage]]:
    """An agent without a framework: calls tools until the model calls none."""

    def run(messages: list[BaseMessage]) -> list[BaseMessage]:
        own: list[BaseMessage] = []
        while True:
            answer = model.invoke([*messages, *own])
            own.append(answer)
            if not answer.tool_calls:
                return own
            own.extend(search.invoke(call) for call in answer.tool_calls)

    return run


@pytest.mark.parametrize("call", [invoke, ainvoke])
async def test_a_turn_of_a_tool_calling_agent_is_saved_in_full(
    memory: KronvexMemory, call: Call
) -> None:
    model = FakeModel(replies=[AIMessage("", tool_calls=[CALL]), "Yes, three bags.", "Bye."])
    chain = with_memory(RunnableLambda(loop(model)), memory)

    await call(chain, "Is there tea?")
    await call(chain, "Thank you.")

    saved = memory.load_messages("chat", user_id="ana")
    assert [m.type for m in saved] == ["human", "ai", "tool", "ai", "human", "ai"]
    assert isinstance(saved[2], ToolMessage)
    assert saved[2].tool_call_id == "call-1"
    assert saved[2].text == "tea: three bags"
    assert remembered(memory) == [
        "User: Is there tea?\nAssistant: Yes, three bags.", "User: Thank you.\nAssistant: Bye.",
    ]  # fmt: skip


async def test_a_loop_that_calls_the_chain_again_with_tool_messages(
    memory: KronvexMemory,
) -> None:
    model = FakeModel(replies=[AIMessage("", tool_calls=[CALL]), "Yes, three bags."])
    chain = with_memory(model, memory)

    answer = chain.invoke("Is there tea?", ANA)
    final = await chain.ainvoke([search.invoke(call) for call in answer.tool_calls], ANA)

    assert final.text == "Yes, three bags."
    assert said(memory) == [
        "human: Is there tea?", "ai: ", "tool: tea: three bags", "ai: Yes, three bags.",
    ]  # fmt: skip
    assert remembered(memory) == ["User: Is there tea?\nAssistant: Yes, three bags."]


# -- agents that give the prompt back in front of their own messages ----------------------------


def same(messages: list[BaseMessage]) -> list[BaseMessage]:
    return messages


def copied(messages: list[BaseMessage]) -> list[BaseMessage]:
    return [message.model_copy() for message in messages]


def with_ids(messages: list[BaseMessage]) -> list[BaseMessage]:
    """Graphs give every message an id."""
    return [
        message.model_copy(update={"id": message.id or f"id-{place}"})
        for place, message in enumerate(messages)
    ]


def without_system(messages: list[BaseMessage]) -> list[BaseMessage]:
    return [message for message in messages if message.type != "system"]


GIVING_BACK = [same, copied, with_ids, without_system]
TURNS = ["human: Hello", "ai: 1", "human: And?", "ai: 2", "human: Bye", "ai: 3"]


@each_in_one_way("give_back", GIVING_BACK)
async def test_an_agent_over_messages_stores_nothing_twice(
    tea_lover: KronvexMemory, call: Call, give_back: Callable[[Any], Any]
) -> None:
    model = FakeModel(replies=["1", "2", "3"])

    def agent(messages: list[BaseMessage]) -> list[BaseMessage]:
        return [*give_back(messages), model.invoke(messages)]

    chain = with_memory(RunnableLambda(agent), tea_lover)
    for text in ("Hello", "And?", "Bye"):
        await call(chain, text)

    assert said(tea_lover) == TURNS


@each_in_one_way("give_back", GIVING_BACK)
async def test_an_agent_over_a_dict_of_messages_stores_nothing_twice(
    tea_lover: KronvexMemory, call: Call, give_back: Callable[[Any], Any]
) -> None:
    model = FakeModel(replies=["1", "2", "3"])

    def agent(state: dict[str, Any]) -> dict[str, Any]:
        shown = [*state["chat_history"], *state["messages"]]
        return {"messages": [*give_back(shown), model.invoke(shown)], "steps": 1}

    chain = with_memory(
        RunnableLambda(agent),
        tea_lover,
        input_messages_key="messages",
        output_messages_key="messages",
    )
    for text in ("Hello", "And?", "Bye"):
        await call(chain, {"messages": [HumanMessage(text)]})

    assert said(tea_lover) == TURNS


@each_in_one_way("give_back", GIVING_BACK)
async def test_a_chain_that_returns_its_whole_prompt_never_saves_the_context(
    tea_lover: KronvexMemory, call: Call, give_back: Callable[[Any], Any]
) -> None:
    model = FakeModel(replies=["1", "2", "3"])

    def answer(prompt: Any) -> list[BaseMessage]:
        messages = prompt.to_messages()
        return [*give_back(messages), model.invoke(messages)]

    chain = with_memory(PROMPT | answer, tea_lover)
    for text in ("Hello", "And?", "Bye"):
        await call(chain, {"input": text})

    assert said(tea_lover) == TURNS
    assert not [found for found in remembered(tea_lover) if "[semantic" in found]


@pytest.mark.parametrize("shape", ["messages", "dict"])
def test_an_agent_that_adds_nothing_saves_nothing_more(memory: KronvexMemory, shape: str) -> None:
    if shape == "messages":
        with_memory(RunnableLambda(lambda messages: list(messages)), memory).invoke("Hello", ANA)
    else:
        chain = with_memory(lambda d: {"output": d["input"]}, memory)
        chain.invoke({"input": [HumanMessage("Hello")]}, ANA)

    assert said(memory) == ["human: Hello"]


def test_an_answer_that_repeats_the_question_is_still_saved(memory: KronvexMemory) -> None:
    chain = with_memory(FakeModel(replies=["Hello"]), memory)

    chain.invoke("Hello", ANA)
    chain.invoke("Hello", ANA)

    assert said(memory) == ["human: Hello", "ai: Hello"] * 2


# -- dicts and structures -----------------------------------------------------------------------


OUTPUTS: list[tuple[Any, str]] = [
    ({"output": "Fine."}, "ai: Fine."),
    ({"output": AIMessage("Fine."), "steps": [1]}, "ai: Fine."),
    ({"only": "Fine."}, "ai: Fine."),
    ({"output": [AIMessage("Fine.")]}, "ai: Fine."),
    (AIMessage("Fine."), "ai: Fine."),
    ([AIMessage("Fine.")], "ai: Fine."),
    (("Fine.", "Good."), 'ai: ["Fine.", "Good."]'),
    ({"a": 1, "b": "x"}, 'ai: {"a": 1, "b": "x"}'),
    (7, "ai: 7"),
    (False, "ai: false"),
]


@each_in_one_way("case", OUTPUTS)
async def test_the_saved_part_of_an_output(
    memory: KronvexMemory, call: Call, case: tuple[Any, str]
) -> None:
    output, saved = case
    chain = with_memory(RunnableLambda(lambda _: output), memory)

    assert await call(chain, {"input": "How are you?"}) == output

    assert said(memory) == ["human: How are you?", saved]


@pytest.mark.parametrize("output", [None, "", [], {"output": ""}, {"output": None}])
def test_an_empty_output_saves_nothing_more(memory: KronvexMemory, output: Any) -> None:
    with_memory(RunnableLambda(lambda _: output), memory).invoke({"input": "How?"}, ANA)

    assert said(memory) == ["human: How?"]


class Order(BaseModel):
    """The structured answer of a model."""

    drink: str
    cups: int


@sync_and_async
async def test_a_structured_answer_is_saved_as_its_json(memory: KronvexMemory, call: Call) -> None:
    model = FakeModel(replies=['{"drink": "tea", "cups": 2}'])
    chain = with_memory(PROMPT | model | PydanticOutputParser(pydantic_object=Order), memory)

    assert await call(chain, {"input": "Two cups of tea."}) == Order(drink="tea", cups=2)

    _, answer = memory.load_messages("chat", user_id="ana")
    assert json.loads(answer.text) == {"drink": "tea", "cups": 2}
    assert "tea" in memory.recall("cups of tea", user_id="ana")[0].content


async def test_partial_structures_replace_each_other(memory: KronvexMemory) -> None:
    model = FakeModel(replies=['{"drink": "tea", "cups": 2}'])
    chain = with_memory(PROMPT | model | JsonOutputParser(), memory)

    last = list(chain.stream({"input": "Two cups."}, ANA))[-1]

    _, answer = memory.load_messages("chat", user_id="ana")
    assert last == {"drink": "tea", "cups": 2}
    assert json.loads(answer.text) == last


class Opaque:
    """An output that cannot be saved."""

    def __repr__(self) -> str:
        return "<opaque>"


@pytest.mark.parametrize("output", [Opaque(), {"a": Opaque(), "b": {1, 2}}, {("k",): 1, "b": 2}])
def test_an_output_that_cannot_be_saved_does_not_break_the_chat(
    memory: KronvexMemory, output: Any
) -> None:
    chain = with_memory(RunnableLambda(lambda _: output), memory)

    answer = chain.invoke({"input": "Hello"}, ANA)

    assert answer is output or answer == {**output, "memory_degraded": True}
    assert said(memory) == ["human: Hello"]


def test_the_users_own_system_message_is_not_saved(memory: KronvexMemory) -> None:
    chain = with_memory(FakeModel(), memory)

    chain.invoke([SystemMessage("Be a pirate."), HumanMessage("Hello")], ANA)

    assert said(memory) == ["human: Hello", "ai: Fine."]


@sync_and_async
async def test_a_notice_that_the_model_failed_is_no_answer_and_no_fault_of_the_memory(
    memory: KronvexMemory, call: Call
) -> None:
    notice = "Model call failed after 2 attempts with TimeoutError: no route"
    chain = with_memory(RunnableLambda(lambda _: AIMessage(notice)), memory)

    await call(chain, {"input": "Is there tea?"})

    assert said(memory) == ["human: Is there tea?"]
    assert remembered(memory) == ["User: Is there tea?"]
    assert memory.stats().degraded == 0
