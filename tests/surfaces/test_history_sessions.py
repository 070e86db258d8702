"""Chat histories: users and sessions, writing, clearing and order."""

from __future__ import annotations

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage

from conftest import OpenMemory
from langchain_kronvex import InvalidInput, KronvexChatMessageHistory, KronvexMemory


def texts(history: BaseChatMessageHistory) -> list[str]:
    return [message.text for message in history.messages]


@pytest.mark.parametrize(
    ("session", "user"), [("chat-2", "ana"), ("chat", "bob"), ("chat", None), ("CHAT", "ana")]
)
def test_sessions_and_users_are_kept_apart(
    memory: KronvexMemory, session: str, user: str | None
) -> None:
    memory.chat_history("chat", "ana").add_user_message("Hello")

    assert texts(memory.chat_history(session, user)) == []
    assert texts(memory.chat_history("chat", "ana")) == ["Hello"]


def test_without_a_user_the_session_is_its_own_user(memory: KronvexMemory) -> None:
    memory.chat_history("ana").add_user_message("I drink tea.")

    assert [m.content for m in memory.recall("tea", user_id="ana")] == ["User: I drink tea."]


def test_clear_erases_the_messages_and_keeps_the_memories(memory: KronvexMemory) -> None:
    history = memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage("I drink tea."), AIMessage("Noted.")])
    other = memory.chat_history("chat-2", "ana")
    other.add_user_message("I am back.")

    history.clear()

    assert history.messages == []
    assert texts(other) == ["I am back."]
    assert any("tea" in found.content for found in memory.recall("tea", user_id="ana"))


def test_forgetting_the_user_erases_the_messages_too(memory: KronvexMemory) -> None:
    memory.chat_history("chat", "ana").add_user_message("I drink tea.")

    memory.forget(user_id="ana")

    assert texts(memory.chat_history("chat", "ana")) == []


@pytest.mark.parametrize("bad", ["", "  ", "x" * 256, "a\0b", "\ud800", 7, None])
def test_an_invalid_session_is_rejected_at_once(memory: KronvexMemory, bad: object) -> None:
    with pytest.raises(InvalidInput, match="session_id"):
        KronvexChatMessageHistory(bad, memory=memory)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_an_invalid_limit_is_rejected_at_once(memory: KronvexMemory, bad: object) -> None:
    with pytest.raises(InvalidInput, match="max_messages"):
        KronvexChatMessageHistory("chat", memory=memory, max_messages=bad)  # type: ignore[arg-type]


def test_messages_with_the_same_time_keep_their_order(open_memory: OpenMemory) -> None:
    from datetime import datetime, timezone

    frozen = open_memory(clock=lambda: datetime(2026, 1, 1, tzinfo=timezone.utc))
    history = frozen.chat_history("chat")

    for number in range(20):
        history.add_user_message(str(number))

    assert texts(history) == [str(number) for number in range(20)]


def test_a_clock_set_back_does_not_reorder(open_memory: OpenMemory) -> None:
    from datetime import datetime, timezone

    days = iter(range(28, 0, -1))
    backwards = open_memory(clock=lambda: datetime(2026, 1, next(days), tzinfo=timezone.utc))
    history = backwards.chat_history("chat")

    for number in range(5):
        history.add_user_message(str(number))

    assert texts(history) == ["0", "1", "2", "3", "4"]
