"""Exchanges in a chat history become memories that are found by the user's words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call

from conftest import OpenMemory
from langchain_kronvex import KronvexChatMessageHistory, KronvexMemory


def remembered(memory: KronvexMemory, **scope: str) -> list[str]:
    """Every memory of a user, oldest first."""
    found = memory.memories(**(scope or {"user_id": "ana"}))
    return [memory.content for memory in reversed(found)]


def chat(memory: KronvexMemory, session: str = "chat") -> KronvexChatMessageHistory:
    return memory.chat_history(session, "ana")


def test_an_exchange_becomes_one_memory(memory: KronvexMemory) -> None:
    chat(memory).add_messages([HumanMessage("I drink tea."), AIMessage("Noted.")])

    assert remembered(memory) == ["User: I drink tea.\nAssistant: Noted."]


def test_it_is_found_by_the_users_words_in_every_session(memory: KronvexMemory) -> None:
    chat(memory, "monday").add_messages([HumanMessage("My cat is called Momo."), AIMessage("Aw.")])
    chat(memory, "tuesday").add_messages([HumanMessage("It rains."), AIMessage("Take a coat.")])

    found = memory.recall("What is the cat called?", user_id="ana", top_k=1)

    assert found[0].content.startswith("User: My cat is called Momo.")
    assert (found[0].user_id, found[0].session_id) == ("ana", "monday")
    assert found[0].memory_type == "episodic"


def test_a_notice_that_the_model_failed_is_not_remembered_as_an_answer(
    memory: KronvexMemory,
) -> None:
    notice = "Model call failed after 2 attempts with TimeoutError: no route"
    chat(memory).add_messages([HumanMessage("I drink tea."), AIMessage(notice)])

    assert remembered(memory) == ["User: I drink tea."]
    assert [message.text for message in chat(memory).messages] == ["I drink tea.", notice]


def test_the_users_words_are_remembered_before_the_answer(memory: KronvexMemory) -> None:
    chat(memory).add_user_message("I drink tea.")

    assert remembered(memory) == ["User: I drink tea."]


def test_an_answer_completes_the_exchange_of_another_history(memory: KronvexMemory) -> None:
    chat(memory).add_user_message("I drink tea.")
    [before] = memory.memories(user_id="ana")

    chat(memory).add_ai_message("Noted.")

    [after] = memory.memories(user_id="ana")
    assert after.content == "User: I drink tea.\nAssistant: Noted."
    assert after.id == before.id


def test_an_answer_completes_the_exchange_of_another_process(open_memory: OpenMemory) -> None:
    first = open_memory()
    chat(first).add_user_message("I drink tea.")
    first.close()
    second = open_memory()

    chat(second).add_ai_message("Noted.")

    assert remembered(second) == ["User: I drink tea.\nAssistant: Noted."]


def test_an_answer_in_parts_stays_one_memory(memory: KronvexMemory) -> None:
    call = tool_call(name="search", args={}, id="1")
    chat(memory).add_user_message("Is there tea?")
    chat(memory).add_messages([AIMessage("Let me look.", tool_calls=[call])])
    chat(memory).add_messages([ToolMessage("tea: 3", tool_call_id="1")])
    chat(memory).add_messages([AIMessage("Yes, three bags.")])

    assert remembered(memory) == [
        "User: Is there tea?\nAssistant: Let me look. Yes, three bags.",
    ]


def test_tool_results_and_system_messages_are_not_remembered(memory: KronvexMemory) -> None:
    call = tool_call(name="search", args={"secret": "args"}, id="1")
    chat(memory).add_messages(
        [
            SystemMessage("Be a pirate."),
            HumanMessage("Is there tea?"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("tea: 3", tool_call_id="1"),
            AIMessage("Aye."),
        ]
    )

    assert remembered(memory) == ["User: Is there tea?\nAssistant: Aye."]


def test_several_exchanges_at_once_become_a_memory_each(memory: KronvexMemory) -> None:
    chat(memory).add_messages(
        [HumanMessage("One?"), AIMessage("1."), HumanMessage("Two?"), AIMessage("2.")]
    )

    assert sorted(remembered(memory)) == [
        "User: One?\nAssistant: 1.",
        "User: Two?\nAssistant: 2.",
    ]


def test_an_unanswered_question_stays_remembered(memory: KronvexMemory) -> None:
    chat(memory).add_user_message("One?")
    chat(memory).add_messages([HumanMessage("Two?"), AIMessage("2.")])

    assert sorted(remembered(memory)) == ["User: One?", "User: Two?\nAssistant: 2."]


def test_the_same_exchange_again_is_remembered_once(memory: KronvexMemory) -> None:
    for _ in range(3):
        chat(memory).add_messages([HumanMessage("Hello"), AIMessage("Hi")])

    assert remembered(memory) == ["User: Hello\nAssistant: Hi"]
    assert len(chat(memory).messages) == 6


def test_the_same_exchange_again_in_two_steps_is_remembered_once(memory: KronvexMemory) -> None:
    for _ in range(3):
        chat(memory).add_user_message("Hello")
        chat(memory).add_ai_message("Hi")

    assert remembered(memory) == ["User: Hello\nAssistant: Hi"]
    assert len(chat(memory).messages) == 6


def test_the_same_question_with_a_different_answer_is_another_memory(memory: KronvexMemory) -> None:
    for answer in ("Sunny.", "Rainy."):
        chat(memory).add_user_message("The weather?")
        chat(memory).add_ai_message(answer)

    assert sorted(remembered(memory)) == [
        "User: The weather?\nAssistant: Rainy.",
        "User: The weather?\nAssistant: Sunny.",
    ]


def test_an_assistant_that_speaks_first_is_remembered(memory: KronvexMemory) -> None:
    chat(memory).add_ai_message("Welcome to the tea shop.")

    assert remembered(memory) == ["Assistant: Welcome to the tea shop."]


def test_an_answer_after_forgetting_the_user_restores_nothing(memory: KronvexMemory) -> None:
    chat(memory).add_user_message("My secret is 42.")
    memory.forget(user_id="ana")

    chat(memory).add_ai_message("Noted.")

    assert remembered(memory) == ["Assistant: Noted."]


def test_without_remember_messages_make_no_memory(memory: KronvexMemory) -> None:
    history = KronvexChatMessageHistory("chat", memory=memory, user_id="ana", remember=False)

    history.add_messages([HumanMessage("I drink tea."), AIMessage("Noted.")])
    history.add_user_message("And coffee.")

    assert remembered(memory) == []
    assert len(history.messages) == 3


async def test_without_remember_async_messages_make_no_memory(memory: KronvexMemory) -> None:
    history = KronvexChatMessageHistory("chat", memory=memory, user_id="ana", remember=False)

    await history.aadd_messages([HumanMessage("I drink tea."), AIMessage("Noted.")])

    assert remembered(memory) == []


def test_only_the_text_of_blocks_is_remembered(memory: KronvexMemory) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    chat(memory).add_messages(
        [HumanMessage([{"type": "text", "text": "What is this?"}, picture]), AIMessage("A cat.")]
    )

    assert remembered(memory) == ["User: What is this?\nAssistant: A cat."]


def test_the_answer_to_a_picture_does_not_answer_an_earlier_question(
    memory: KronvexMemory,
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    chat(memory).add_messages(
        [HumanMessage("Tea?"), AIMessage("Yes."), HumanMessage([picture]), AIMessage("A cat.")]
    )

    assert sorted(remembered(memory)) == ["Assistant: A cat.", "User: Tea?\nAssistant: Yes."]


def test_a_message_longer_than_a_memory_is_stored_in_full(
    memory: KronvexMemory,
) -> None:
    long = "tea " * 300_000

    chat(memory).add_messages([HumanMessage(long), AIMessage("Much tea.")])

    assert chat(memory).messages[0].content == long
    assert remembered(memory)[0].startswith("User: tea tea")


def test_memory_and_messages_are_stored_in_one_transaction(
    memory: KronvexMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    add = memory.engine.backend.add
    monkeypatch.setattr(
        memory.engine.backend, "add", lambda r, *rest: calls.append(len(r)) or add(r, *rest)
    )

    chat(memory).add_messages([HumanMessage("I drink tea."), AIMessage("Noted.")])

    assert calls == [3]  # two messages and their memory, in one transaction


WORDS = st.sampled_from(["tea", "milk", "honey", "lemon", "sugar", ""])
SAID = st.lists(st.tuples(st.sampled_from([HumanMessage, AIMessage]), WORDS), max_size=8)


def model_of(said: list[tuple[type[BaseMessage], str]]) -> set[str]:
    """The expected memories of a conversation."""
    memories: list[str] = []
    asked = False
    for kind, text in said:
        if kind is HumanMessage:
            asked = bool(text)
            memories += [f"User: {text}"] if text else []
        elif text and asked:
            joint = " " if "\nAssistant:" in memories[-1] else "\nAssistant: "
            memories[-1] += joint + text
        elif text:
            memories.append(f"Assistant: {text}")
    return set(memories)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(said=SAID)
def test_one_call_and_many_calls_remember_the_same(said: list[tuple[type, str]]) -> None:
    # All texts differ, because a repeated question would be remembered once.
    said = [(kind, text and f"{text} {place}") for place, (kind, text) in enumerate(said)]
    messages = [kind(text) for kind, text in said]
    with KronvexMemory("sqlite://") as whole, KronvexMemory("sqlite://") as single:
        chat(whole).add_messages(messages)
        for message in messages:
            chat(single).add_message(message)

        assert chat(whole).messages == chat(single).messages == messages
        assert set(remembered(whole)) == model_of(said)
        assert set(remembered(single)) == set(remembered(whole))
