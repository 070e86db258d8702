"""Chat histories: users and sessions, writing, clearing and order."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from conftest import OpenMemory
from langchain_kronvex import InvalidInput, KronvexChatMessageHistory, KronvexMemory


def texts(history: BaseChatMessageHistory) -> list[str]:
    return [message.text for message in history.messages]


def test_the_history_is_a_langchain_history(memory: KronvexMemory) -> None:
    assert isinstance(memory.chat_history("chat"), BaseChatMessageHistory)
    assert memory.chat_history("chat").messages == []


def test_single_messages_are_appended(memory: KronvexMemory) -> None:
    history = memory.chat_history("chat")

    history.add_user_message("Hello")
    history.add_ai_message("Hello, Ana.")
    history.add_message(HumanMessage("How are you?"))
    history.add_ai_message(AIMessage("Fine."))

    assert history.messages == [
        HumanMessage("Hello"),
        AIMessage("Hello, Ana."),
        HumanMessage("How are you?"),
        AIMessage("Fine."),
    ]


def test_the_history_prints_as_a_conversation(memory: KronvexMemory) -> None:
    history = memory.chat_history("chat")
    history.add_messages([HumanMessage("Hello"), AIMessage("Hi")])

    assert str(history) == "Human: Hello\nAI: Hi"


def test_messages_survive_the_process(open_memory: OpenMemory) -> None:
    first = open_memory()
    first.chat_history("chat", "ana").add_messages([HumanMessage("Hello")])
    first.close()

    assert texts(open_memory().chat_history("chat", "ana")) == ["Hello"]


def test_many_messages_in_one_call_keep_their_order(memory: KronvexMemory) -> None:
    messages = [HumanMessage(f"line {number}") for number in range(1000)]

    memory.chat_history("chat").add_messages(messages)

    assert memory.chat_history("chat").messages == messages


def test_adding_no_messages_changes_nothing(memory: KronvexMemory) -> None:
    history = memory.chat_history("chat")

    history.add_messages([])

    assert history.messages == []
    assert memory.stats().messages == 0


def test_changing_the_returned_list_changes_nothing(memory: KronvexMemory) -> None:
    history = memory.chat_history("chat")
    history.add_user_message("Hello")

    history.messages.clear()

    assert texts(history) == ["Hello"]


async def test_the_async_versions_do_the_same(memory: KronvexMemory) -> None:
    history = memory.chat_history("chat")

    await history.aadd_messages([HumanMessage("Hello"), AIMessage("Hi")])
    read = await history.aget_messages()
    await history.aclear()

    assert read == [HumanMessage("Hello"), AIMessage("Hi")]
    assert await history.aget_messages() == []
    assert memory.stats().messages == 0


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


def turn(writer: int, number: int) -> list[BaseMessage]:
    return [HumanMessage(f"{writer}.{number} asked"), AIMessage(f"{writer}.{number} answered")]


def check_order(found: list[str], writers: int, turns: int) -> None:
    """Check that all turns are whole, and that each writer's turns are in order."""
    assert len(found) == writers * turns * 2
    asked, answered = found[::2], found[1::2]
    assert [text.split()[0] for text in asked] == [text.split()[0] for text in answered]
    for writer in range(writers):
        own = [text for text in asked if text.startswith(f"{writer}.")]
        assert own == [f"{writer}.{number} asked" for number in range(turns)]


def test_concurrent_threads_keep_every_turn_whole(open_memory: OpenMemory) -> None:
    memories = [open_memory(), open_memory()]
    start = threading.Barrier(6)

    def write(writer: int) -> None:
        start.wait(10)
        for number in range(15):
            memories[writer % 2].chat_history("chat", "ana").add_messages(turn(writer, number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))

    check_order(texts(memories[0].chat_history("chat", "ana")), 6, 15)
    assert texts(memories[0].chat_history("chat", "ana")) == texts(
        memories[1].chat_history("chat", "ana")
    )


async def test_concurrent_tasks_keep_every_turn_whole(memory: KronvexMemory) -> None:
    async def write(writer: int) -> None:
        for number in range(15):
            await memory.chat_history("chat", "ana").aadd_messages(turn(writer, number))

    await asyncio.gather(*(write(writer) for writer in range(6)))

    check_order(texts(memory.chat_history("chat", "ana")), 6, 15)


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
