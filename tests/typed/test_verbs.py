"""Every public verb has the type it promises, in both colours.

`assert_type` is checked by the type checker; when the tests run, it only hands its value on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel
from typing_extensions import assert_type

from langchain_kronvex import (
    Explanation,
    KronvexChatMessageHistory,
    KronvexKeyValueStore,
    KronvexMemory,
    KronvexProfile,
    KronvexRetriever,
    Memory,
    MemoryContext,
    MemoryDraft,
    MemoryStats,
    MoveSummary,
    RecalledMemory,
    Retention,
    SessionSummary,
    UserSummary,
    with_memory,
)
from langchain_kronvex.embeddings import StaticEmbeddings

TEXT = "I am allergic to peanuts."
QUESTION = "What must Ana not eat?"


def test_verbs_that_store(tmp_path: Path) -> None:
    with KronvexMemory(f"sqlite:///{tmp_path / 'memory.db'}") as memory:
        assert_type(memory, KronvexMemory)
        assert_type(memory.remember(TEXT, user_id="ana", ttl_days=7, pinned=True), Memory)
        assert_type(memory.remember_many([MemoryDraft(TEXT, user_id="ben")]), list[Memory])
        assert_type(memory.save_exchange("Hello", "Hello!", user_id="ana"), list[Memory])


async def test_twins_that_store(tmp_path: Path) -> None:
    async with KronvexMemory(f"sqlite:///{tmp_path / 'memory.db'}") as memory:
        assert_type(memory, KronvexMemory)
        assert_type(await memory.aremember(TEXT, user_id="ana", ttl_days=7, pinned=True), Memory)
        assert_type(await memory.aremember_many([MemoryDraft(TEXT, user_id="ben")]), list[Memory])
        assert_type(await memory.asave_exchange("Hello", "Hello!", user_id="ana"), list[Memory])


def test_verbs_that_find(memory: KronvexMemory) -> None:
    id_ = memory.remember(TEXT, user_id="ana").id

    assert_type(memory.recall(QUESTION, user_id="ana", top_k=3), list[RecalledMemory])
    assert_type(memory.explain(QUESTION, id_, user_id="ana", top_k=3), Explanation)
    assert_type(memory.inject_context(QUESTION, user_id="ana", max_tokens=100), MemoryContext)
    assert_type(memory.profile("ana", max_tokens=100), MemoryContext)
    assert_type(memory.memories(user_id="ana", limit=10, offset=0), list[Memory])
    assert_type(memory.get(id_), Memory | None)
    assert_type(memory.sessions(), list[SessionSummary])
    assert_type(memory.users(), list[UserSummary])
    assert_type(memory.stats(), MemoryStats)


async def test_twins_that_find(memory: KronvexMemory) -> None:
    id_ = (await memory.aremember(TEXT, user_id="ana")).id

    assert_type(await memory.arecall(QUESTION, user_id="ana", top_k=3), list[RecalledMemory])
    assert_type(await memory.aexplain(QUESTION, id_, user_id="ana"), Explanation)
    assert_type(await memory.ainject_context(QUESTION, user_id="ana"), MemoryContext)
    assert_type(await memory.aprofile("ana"), MemoryContext)
    assert_type(await memory.amemories(user_id="ana", limit=10, offset=0), list[Memory])
    assert_type(await memory.aget(id_), Memory | None)
    assert_type(await memory.asessions(), list[SessionSummary])
    assert_type(await memory.ausers(), list[UserSummary])
    assert_type(await memory.astats(), MemoryStats)


def test_verbs_that_change(memory: KronvexMemory) -> None:
    id_ = memory.remember(TEXT, user_id="ana").id

    assert_type(memory.update(id_, pinned=True, metadata={"checked": True}), Memory)
    assert_type(memory.forget(id=id_), int)
    assert_type(memory.clear(), int)
    assert_type(memory.reindex(StaticEmbeddings(), progress=False), int)
    assert_type(memory.flush(timeout=10), bool)


async def test_twins_that_change(memory: KronvexMemory) -> None:
    id_ = (await memory.aremember(TEXT, user_id="ana")).id

    assert_type(await memory.aupdate(id_, pinned=True, metadata={"checked": True}), Memory)
    assert_type(await memory.aforget(id=id_), int)
    assert_type(await memory.aclear(), int)
    assert_type(await memory.areindex(StaticEmbeddings(), progress=False), int)
    assert_type(await memory.aflush(timeout=10), bool)


async def test_verbs_of_a_retention(tmp_path: Path) -> None:
    kept = Retention(max_memories=100, idle_days=90, keep_types=("fact", "preference"))
    with KronvexMemory(f"sqlite:///{tmp_path / 'memory.db'}", retention=kept) as memory:
        assert_type(memory.expire(dry_run=True), list[Memory])
        assert_type(await memory.aexpire(), list[Memory])
        assert_type(memory.memories(all_users=True), list[Memory])


def test_verbs_of_a_chat(memory: KronvexMemory) -> None:
    said: list[BaseMessage] = [HumanMessage(TEXT)]

    assert_type(memory.save_messages(said, "monday", user_id="ana"), str | None)
    assert_type(memory.load_messages("monday", user_id="ana"), list[BaseMessage])
    assert_type(memory.clear_messages("monday", user_id="ana"), int)
    assert_type(memory.chat_history("monday", user_id="ana"), KronvexChatMessageHistory)


async def test_twins_of_a_chat(memory: KronvexMemory) -> None:
    said: list[BaseMessage] = [HumanMessage(TEXT)]

    assert_type(await memory.asave_messages(said, "monday", user_id="ana"), str | None)
    assert_type(await memory.aload_messages("monday", user_id="ana"), list[BaseMessage])
    assert_type(await memory.aclear_messages("monday", user_id="ana"), int)


def test_verbs_of_files(memory: KronvexMemory, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"

    assert_type(memory.export(file, vectors=True), MoveSummary)
    assert_type(memory.import_(file), MoveSummary)


async def test_twins_of_files(memory: KronvexMemory, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"

    assert_type(await memory.aexport(file, vectors=True), MoveSummary)
    assert_type(await memory.aimport_(file), MoveSummary)


def test_the_retriever_and_the_chain(memory: KronvexMemory) -> None:
    retriever = memory.as_retriever(k=3, user_id="ana", threshold=0.1)
    echo: RunnableLambda[Any, str] = RunnableLambda(lambda _: "Hello!")

    assert_type(retriever, KronvexRetriever)
    assert_type(retriever.invoke(QUESTION), list[Document])
    assert_type(with_memory(echo, memory), Runnable[Any, Any])


def test_values_under_keys(memory: KronvexMemory) -> None:
    values = KronvexKeyValueStore(memory, "settings of ana")
    values.set("tone", {"formal": False}, ttl_days=7)

    assert_type(values.list_keys("t"), list[str])
    assert_type(values.compare_and_set("tone", {"formal": False}, {"formal": True}), bool)
    assert_type(values.delete("tone"), bool)


async def test_values_under_keys_by_the_twins(memory: KronvexMemory) -> None:
    values = KronvexKeyValueStore(memory, "settings of ana")
    await values.aset("tone", {"formal": False}, ttl_days=7)

    assert_type(await values.alist_keys("t"), list[str])
    assert_type(await values.acompare_and_set("tone", {"formal": False}, {"formal": True}), bool)
    assert_type(await values.adelete("tone"), bool)


class Traveller(BaseModel):
    home: str = ""


async def test_documents_of_a_schema(memory: KronvexMemory) -> None:
    travellers = KronvexProfile(memory, Traveller)

    assert_type(travellers, KronvexProfile[Traveller])
    assert_type(travellers.patch("ana", home="Porto"), Traveller)
    assert_type(await travellers.apatch("ana", home="Porto"), Traveller)
    assert_type(travellers.get("ana"), Traveller | None)
    assert_type(await travellers.aget("ana"), Traveller | None)
    assert_type(travellers.delete("ana"), bool)


async def test_a_twin_is_a_coroutine_that_a_task_takes(memory: KronvexMemory) -> None:
    await memory.aremember(TEXT, user_id="ana")

    recalling = asyncio.create_task(memory.arecall(QUESTION, user_id="ana"))
    counting = asyncio.create_task(memory.astats())

    assert_type(recalling, asyncio.Task[list[RecalledMemory]])
    assert_type(counting, asyncio.Task[MemoryStats])
    found, stats = await asyncio.gather(recalling, counting)
    assert_type(found, list[RecalledMemory])
    assert_type(stats, MemoryStats)
    assert found[0].content == TEXT


async def test_closing(tmp_path: Path) -> None:
    memory = KronvexMemory(f"sqlite:///{tmp_path / 'memory.db'}")
    with memory.for_agent("other") as other:
        assert_type(other, KronvexMemory)
    close: Callable[[], None] = memory.close
    aclose: Callable[[], Awaitable[None]] = memory.aclose
    assert_type(memory.location, str)
    assert_type(memory.agent_id, str)

    close()
    await aclose()
