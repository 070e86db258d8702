"""`KronvexMemoryContext` returns its input in the same form, with the context filled in."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate

from langchain_kronvex import InvalidInput, KronvexMemory, KronvexMemoryContext, ScopeRequired

from .models import FakeModel

LINE = "[semantic, 2026-04-28] Ana prefers tea."


@pytest.fixture
def step(tea_lover: KronvexMemory) -> KronvexMemoryContext:
    return KronvexMemoryContext(memory=tea_lover, user_id="ana")


def test_a_dict_is_returned_with_one_more_key(step: KronvexMemoryContext) -> None:
    given = {"input": "tea or coffee?", "other": [1]}

    assert step.invoke(given) == {"input": "tea or coffee?", "other": [1], "memory_context": LINE}
    assert given == {"input": "tea or coffee?", "other": [1]}


def test_a_text_returns_the_context(step: KronvexMemoryContext) -> None:
    assert step.invoke("tea or coffee?") == LINE


@pytest.mark.parametrize(
    "said",
    [
        HumanMessage("tea or coffee?"),
        [HumanMessage("tea or coffee?")],
        [HumanMessage("It rains."), AIMessage("Yes."), HumanMessage("tea or coffee?")],
        [("human", "tea or coffee?")],
        [{"role": "user", "content": "tea or coffee?"}],
        (HumanMessage("tea or coffee?"),),
        HumanMessage([{"type": "text", "text": "tea or coffee?"}]),
        ChatPromptValue(messages=[HumanMessage("tea or coffee?")]),
    ],
)
def test_the_query_is_the_text_of_the_last_human_message(
    step: KronvexMemoryContext, said: Any
) -> None:
    filled = step.invoke({"input": said})

    assert filled["memory_context"] == LINE
    assert filled["input"] is said


def test_the_keys_can_be_named(tea_lover: KronvexMemory) -> None:
    step = KronvexMemoryContext(
        memory=tea_lover, user_id="ana", input_key="question", context_key="known"
    )

    assert step.invoke({"question": "tea?", "input": 7})["known"] == LINE


def test_the_error_names_the_missing_key_and_the_existing_ones(step: KronvexMemoryContext) -> None:
    with pytest.raises(InvalidInput, match=r"'input'.*'question'"):
        step.invoke({"question": "tea?"})


@pytest.mark.parametrize("wrong", [7, None, object(), {"input": 7}, {"input": None}])
def test_input_of_another_type_is_rejected(step: KronvexMemoryContext, wrong: Any) -> None:
    with pytest.raises(InvalidInput):
        step.invoke(wrong)


SYSTEM = SystemMessage("Be brief. <memory_context> Be kind.", id="s-1")
ASKED = HumanMessage("tea or coffee? <memory_context>")


def test_messages_are_returned_with_the_context_in_the_system_message(
    step: KronvexMemoryContext,
) -> None:
    filled = step.invoke([SYSTEM, ASKED])

    assert filled == [SystemMessage(f"Be brief. {LINE} Be kind.", id="s-1"), ASKED]
    assert SYSTEM.content == "Be brief. <memory_context> Be kind."


def test_a_system_message_of_blocks_is_filled_block_by_block(step: KronvexMemoryContext) -> None:
    cached = {"type": "text", "text": "<memory_context>", "cache_control": {"type": "ephemeral"}}
    picture = {"type": "image_url", "image_url": {"url": "<memory_context>"}}
    system = SystemMessage(["Known:", "<memory_context>!", cached, picture])

    filled = step.invoke([system, ASKED])[0]

    assert filled.content == ["Known:", f"{LINE}!", {**cached, "text": LINE}, picture]
    assert system.content[1] == "<memory_context>!"


def test_every_placeholder_in_every_system_message_is_filled(step: KronvexMemoryContext) -> None:
    twice = SystemMessage("<memory_context>\n<memory_context>")

    filled = step.invoke([twice, ASKED, twice])

    assert filled[0] == filled[2] == SystemMessage(f"{LINE}\n{LINE}")


def test_messages_without_a_placeholder_are_returned_unchanged(step: KronvexMemoryContext) -> None:
    messages: list[BaseMessage] = [SystemMessage("Be brief."), ASKED]

    assert step.invoke(messages) == messages


def test_a_chat_prompt_value_is_filled(step: KronvexMemoryContext) -> None:
    filled = step.invoke(ChatPromptValue(messages=[SYSTEM, ASKED]))

    assert isinstance(filled, ChatPromptValue)
    assert filled.to_messages() == [
        SystemMessage(f"Be brief. {LINE} Be kind.", id="s-1"), ASKED,
    ]  # fmt: skip


def test_a_text_prompt_value_is_filled(step: KronvexMemoryContext) -> None:
    filled = step.invoke(StringPromptValue(text="Known: <memory_context>\ntea or coffee?"))

    assert filled == StringPromptValue(text=f"Known: {LINE}\ntea or coffee?")


def test_between_a_prompt_and_a_model(tea_lover: KronvexMemory) -> None:
    model = FakeModel()
    step = KronvexMemoryContext(memory=tea_lover, user_id="ana")
    chat = ChatPromptTemplate.from_messages(
        [("system", "Known: <memory_context>"), ("human", "{q}")]
    )
    plain = PromptTemplate.from_template("Known: <memory_context>\n{q}")

    (chat | step | model).invoke({"q": "tea or coffee?"})
    assert model.shown == f"system: Known: {LINE}\nhuman: tea or coffee?"
    (plain | step | model).invoke({"q": "tea or coffee?"})
    assert model.shown == f"human: Known: {LINE}\ntea or coffee?"


@pytest.mark.parametrize("value", ["", "   ", {"input": ""}, {"input": []}])
def test_without_a_question_the_context_is_the_profile(
    step: KronvexMemoryContext, value: Any
) -> None:
    filled = step.invoke(value)

    assert (filled if isinstance(value, str) else filled["memory_context"]) == LINE


def test_without_memories_the_placeholder_is_removed(memory: KronvexMemory) -> None:
    step = KronvexMemoryContext(memory=memory, user_id="ana")

    assert step.invoke([SYSTEM, ASKED])[0].content == "Be brief.  Be kind."
    assert step.invoke({"input": "tea?"})["memory_context"] == ""


def test_memories_repeated_in_the_history_are_left_out(tea_lover: KronvexMemory) -> None:
    earlier = [HumanMessage("I drink green tea."), AIMessage("Noted.")]
    tea_lover.chat_history("chat", "ana").add_messages(earlier)
    step = KronvexMemoryContext(memory=tea_lover, user_id="ana")
    renamed = KronvexMemoryContext(memory=tea_lover, user_id="ana", history_key="before")

    assert "green" in step.invoke({"input": "tea?"})["memory_context"]
    assert step.invoke({"input": "tea?", "chat_history": earlier})["memory_context"] == LINE
    assert step.invoke({"input": "tea?", "chat_history": None})["memory_context"] != LINE
    assert renamed.invoke({"input": "tea?", "before": earlier})["memory_context"] == LINE
    assert step.invoke([SYSTEM, *earlier, ASKED])[0].content == f"Be brief. {LINE} Be kind."


def test_the_question_itself_is_not_recalled(memory: KronvexMemory) -> None:
    memory.chat_history("chat", "ana").add_user_message("tea or coffee?")
    step = KronvexMemoryContext(memory=memory, user_id="ana")

    assert step.invoke({"input": "tea or coffee?"})["memory_context"] == ""


def test_memories_left_out_do_not_count_towards_top_k(tea_lover: KronvexMemory) -> None:
    earlier = [HumanMessage(f"tea {n} tea tea tea") for n in range(10)]
    tea_lover.chat_history("chat", "ana").add_messages(earlier)
    step = KronvexMemoryContext(memory=tea_lover, user_id="ana", top_k=1)

    assert step.invoke({"input": "tea", "chat_history": earlier})["memory_context"] == LINE


def test_top_k_tokens_and_type_limit_the_context(tea_lover: KronvexMemory) -> None:
    for number in range(10):
        tea_lover.remember(f"Ana drank {number} cups of tea.", user_id="ana")

    def lines(**options: Any) -> list[str]:
        step = KronvexMemoryContext(memory=tea_lover, user_id="ana", **options)
        return str(step.invoke("How much tea?")).splitlines()

    assert len(lines()) == 8
    assert len(lines(top_k=3)) == 3
    assert lines(memory_type="semantic") == [LINE]
    assert 1 <= len(lines(max_tokens=30)) <= 3
    assert lines(max_tokens=1) == []


def ids(**configurable: str) -> Any:
    return {"configurable": configurable}


async def test_the_user_comes_from_the_constructor_or_the_config(tea_lover: KronvexMemory) -> None:
    tea_lover.remember("Bob hates tea.", user_id="bob")
    free = KronvexMemoryContext(memory=tea_lover)
    fixed = KronvexMemoryContext(memory=tea_lover, user_id="ana")

    assert free.invoke("tea", ids(user_id="ana")) == LINE
    assert await free.ainvoke("tea", ids(session_id="ana")) == LINE
    assert free.invoke("tea", ids(user_id="ana", session_id="elsewhere")) == LINE
    assert fixed.invoke("tea", ids(user_id="bob")) == LINE
    assert "Bob" in free.invoke("tea", ids(user_id="bob"))
    assert free.invoke("tea", ids(user_id="carla")) == ""


async def test_without_a_scope_the_error_says_what_to_pass(tea_lover: KronvexMemory) -> None:
    step = KronvexMemoryContext(memory=tea_lover)

    with pytest.raises(ScopeRequired, match=r"configurable.*user_id"):
        step.invoke({"input": "tea"})
    with pytest.raises(ScopeRequired, match="session_id"):
        await step.ainvoke("tea")


def test_this_session_only(tea_lover: KronvexMemory) -> None:
    tea_lover.remember("Today it is mate tea.", user_id="ana", session_id="today")
    step = KronvexMemoryContext(memory=tea_lover, this_session_only=True)

    found = step.invoke("tea", ids(user_id="ana", session_id="today"))

    assert "mate" in found
    assert "prefers" not in found
    with pytest.raises(ScopeRequired, match="session_id"):
        step.invoke("tea", ids(user_id="ana"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top_k": 0}, "top_k must be"),
        ({"max_tokens": 0}, "max_tokens must be"),
        ({"memory_type": "unknown"}, "memory_type 'unknown' is unknown"),
        ({"on_error": "hide"}, "on_error"),
        ({"this_session_only": "no"}, "this_session_only"),
        ({"user_id": " "}, "user_id is blank"),
        ({"top_k": "8"}, "top_k"),
        ({"k": 3}, "no option 'k'; did you mean 'top_k'?"),
        ({"context": "known"}, "did you mean 'context_key'?"),
        ({"memory": "sqlite://"}, "memory.*KronvexMemory"),
        ({"memory": None}, "memory.*KronvexMemory"),
    ],
)
def test_a_wrong_option_is_reported_when_the_step_is_made(
    tea_lover: KronvexMemory, options: Any, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        KronvexMemoryContext(**{"memory": tea_lover, **options})
