"""`with_memory` around chains of every form, called in every way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda

from langchain_kronvex import ConfigurationError, InvalidInput, KronvexMemory, with_memory

from .models import FakeModel, echo
from .runs import ANA, Call, each_in_one_way, every_way, invoke, remembered, said, sync_and_async

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Known: {memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)
LINE = "[semantic, 2026-04-28] Ana prefers tea."
TWO_TURNS = [
    "human: tea or coffee?",
    "ai: You said: tea or coffee?",
    "human: Thank you.",
    "ai: You said: Thank you.",
]


@every_way
async def test_a_chain_that_takes_a_dict(tea_lover: KronvexMemory, call: Call) -> None:
    model = FakeModel(replies=[echo])
    chain = with_memory(PROMPT | model, tea_lover)

    first = await call(chain, {"input": "tea or coffee?"})
    assert model.shown == f"system: Known: {LINE}\nhuman: tea or coffee?"
    await call(chain, {"input": "Thank you."})

    assert first.text == "You said: tea or coffee?"
    assert model.shown.splitlines()[-3:] == [*TWO_TURNS[:2], "human: Thank you."]
    assert said(tea_lover) == TWO_TURNS
    assert remembered(tea_lover) == [
        "Ana prefers tea.",
        "User: Thank you.\nAssistant: You said: Thank you.",
        "User: tea or coffee?\nAssistant: You said: tea or coffee?",
    ]


@sync_and_async
async def test_a_bare_chat_model(tea_lover: KronvexMemory, call: Call) -> None:
    model = FakeModel(replies=[echo])
    chain = with_memory(model, tea_lover)

    await call(chain, "tea or coffee?")
    assert model.prompts[-1] == [SystemMessage(LINE), HumanMessage("tea or coffee?")]
    await call(chain, "Thank you.")

    assert [m.text for m in model.prompts[-1] if m.type != "system"] == [
        "tea or coffee?", "You said: tea or coffee?", "Thank you.",
    ]  # fmt: skip
    assert said(tea_lover) == TWO_TURNS


@sync_and_async
async def test_a_chain_that_returns_text(tea_lover: KronvexMemory, call: Call) -> None:
    chain = with_memory(PROMPT | FakeModel(replies=[echo]) | StrOutputParser(), tea_lover)

    assert await call(chain, {"input": "tea or coffee?"}) == "You said: tea or coffee?"
    await call(chain, {"input": "Thank you."})

    assert said(tea_lover) == TWO_TURNS


@sync_and_async
async def test_a_chain_that_takes_a_text(tea_lover: KronvexMemory, call: Call) -> None:
    given: list[str] = []

    def answer(prompt: str) -> str:
        given.append(prompt)
        return f"You said: {prompt.splitlines()[-1]}"

    chain = with_memory(RunnableLambda(answer), tea_lover)

    await call(chain, "tea or coffee?")
    assert given[-1] == f"{LINE}\n\ntea or coffee?"
    await call(chain, "Thank you.")

    assert given[-1].endswith(
        "User: tea or coffee?\nAssistant: You said: tea or coffee?\n\nThank you."
    )
    assert said(tea_lover) == TWO_TURNS


SYSTEM = SystemMessage("Be brief. <memory_context>")


FORMS = [
    "tea or coffee?",
    HumanMessage("tea or coffee?"),
    [HumanMessage("tea or coffee?")],
    [("human", "tea or coffee?")],
    [{"role": "user", "content": "tea or coffee?"}],
    ChatPromptValue(messages=[HumanMessage("tea or coffee?")]),
    StringPromptValue(text="tea or coffee?"),
]


@each_in_one_way("value", FORMS)
@pytest.mark.parametrize("in_dict", [True, False])
async def test_the_users_message_may_have_many_forms(
    tea_lover: KronvexMemory, call: Call, value: Any, in_dict: bool
) -> None:
    model = FakeModel(replies=["Tea."])
    if in_dict:
        taking = RunnableLambda(lambda d: [*d["chat_history"], SystemMessage(d["memory_context"])])
        await call(with_memory(taking | model, tea_lover), {"input": value})
    else:
        await call(with_memory(model, tea_lover), value)

    assert LINE in model.shown
    assert said(tea_lover) == ["human: tea or coffee?", "ai: Tea."]


async def test_a_system_message_with_a_placeholder_is_filled_and_never_saved(
    tea_lover: KronvexMemory,
) -> None:
    model = FakeModel(replies=[echo])
    chain = with_memory(model, tea_lover)

    for text in ("tea or coffee?", "Thank you."):
        await invoke(chain, [SYSTEM, HumanMessage(text)])

    system, *rest = model.prompts[-1]
    assert system.text.startswith("Be brief. ")
    assert LINE in system.text
    assert len([message for message in rest if message.type == "system"]) == 0
    assert said(tea_lover) == TWO_TURNS


async def test_a_prompt_value_as_input_of_a_model(tea_lover: KronvexMemory) -> None:
    model = FakeModel(replies=["Tea."])
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Known: <memory_context>"), ("human", "{q}")]
    )
    chain: Runnable[Any, Any] = prompt | with_memory(model, tea_lover)

    chain.invoke({"q": "tea or coffee?"}, ANA)
    await chain.ainvoke({"q": "And now?"}, ANA)

    assert model.prompts[0][0].text == f"Known: {LINE}"
    assert [m.text for m in model.prompts[1][1:]] == ["tea or coffee?", "Tea.", "And now?"]
    assert said(tea_lover) == [
        "human: tea or coffee?", "ai: Tea.", "human: And now?", "ai: Tea.",
    ]  # fmt: skip


@sync_and_async
async def test_a_text_completion_model(tea_lover: KronvexMemory, call: Call) -> None:
    plain = PromptTemplate.from_template("{memory_context}\n{chat_history}\n{input}")
    llm = FakeListLLM(responses=["Tea.", "Bye."])

    assert await call(with_memory(plain | llm, tea_lover), {"input": "tea or coffee?"}) in (
        "Tea.", "T",
    )  # fmt: skip
    await call(with_memory(llm, tea_lover), "Thank you.")

    assert said(tea_lover) == [
        "human: tea or coffee?", "ai: Tea.", "human: Thank you.", "ai: Bye.",
    ]  # fmt: skip


@sync_and_async
async def test_every_key_can_be_named(tea_lover: KronvexMemory, call: Call) -> None:
    seen: list[dict[str, Any]] = []

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        seen.append(given)
        return {"reply": AIMessage("Tea."), "sources": ["ana"]}

    chain = with_memory(
        answer,
        tea_lover,
        input_messages_key="question",
        history_messages_key="earlier",
        context_key="known",
        output_messages_key="reply",
    )

    for _ in range(2):
        output = await call(chain, {"question": "tea?", "lang": "en"})

    assert output["sources"] == ["ana"]
    assert seen[0] == {"question": "tea?", "lang": "en", "earlier": [], "known": LINE}
    assert [message.text for message in seen[1]["earlier"]] == ["tea?", "Tea."]
    assert said(tea_lover) == ["human: tea?", "ai: Tea."] * 2


def test_without_a_history_key_the_chain_gets_no_history(tea_lover: KronvexMemory) -> None:
    seen: list[Any] = []
    chain = with_memory(lambda d: seen.append(d) or "Ok.", tea_lover, history_messages_key=None)

    for text in ("tea?", "tea!"):
        chain.invoke({"input": text}, ANA)

    assert set(seen[1]) == {"input", "memory_context"}
    assert said(tea_lover) == ["human: tea?", "ai: Ok.", "human: tea!", "ai: Ok."]


def test_a_dict_or_a_function_is_accepted_as_a_chain(memory: KronvexMemory) -> None:
    chain = with_memory({"a": lambda d: d["input"], "output": lambda d: "both"}, memory)

    assert chain.invoke({"input": "Hello"}, ANA) == {"a": "Hello", "output": "both"}
    assert said(memory) == ["human: Hello", "ai: both"]


def test_the_input_is_not_changed(memory: KronvexMemory) -> None:
    given = {"input": [HumanMessage("Hello")]}

    with_memory(PROMPT | FakeModel(), memory).invoke(given, ANA)

    assert given == {"input": [HumanMessage("Hello")]}


def test_a_limited_history_still_saves_everything(memory: KronvexMemory) -> None:
    model = FakeModel(replies=[echo])
    chain = with_memory(model, memory, max_messages=2)

    for text in ("one", "two", "three"):
        chain.invoke(text, ANA)

    shown = [m.text for m in model.prompts[-1] if m.type != "system"]
    assert shown == ["two", "You said: two", "three"]
    assert len(said(memory)) == 6


@pytest.mark.parametrize(
    "options",
    [{"on_error": "hide"}, {"top_k": "many"}, {"top_k": 0}, {"memory_type": "unknown"},
     {"max_tokens": 0}, {"max_messages": 0}],
)  # fmt: skip
@pytest.mark.parametrize("on_error", ["degrade", "raise"])
def test_an_invalid_option_raises_at_once(
    memory: KronvexMemory, options: Any, on_error: str
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        with_memory(FakeModel(), memory, **{"on_error": on_error, **options})


@pytest.mark.parametrize("key", ["history_messages_key", "context_key"])
def test_two_things_under_one_key_raise_at_once(memory: KronvexMemory, key: str) -> None:
    options: Any = {"input_messages_key": "messages", key: "messages"}
    with pytest.raises(ConfigurationError, match="a key each"):
        with_memory(FakeModel(), memory, **options)


def test_an_unknown_option_raises_at_once(memory: KronvexMemory) -> None:
    options: Any = {"topk": 3}
    with pytest.raises(InvalidInput, match="no option 'topk'; did you mean 'top_k'"):
        with_memory(FakeModel(), memory, **options)


def test_a_value_that_is_not_a_chain_raises_at_once(memory: KronvexMemory) -> None:
    with pytest.raises(ConfigurationError):
        with_memory(42, memory)


@pytest.mark.parametrize("value", [{"question": "tea?"}, 42, {"input": 42}, {"input": None}])
async def test_input_of_another_type_is_rejected_and_nothing_is_saved(
    memory: KronvexMemory, value: Any
) -> None:
    chain = with_memory(FakeModel(), memory)

    with pytest.raises(InvalidInput):
        chain.invoke(value, ANA)
    with pytest.raises(InvalidInput):
        await chain.ainvoke(value, ANA)
    assert said(memory) == []


def of_prompt_value(prompt: PromptValue) -> str:
    return f"{len(prompt.to_messages())} messages"


def of_messages(prompt: list[Any]) -> AIMessage:
    return AIMessage(f"{len(prompt)} messages")


@pytest.mark.parametrize("answer", [of_messages, of_prompt_value])
def test_functions_get_messages_unless_they_are_annotated_with_str(
    memory: KronvexMemory, answer: Callable[..., Any]
) -> None:
    if answer is of_prompt_value:
        chain = with_memory(RunnableLambda(lambda m: ChatPromptValue(messages=m)) | answer, memory)
    else:
        chain = with_memory(RunnableLambda(answer), memory)

    chain.invoke("Hello", ANA)
    chain.invoke("Hello again", ANA)

    assert said(memory)[-1] == "ai: 3 messages"
