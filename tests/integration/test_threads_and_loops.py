"""One memory serves many threads and event loops; nothing is lost or mixed up."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from langchain_kronvex import KronvexMemory, MemoryClosed, with_memory

from .parts import PROMPT, HashedWords, parrot

OpenMemory = Callable[..., KronvexMemory]
SESSIONS, TURNS = 50, 4
THREADS = 16


def _config(number: int) -> Any:
    return {"configurable": {"user_id": f"user{number}", "session_id": f"chat{number}"}}


def _line(number: int, turn: int) -> str:
    return f"topic{number}x line{turn} of user{number}"


def _check_session(memory: KronvexMemory, number: int, turns: int) -> None:
    said = [_line(number, turn) for turn in range(turns)]
    messages = memory.chat_history(f"chat{number}", f"user{number}").messages
    assert [m.text for m in messages] == [text for line in said for text in (line, f"re {line}")]
    remembered = Counter(m.content for m in memory.memories(user_id=f"user{number}", limit=1000))
    assert remembered == Counter(
        [
            *(f"User: {line}\nAssistant: re {line}" for line in said),
            *(f"note {line}" for line in said),
        ]
    )


async def _session(memory: KronvexMemory, chain: Any, number: int, shown: list[str]) -> None:
    for turn in range(TURNS):
        line = _line(number, turn)
        assert await chain.ainvoke({"input": line}, _config(number)) == f"re {line}"
        await memory.aremember(f"note {line}", user_id=f"user{number}")
        found = await memory.arecall(f"topic{number}x", user_id=f"user{number}", top_k=100)
        assert len(found) == 2 * (turn + 1)
        assert all(f"user{number}" in m.content for m in found)


def _checking_chain() -> tuple[Any, list[str]]:
    """A chain whose model answers `re <input>`, and the prompts it has seen."""
    shown: list[str] = []

    def answer(prompt: Any) -> str:
        shown.append(prompt.to_string())
        return f"re {prompt.to_messages()[-1].text}"

    return PROMPT | answer, shown


def _check_prompts(shown: list[str]) -> None:
    """No prompt shows two users."""
    for prompt in shown:
        assert len({word for word in prompt.split() if word.startswith("topic")}) == 1


async def test_fifty_concurrent_sessions_stay_separate(open_memory: OpenMemory) -> None:
    memory = open_memory(embeddings=HashedWords())
    memory.engine.patience_seconds = 60  # the machine may be busy
    inner, shown = _checking_chain()
    chain = with_memory(inner, memory)
    await asyncio.gather(*(_session(memory, chain, number, shown) for number in range(SESSIONS)))
    assert len(shown) == SESSIONS * TURNS
    _check_prompts(shown)
    assert await memory.aflush(60)
    for number in range(SESSIONS):
        _check_session(memory, number, TURNS)
    stats = await memory.astats()
    assert (stats.failed, stats.degraded, stats.pending, stats.unembedded) == (0, 0, 0, 0)


async def test_one_session_used_by_many_tasks_loses_nothing(memory: KronvexMemory) -> None:
    chain = with_memory(parrot(), memory)
    lines = [f"line{n}x" for n in range(40)]
    await asyncio.gather(*(chain.ainvoke({"input": line}, _config(1)) for line in lines))
    messages = [m.text for m in memory.chat_history("chat1", "user1").messages]
    assert Counter(messages) == Counter([*lines, *(f"re {line}" for line in lines)])
    remembered = Counter(m.content for m in memory.memories(user_id="user1", limit=1000))
    assert remembered == Counter(f"User: {line}\nAssistant: re {line}" for line in lines)


def test_sixteen_threads_stay_separate(open_memory: OpenMemory) -> None:
    memory = open_memory(embeddings=HashedWords())
    inner, shown = _checking_chain()
    chain = with_memory(inner, memory)
    barrier = threading.Barrier(THREADS)

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(TURNS):
            line = _line(number, turn)
            assert chain.invoke({"input": line}, _config(number)) == f"re {line}"
            memory.remember(f"note {line}", user_id=f"user{number}")
            found = memory.recall(f"topic{number}x", user_id=f"user{number}", top_k=100)
            assert len(found) == 2 * (turn + 1)
            assert memory.inject_context("topic", user_id=f"user{number}").degraded is False

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    _check_prompts(shown)
    for number in range(THREADS):
        _check_session(memory, number, TURNS)


def test_threads_that_write_forget_and_recall_one_user_agree_in_the_end(
    open_memory: OpenMemory,
) -> None:
    memory = open_memory(embeddings=HashedWords())
    barrier = threading.Barrier(8)

    def work(number: int) -> list[str]:
        barrier.wait()
        kept = []
        for turn in range(12):
            stored = memory.remember(f"memory{number}x{turn}", user_id="ana")
            for each in memory.recall(f"memory{number}x{turn}", user_id="ana"):
                assert each.content.startswith("memory")
            if turn % 3 == 0:
                assert memory.forget(id=stored.id) == 1
                again = memory.recall(stored.content, user_id="ana", top_k=100)
                assert stored.content not in [m.content for m in again]
            else:
                kept.append(stored.content)
        return kept

    with ThreadPoolExecutor(8) as pool:
        kept = [text for texts in pool.map(work, range(8)) for text in texts]
    assert Counter(m.content for m in memory.memories(user_id="ana", limit=1000)) == Counter(kept)
    found = memory.recall(" ".join(kept), user_id="ana", top_k=1000)
    assert Counter(m.content for m in found) == Counter(kept)


def test_event_loops_one_after_another(open_memory: OpenMemory) -> None:
    memory = open_memory(embeddings=HashedWords())
    chain = with_memory(parrot(), memory)

    async def turn(number: int) -> None:
        line = _line(1, number)
        assert await chain.ainvoke({"input": line}, _config(1)) == f"re {line}"
        await memory.aremember(f"note {line}", user_id="user1")
        assert await memory.arecall("topic1x", user_id="user1")
        assert await memory.aflush(30)

    for number in range(TURNS):
        asyncio.run(turn(number))
    _check_session(memory, 1, TURNS)


def test_event_loops_in_two_threads_at_once(open_memory: OpenMemory) -> None:
    memory = open_memory(embeddings=HashedWords())
    inner, shown = _checking_chain()
    chain = with_memory(inner, memory)
    barrier = threading.Barrier(2)

    def loop(first: int) -> None:
        async def sessions() -> None:
            await asyncio.gather(
                *(_session(memory, chain, number, shown) for number in range(first, first + 10))
            )

        barrier.wait()
        asyncio.run(sessions())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(loop, [0, 10]))
    _check_prompts(shown)
    for number in range(20):
        _check_session(memory, number, TURNS)


async def test_concurrent_streams_save_their_own_turns(memory: KronvexMemory) -> None:
    chain = with_memory(parrot(), memory)

    async def stream(number: int) -> str:
        line = _line(number, 0)
        return "".join([part async for part in chain.astream({"input": line}, _config(number))])

    answers = await asyncio.gather(*(stream(number) for number in range(20)))
    assert answers == [f"re {_line(number, 0)}" for number in range(20)]
    for number in range(20):
        messages = memory.chat_history(f"chat{number}", f"user{number}").messages
        assert [m.text for m in messages] == [_line(number, 0), f"re {_line(number, 0)}"]


async def test_a_cancelled_task_leaves_the_memory_usable(memory: KronvexMemory) -> None:
    tasks = [asyncio.create_task(memory.aremember(f"text{n}x", user_id="ana")) for n in range(20)]
    await asyncio.sleep(0)  # let them begin
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    acknowledged = {r.content for r in results if not isinstance(r, BaseException)}
    assert acknowledged >= {f"text{n}x" for n in range(1, 20, 2)}
    await memory.aremember("after", user_id="ana")
    stored = [m.content for m in await memory.amemories(user_id="ana", limit=100)]
    assert len(stored) == len(set(stored))
    assert acknowledged | {"after"} <= set(stored)


def test_closing_while_threads_work_stops_them_cleanly(open_memory: OpenMemory) -> None:
    memory = open_memory(embeddings=HashedWords())
    for number in range(200):
        memory.remember(f"text{number}x and more words", user_id="ana")
    warm = threading.Barrier(9)

    def work(number: int) -> list[str]:
        acknowledged: list[str] = []
        warm.wait()
        try:
            while True:
                text = f"late{number}x{len(acknowledged)}"
                memory.remember(text, user_id="ben")
                acknowledged.append(text)
                memory.recall("text more", user_id="ana")
                memory.memories(user_id="ana")
        except MemoryClosed:
            return acknowledged

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(work, number) for number in range(8)]
        warm.wait()
        memory.recall("text1x", user_id="ana")
        memory.close()
        acknowledged = [text for job in jobs for text in job.result()]
    stored = open_memory(embeddings=HashedWords()).memories(user_id="ben", limit=100_000)
    assert set(acknowledged) <= {m.content for m in stored}


@pytest.mark.parametrize("verb", ["remember", "recall", "forget", "stats", "memories"])
def test_a_closed_memory_raises_memory_closed(memory: KronvexMemory, verb: str) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "remember": {"content": "x", "user_id": "ana"},
        "recall": {"query": "x", "user_id": "ana"},
        "forget": {"user_id": "ana"},
        "memories": {"user_id": "ana"},
    }
    memory.remember("x", user_id="ana")
    memory.close()
    memory.close()  # again does no harm
    with pytest.raises(MemoryClosed, match="open a new KronvexMemory"):
        getattr(memory, verb)(**arguments.get(verb, {}))
