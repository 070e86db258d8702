"""Reading an agent's messages, and adding memories to them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from inside import agent_messages_answer_in as answer_in
from inside import new_words, question_in, shown_texts, with_memories

SUMMARY = HumanMessage("Here is a summary: tea.", additional_kwargs={"lc_source": "summarization"})
HI = HumanMessage("Hi.")
TEA = HumanMessage("Tea?")
HELLO = AIMessage("Hello.")
CALL = AIMessage("Let me see.", tool_calls=[{"name": "look", "args": {"what": "thé"}, "id": "1"}])
RESULT = ToolMessage("found", tool_call_id="1")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], []),
        ([HI], [HI]),
        ([HI, TEA], [HI, TEA]),
        ([HI, HELLO, TEA], [TEA]),
        ([HI, CALL, RESULT], []),
        ([SUMMARY, TEA], [TEA]),
        ([HI, HELLO, SUMMARY], []),
        ([SystemMessage("Be brief."), HI], [HI]),
    ],
)
def test_the_users_new_messages(messages: list[BaseMessage], words: list[BaseMessage]) -> None:
    assert new_words(messages) == words


@pytest.mark.parametrize(
    ("messages", "question"),
    [([], None), ([HELLO], None), ([SUMMARY, CALL, RESULT], None), ([HI, SUMMARY, HELLO], HI),
     ([HI, HELLO, TEA, CALL], TEA)],
)  # fmt: skip
def test_the_question_is_never_a_summary(
    messages: list[BaseMessage], question: BaseMessage | None
) -> None:
    assert question_in(messages) == question


@pytest.mark.parametrize(
    ("messages", "structured", "answer"),
    [
        ([], None, None),
        ([HI], None, None),
        ([HI, HELLO, TEA], None, None),
        ([HI, HELLO, TEA], {"name": "old"}, None),
        ([HI, HELLO], None, "Hello."),
        ([HI, HELLO], {"name": "tea"}, "Hello."),
        ([HI, CALL, RESULT, HELLO], None, "Hello."),
        ([SUMMARY, HELLO], None, "Hello."),
        ([HI, CALL, RESULT], {"name": "thé"}, '{"name": "thé"}'),
        ([HI, CALL, RESULT], None, "found"),
        ([HI, AIMessage("")], None, None),
    ],
)
def test_the_answer_of_a_turn(
    messages: list[BaseMessage], structured: Any, answer: str | None
) -> None:
    found = answer_in(messages, structured)

    assert (found and found.text) == answer


def test_all_forms_of_an_answer_are_shown_texts() -> None:
    texts = shown_texts([HI, CALL, RESULT, TEA, CALL, RESULT, HELLO, TEA])

    assert "User: Hi.\nAssistant: found" in texts
    assert 'User: Hi.\nAssistant: {"what": "thé"}' in texts
    assert "User: Tea?\nAssistant: Hello." in texts
    assert "User: Tea?\nAssistant: Let me see. Hello." in texts
    assert "User: Tea?" in texts
    assert "User: Hi.\nAssistant: Hello." not in texts


def test_a_system_message_keeps_its_other_fields() -> None:
    system = SystemMessage("Be brief.", id="1", name="rules")

    shown = with_memories(system, "Tea.")

    assert shown is not None
    assert (shown.id, shown.name) == ("1", "rules")
    assert shown.text == "Be brief.\n\nTea."
    assert system.content == "Be brief."
    assert with_memories(system, "") is system
    assert with_memories(None, "") is None
    assert with_memories(SystemMessage(""), "Tea.") == SystemMessage("Tea.")
