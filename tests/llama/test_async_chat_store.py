"""The chat store of `Memory`: its queue and its archive."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore

from langchain_kronvex import InvalidInput, KronvexMemory
from langchain_kronvex.llama_index import KronvexAsyncChatStore, KronvexChatStore

from .parts import assistant, texts, user

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED
TURNS = [user("a"), assistant("A"), user("b"), assistant("B")]


def words(text: str) -> list[str]:
    return text.split()


@pytest.fixture
def store(memory: KronvexMemory) -> KronvexAsyncChatStore:
    return KronvexAsyncChatStore(memory=memory, user_id="ana")


async def test_the_oldest_messages_are_archived_in_place(store: KronvexAsyncChatStore) -> None:
    await store.add_messages("monday", TURNS)
    assert await store.archive_oldest_messages("monday", 2) == TURNS[:2]

    assert await store.get_messages("monday") == TURNS[2:]
    assert await store.get_messages("monday", ARCHIVED) == TURNS[:2]
    assert await store.get_messages("monday", None) == TURNS
    assert await store.get_messages("monday", None, limit=2, offset=1) == TURNS[1:3]
    assert [await store.count_messages("monday", s) for s in (ACTIVE, ARCHIVED, None)] == [2, 2, 4]
    assert await store.delete_oldest_messages("monday", 1) == [TURNS[2]]
    await store.delete_messages("monday", ARCHIVED)
    assert await store.get_messages("monday", None) == TURNS[3:]
    assert await store.delete_message("monday", 0) == TURNS[3]
    assert await store.get_keys() == []


async def test_setting_replaces_messages_of_any_status(store: KronvexAsyncChatStore) -> None:
    await store.add_messages("monday", TURNS)
    await store.archive_oldest_messages("monday", 2)
    await store.set_messages("monday", TURNS[:3])

    assert await store.get_messages("monday") == TURNS[:3]
    assert await store.get_messages("monday", ARCHIVED) == []
    await store.add_message("monday", user("old"), ARCHIVED)
    assert texts(await store.get_messages("monday", ARCHIVED)) == ["user: old"]


@pytest.mark.parametrize("archived", [0, 1, 90, 300])
async def test_a_long_queue_is_read_in_full(store: KronvexAsyncChatStore, archived: int) -> None:
    said = [user(str(number)) for number in range(300)]
    await store.add_messages("monday", said)
    await store.add_messages("monday", [user("never active")], ARCHIVED)
    await store.archive_oldest_messages("monday", archived)
    await store.add_messages("monday", TURNS)

    assert await store.get_messages("monday") == [*said[archived:], *TURNS]
    assert len(await store.get_messages("monday", ARCHIVED)) == archived + 1
    assert (
        await store.delete_oldest_messages("monday", 1) == [*said, *TURNS][archived : archived + 1]
    )


async def test_both_stores_share_the_same_conversations(store: KronvexAsyncChatStore) -> None:
    await store.add_messages("monday", TURNS)
    await store.archive_oldest_messages("monday", 2)
    other = KronvexChatStore(memory=store.memory, user_id="ana")

    assert other.get_messages("monday") == TURNS
    assert other.get_keys() == await store.get_keys() == ["monday"]


async def test_users_are_kept_apart(memory: KronvexMemory) -> None:
    ana = KronvexAsyncChatStore(memory=memory, user_id="ana")
    ben = KronvexAsyncChatStore(memory=memory, user_id="ben")
    await ana.add_messages("monday", TURNS)
    await ben.delete_messages("monday")
    await ben.archive_oldest_messages("monday", 4)

    assert await ben.get_messages("monday", None) == []
    assert await ana.get_messages("monday") == TURNS


@pytest.mark.parametrize("count", [-1, True, 1.5])
async def test_an_invalid_count_is_rejected(store: KronvexAsyncChatStore, count: Any) -> None:
    await store.add_messages("monday", TURNS)
    for verb in (store.archive_oldest_messages, store.delete_oldest_messages):
        with pytest.raises(InvalidInput, match="n must be"):
            await verb("monday", count)
    assert await store.get_messages("monday") == TURNS


async def said_through_memory(chat_store: Any) -> list[Any]:
    """The visible messages of a chat that overflows its queue, with a given store."""
    memory = Memory.from_defaults(
        session_id="monday",
        chat_store=chat_store,
        token_limit=12,
        token_flush_size=4,
        tokenizer_fn=words,
    )
    seen: list[Any] = []
    for number in range(6):
        await memory.aput(user(f"question {number} of mine"))
        seen.append(texts(await memory.aget()))
        await memory.aput_messages([ChatMessage(f"answer {number}", role="assistant")])
    seen += [texts(await memory.aget_all(status)) for status in (None, ACTIVE, ARCHIVED)]
    await memory.aset(TURNS)
    seen.append(texts(await memory.aget_all()))
    await memory.areset()
    return [*seen, texts(await memory.aget_all())]


async def test_memory_behaves_as_with_llamaindexs_own_store(
    store: KronvexAsyncChatStore,
) -> None:
    theirs = SQLAlchemyChatStore(table_name="llama_index_memory")
    expected = await said_through_memory(theirs)
    await theirs._async_engine.dispose()  # type: ignore[union-attr]

    assert any("question 0 of mine" in line for line in expected[-3])  # something was archived
    assert await said_through_memory(store) == expected


def test_memory_works_from_a_program_without_a_loop(store: KronvexAsyncChatStore) -> None:
    memory = Memory.from_defaults(session_id="monday", chat_store=store, tokenizer_fn=words)
    memory.put(user("hello"))
    assert texts(memory.get()) == ["user: hello"]
    assert "xyzzy" not in str(memory.model_dump())
