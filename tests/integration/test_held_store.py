"""Another process holds the store: the chat goes on, says so, and everything is saved later."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.runnables import RunnableGenerator

from defaults import limit_pauses
from inside import DEGRADED_EVENT
from langchain_kronvex import KronvexMemory, MemoryDraft, StoreBusy, with_memory

from .parts import parrot, seen_by_model

OpenMemory = Callable[..., KronvexMemory]
CONFIG: Any = {"configurable": {"user_id": "ana", "session_id": "chat"}}
PATIENCE_SECONDS = 0.2
# A turn saves twice, before and after the model; the rest is what a slow machine needs.
LONGEST_TURN_SECONDS = 2 * PATIENCE_SECONDS + 1.0


class Holder:
    """Another connection, which takes the write lock and lets it go."""

    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def hold(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self.release()
        self._connection.close()


@pytest.fixture
def memory(open_memory: OpenMemory) -> KronvexMemory:
    opened = open_memory()
    opened.engine.patience_seconds = PATIENCE_SECONDS
    opened.remember("Ana lives in Porto", user_id="ana")
    return opened


@pytest.fixture
def holder(memory: KronvexMemory, store_url: str) -> Iterator[Holder]:
    holder = Holder(store_url)
    yield holder
    holder.close()


def _texts(memory: KronvexMemory) -> list[str]:
    return [message.text for message in memory.chat_history("chat", "ana").messages]


def _saved(*lines: str) -> list[str]:
    return [text for line in lines for text in (line, f"re {line}")]


def test_a_turn_is_answered_reported_and_saved_when_the_store_is_free(
    memory: KronvexMemory, holder: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    chain = with_memory(parrot(), memory)
    chain.invoke({"input": "before"}, CONFIG)
    holder.hold()
    started = time.monotonic()
    assert chain.invoke({"input": "zebrastripes"}, CONFIG) == "re zebrastripes"
    assert time.monotonic() - started < LONGEST_TURN_SECONDS
    stats = memory.stats()
    assert stats.degraded >= 1
    assert stats.pending >= 1
    assert stats.failed == 0
    assert "StoreBusy" in str(stats.last_error)
    assert "degraded" in caplog.text
    assert "zebrastripes" not in caplog.text
    assert _texts(memory) == _saved("before")

    holder.release()
    assert memory.flush(30)
    assert _texts(memory) == _saved("before", "zebrastripes")
    assert "User: zebrastripes\nAssistant: re zebrastripes" in [
        each.content for each in memory.memories(user_id="ana")
    ]


def test_many_turns_wait_in_their_order(memory: KronvexMemory, holder: Holder) -> None:
    chain = with_memory(parrot(), memory)
    lines = [f"line {number}" for number in range(5)]
    holder.hold()
    for line in lines:
        assert chain.invoke({"input": line}, CONFIG) == f"re {line}"
    holder.release()
    assert memory.flush(30)
    assert _texts(memory) == _saved(*lines)
    remembered = [m.content for m in memory.memories(user_id="ana")]
    for line in lines:
        assert remembered.count(f"User: {line}\nAssistant: re {line}") == 1
        assert f"User: {line}" not in remembered


async def test_awaited_turns_do_not_block_the_event_loop(
    memory: KronvexMemory, holder: Holder
) -> None:
    chain = with_memory(parrot(), memory)
    holder.hold()
    started = time.monotonic()
    configs: list[Any] = [
        {"configurable": {"user_id": f"user{n}", "session_id": "chat"}} for n in range(10)
    ]
    answers = await asyncio.gather(*(chain.ainvoke({"input": "hello"}, c) for c in configs))
    assert time.monotonic() - started < LONGEST_TURN_SECONDS
    assert answers == ["re hello"] * 10
    holder.release()
    assert await memory.aflush(30)
    for number in range(10):
        messages = await memory.chat_history("chat", f"user{number}").aget_messages()
        assert [m.text for m in messages] == ["hello", "re hello"]


@pytest.mark.parametrize("ending", ["read to its end", "closed early"])
def test_a_stream_is_saved_too(memory: KronvexMemory, holder: Holder, ending: str) -> None:

    def count(inputs: Iterator[Any]) -> Iterator[str]:
        for _ in inputs:
            yield from ["one ", "two ", "three"]

    chain = with_memory(RunnableGenerator(count), memory)
    holder.hold()
    stream: Any = chain.stream({"input": "count"}, CONFIG)
    said = next(stream)
    if ending == "closed early":
        stream.close()
    else:
        said += "".join(stream)
    holder.release()
    assert said in ("one ", "one two three")
    assert memory.flush(30)
    assert _texts(memory) == ["count", said]


async def test_a_degraded_turn_is_reported_as_an_event(
    memory: KronvexMemory, holder: Holder
) -> None:
    chain = with_memory(parrot(), memory)
    holder.hold()
    events = [e async for e in chain.astream_events({"input": "hi"}, CONFIG, version="v2")]
    holder.release()
    custom = [e["name"] for e in events if e["event"] == "on_custom_event"]
    assert custom == [DEGRADED_EVENT]


def test_recall_goes_on_meanwhile(memory: KronvexMemory, holder: Holder) -> None:
    inner, shown = seen_by_model()
    chain = with_memory(inner, memory)
    holder.hold()
    started = time.monotonic()
    assert memory.recall("Where does Ana live?", user_id="ana")[0].content == "Ana lives in Porto"
    assert memory.inject_context("Ana lives where?", user_id="ana").degraded is False
    assert [m.content for m in memory.memories(user_id="ana")] == ["Ana lives in Porto"]
    assert memory.stats().memories == 1
    assert time.monotonic() - started < 1.0
    chain.invoke({"input": "Where does Ana live?"}, CONFIG)
    assert "Ana lives in Porto" in shown[0]
    holder.release()
    assert memory.flush(30)
    assert memory.memories(user_id="ana", memory_type="episodic")


def test_recall_goes_on_even_when_the_queue_is_full(memory: KronvexMemory, holder: Holder) -> None:
    holder.hold()
    room = memory.engine.writer._max_pending
    for number in range(room):
        memory.engine.writer.submit(f"lane {number}", lambda: memory.remember("x", user_id="queue"))
    found: list[str] = []
    asking = threading.Thread(
        target=lambda: found.extend(m.content for m in memory.recall("Porto", user_id="ana")),
        daemon=True,
    )
    asking.start()
    asking.join(5)
    held_up = asking.is_alive()
    holder.release()
    asking.join(30)
    assert found == ["Ana lives in Porto"]
    assert not held_up
    assert memory.flush(60)


def test_remember_waits_for_the_timeout_and_then_raises(
    open_memory: OpenMemory, memory: KronvexMemory, holder: Holder
) -> None:
    impatient = open_memory(timeout_seconds=0.2)
    holder.hold()
    started = time.monotonic()
    with pytest.raises(StoreBusy, match=r"memory\.db.*0\.2 s") as caught:
        impatient.remember("too late", user_id="ana")
    assert 0.15 < time.monotonic() - started < 2
    assert "Try again" in str(caught.value)
    with pytest.raises(StoreBusy):
        impatient.remember_many([MemoryDraft("too late", user_id="ana")])
    with pytest.raises(StoreBusy):
        impatient.save_exchange("too", "late", user_id="ana")
    with pytest.raises(StoreBusy):
        impatient.chat_history("chat", "ana").add_user_message("too late")
    with pytest.raises(StoreBusy):
        impatient.forget(user_id="ana")
    holder.release()
    assert _texts(impatient) == []
    assert [m.content for m in impatient.memories(user_id="ana")] == ["Ana lives in Porto"]
    assert impatient.remember("in time", user_id="ana")


def test_remember_waits_for_its_turn(memory: KronvexMemory, holder: Holder) -> None:
    holder.hold()
    done = threading.Event()

    def write() -> None:
        memory.remember("patient", user_id="ana")
        done.set()

    writing = threading.Thread(target=write)
    writing.start()
    assert not done.wait(0.3)
    holder.release()
    assert done.wait(10)
    writing.join()
    assert memory.recall("patient", user_id="ana", top_k=1)[0].content == "patient"


def test_on_error_raise_raises_in_the_call(memory: KronvexMemory, holder: Holder) -> None:
    chain = with_memory(parrot(), memory, on_error="raise")
    holder.hold()
    with pytest.raises(StoreBusy):
        chain.invoke({"input": "hello"}, CONFIG)


def test_turns_of_a_store_held_for_too_long_are_reported(
    open_memory: OpenMemory, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_pauses(monkeypatch, 0.001)
    errors: list[Exception] = []
    impatient = open_memory(timeout_seconds=0.01, on_error=errors.append)
    chain = with_memory(parrot(), impatient)
    holder.hold()
    assert chain.invoke({"input": "hello"}, CONFIG) == "re hello"
    assert impatient.flush(30)
    stats = impatient.stats()
    assert stats.failed >= 1
    assert stats.pending == 0
    assert "StoreBusy" in str(stats.last_error)
    assert any(isinstance(error, StoreBusy) for error in errors)
    holder.release()
    assert chain.invoke({"input": "again"}, CONFIG) == "re again"
    assert _texts(impatient)[-2:] == _saved("again")


def test_waiting_turns_of_a_forgotten_user_are_dropped(
    memory: KronvexMemory, holder: Holder
) -> None:
    chain = with_memory(parrot(), memory)
    other: Any = {"configurable": {"user_id": "ben", "session_id": "chat"}}
    holder.hold()
    chain.invoke({"input": "of ana"}, CONFIG)
    chain.invoke({"input": "of ben"}, other)
    forgetting = threading.Thread(target=lambda: memory.forget(user_id="ana"))
    forgetting.start()
    chain.invoke({"input": "ben again"}, other)
    holder.release()
    forgetting.join(30)
    assert not forgetting.is_alive()
    assert memory.flush(30)
    assert _texts(memory) == []
    assert memory.memories(user_id="ana") == []
    messages = memory.chat_history("chat", "ben").messages
    assert [m.text for m in messages] == _saved("of ben", "ben again")
    # A turn after it is a new beginning.
    chain.invoke({"input": "ana again"}, CONFIG)
    assert _texts(memory) == _saved("ana again")


def test_closing_saves_the_waiting_turns(
    open_memory: OpenMemory, memory: KronvexMemory, holder: Holder
) -> None:
    chain = with_memory(parrot(), memory)
    holder.hold()
    chain.invoke({"input": "last words"}, CONFIG)
    closing = threading.Thread(target=memory.close)
    closing.start()
    holder.release()
    closing.join(30)
    assert not closing.is_alive()
    assert _texts(open_memory()) == _saved("last words")
