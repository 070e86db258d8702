"""Faulty embeddings: memories are still saved and found by their words, and errors are reported."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from defaults import limit_pauses
from langchain_kronvex import EmbeddingsError, KronvexMemory, with_memory

from .parts import Fickle, fail, files_with, parrot

OpenMemory = Callable[..., KronvexMemory]
CONFIG: Any = {"configurable": {"user_id": "ana", "session_id": "chat"}}
SECRET = "zebrastripes"


FAULTS: dict[str, Callable[[list[Any]], Any]] = {
    "raises": fail,
    "NaN": lambda vectors: [[float("nan")] * 16 for _ in vectors],
    "infinite": lambda vectors: [[float("inf")] * 16 for _ in vectors],
    "ragged": lambda vectors: [[1.0] * (3 + n) for n, _ in enumerate(vectors)] + [[1.0]],
    "too few": lambda vectors: vectors[:-1],
    "too many": lambda vectors: [*vectors, vectors[0]],
    "none": lambda vectors: None,
    "a number": lambda vectors: 7,
    "texts": lambda vectors: [["a", "b"] for _ in vectors],
    "nothing": lambda vectors: [[] for _ in vectors],
    "empty": lambda vectors: [],
    "flat": lambda vectors: vectors[0],
}
QUERY_FAULTS: dict[str, Callable[[list[float]], Any]] = {
    "raises": fail,
    "NaN": lambda vector: [float("nan")] * 16,
    "another width": lambda vector: [1.0] * 17,
    "none": lambda vector: None,
    "a text": lambda vector: "abc",
    "nothing": lambda vector: [],
    "nested": lambda vector: [vector],
}


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_pauses(monkeypatch, 0.002)


@pytest.fixture(autouse=True)
def _no_memory_text_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, logger="langchain_kronvex")
    yield
    for record in caplog.get_records("call"):  # `caplog.text` is empty by now
        assert SECRET not in logging.Formatter().format(record)  # with its traceback, if any


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_document_vectors_neither_stop_nor_lose_memories(
    open_memory: OpenMemory, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    embeddings, errors = Fickle(), list[Exception]()
    memory = open_memory(embeddings=embeddings, on_error=errors.append)
    embeddings.documents = FAULTS[fault]
    for number in range(3):
        memory.remember(f"{SECRET} number{number}", user_id="ana")
    assert with_memory(parrot(), memory).invoke({"input": SECRET}, CONFIG) == f"re {SECRET}"
    assert memory.flush(30)
    for number in range(3):
        found = memory.recall(f"number{number}", user_id="ana", top_k=1)
        assert [m.content for m in found] == [f"{SECRET} number{number}"]
    stats = memory.stats()
    assert stats.unembedded == 4
    assert stats.failed >= 1
    assert "EmbeddingsError" in str(stats.last_error)
    assert SECRET not in str(stats.last_error)
    assert errors
    assert all(isinstance(error, EmbeddingsError) for error in errors)
    assert all("fickle" in str(error) and SECRET not in str(error) for error in errors)
    told = [r for r in caplog.records if r.name == "langchain_kronvex"]
    assert any(r.levelno >= logging.ERROR and "fickle" in r.getMessage() for r in told)

    embeddings.recover()
    memory.remember("one more", user_id="ana")
    assert memory.flush(30)
    assert memory.stats().unembedded == 0


def test_a_fault_that_passes_is_not_reported(open_memory: OpenMemory) -> None:
    embeddings, errors = Fickle(), list[Exception]()
    memory = open_memory(embeddings=embeddings, on_error=errors.append)

    def third_time_lucky(vectors: list[Any]) -> Any:
        return vectors if embeddings.asked >= 3 else fail(vectors)

    embeddings.documents = third_time_lucky
    memory.remember(SECRET, user_id="ana")
    assert memory.flush(30)
    stats = memory.stats()
    assert (stats.unembedded, stats.failed, stats.last_error) == (0, 0, None)
    assert errors == []


def test_missing_vectors_are_fetched_after_a_restart(open_memory: OpenMemory) -> None:
    embeddings = Fickle()
    embeddings.documents = fail
    with open_memory(embeddings=embeddings) as memory:
        for number in range(150):
            memory.remember(f"{SECRET} number{number}", user_id="ana")
        memory.flush(30)
        assert memory.stats().unembedded == 150
    with open_memory(embeddings=False) as memory:  # a process without embeddings in between
        memory.remember(f"{SECRET} written without", user_id="ana")
        assert memory.recall("number7", user_id="ana")
    restarted = open_memory(embeddings=Fickle())
    assert restarted.flush(30)
    assert restarted.stats().unembedded == 0
    assert len(restarted.recall("number7", user_id="ana", top_k=500)) == 151


@pytest.mark.parametrize("fault", QUERY_FAULTS)
def test_a_faulty_query_vector_fails_recall_and_degrades_context(
    open_memory: OpenMemory, fault: str
) -> None:
    embeddings, errors = Fickle(), list[Exception]()
    memory = open_memory(embeddings=embeddings, on_error=errors.append)
    memory.remember(f"{SECRET} live in Kenya", user_id="ana")
    memory.flush(30)
    embeddings.queries = QUERY_FAULTS[fault]
    with pytest.raises(EmbeddingsError, match="fickle") as caught:
        memory.recall(f"where do {SECRET} live", user_id="ana")
    assert SECRET not in str(caught.value)
    assert errors == []  # whoever called was told

    context = memory.inject_context(f"where do {SECRET} live", user_id="ana")
    assert context.degraded is True
    assert f"{SECRET} live in Kenya" in context.context
    assert [isinstance(error, EmbeddingsError) for error in errors] == [True]
    stats = memory.stats()
    assert stats.degraded == 1
    assert "fickle" in str(stats.last_error)
    assert with_memory(parrot(), memory).invoke({"input": SECRET}, CONFIG) == f"re {SECRET}"
    assert memory.stats().degraded == 2

    embeddings.recover()
    assert memory.inject_context(f"where do {SECRET} live", user_id="ana").degraded is False
    assert memory.recall(f"where do {SECRET} live", user_id="ana")


async def test_a_faulty_query_vector_has_the_same_effect_when_awaited(
    open_memory: OpenMemory,
) -> None:
    embeddings = Fickle()
    memory = open_memory(embeddings=embeddings)
    await memory.aremember(f"{SECRET} live in Kenya", user_id="ana")
    embeddings.queries = fail
    with pytest.raises(EmbeddingsError):
        await memory.arecall(SECRET, user_id="ana")
    context = await memory.ainject_context(SECRET, user_id="ana")
    assert context.degraded is True
    assert SECRET in context.context
    chain = with_memory(parrot(), memory)
    assert await chain.ainvoke({"input": SECRET}, CONFIG) == f"re {SECRET}"


@pytest.mark.parametrize("fault", ["documents", "queries"])
def test_an_error_in_on_error_stops_nothing_and_logs_no_memory_text(
    open_memory: OpenMemory, fault: str
) -> None:
    def on_error(error: Exception) -> None:
        raise ValueError("the reporting is down")

    embeddings = Fickle()
    memory = open_memory(embeddings=embeddings, on_error=on_error)
    setattr(embeddings, fault, fail)
    memory.remember(SECRET, user_id="ana")
    assert memory.flush(30)
    assert SECRET in memory.inject_context(SECRET, user_id="ana").context


# -- a provider that hangs ---------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hanging provider waits for; opened at the end, so that everything can be closed."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def hanging(open_memory: OpenMemory, gate: threading.Event) -> Iterator[KronvexMemory]:
    """A memory whose provider hangs on documents until the gate opens."""
    embeddings, hangs = Fickle(), threading.Event()

    def wait(vectors: list[Any]) -> list[Any]:
        hangs.set()
        assert gate.wait(60)
        return vectors

    embeddings.documents = wait
    memory = open_memory(embeddings=embeddings)
    memory.remember("the provider hangs on this", user_id="ana")
    assert hangs.wait(30)
    yield memory
    gate.set()


def test_a_hanging_provider_delays_neither_saving_nor_recall(
    hanging: KronvexMemory, gate: threading.Event
) -> None:
    for number in range(20):
        hanging.remember(f"number{number}", user_id="ana")
        assert hanging.recall(f"number{number}", user_id="ana")[0].content == f"number{number}"
    assert with_memory(parrot(), hanging).invoke({"input": "hello"}, CONFIG) == "re hello"
    stats = hanging.stats()
    assert (stats.unembedded, stats.degraded) == (22, 0)
    assert stats.pending >= 1
    assert hanging.engine.writer.flush(30)
    assert hanging.flush(0.01) is False
    gate.set()
    assert hanging.flush(30)
    assert hanging.stats().unembedded == 0


async def test_a_hanging_provider_does_not_block_the_event_loop(
    hanging: KronvexMemory, gate: threading.Event
) -> None:
    chain = with_memory(parrot(), hanging)
    answers = await asyncio.gather(
        *(
            chain.ainvoke({"input": f"hello {n}"}, {"configurable": {"session_id": f"s{n}"}})
            for n in range(20)
        )
    )
    assert answers == [f"re hello {n}" for n in range(20)]
    assert (await hanging.astats()).degraded == 0


def test_a_memory_forgotten_while_it_is_embedded_does_not_come_back(
    hanging: KronvexMemory, gate: threading.Event, tmp_path: Path
) -> None:
    hanging.remember("stays", user_id="ben")
    assert hanging.forget(user_id="ana") == 1
    gate.set()
    assert hanging.flush(30)
    assert hanging.memories(user_id="ana") == []
    assert files_with(tmp_path, "the provider hangs", "ana") == []
    stats = hanging.stats()
    assert (stats.memories, stats.unembedded, stats.failed) == (1, 0, 0)


async def test_a_hanging_query_can_be_cancelled_and_blocks_no_other(
    open_memory: OpenMemory, gate: threading.Event
) -> None:
    embeddings, hangs = Fickle(), threading.Event()
    memory = open_memory(embeddings=embeddings)
    await memory.aremember("tea", user_id="ana")

    def wait(vector: list[float]) -> list[float]:
        hangs.set()
        assert gate.wait(60)
        return vector

    embeddings.queries = wait
    waiting = asyncio.create_task(memory.arecall("tea", user_id="ana"))
    await asyncio.to_thread(hangs.wait, 30)
    embeddings.recover()
    assert await memory.arecall("other tea", user_id="ana")
    await memory.aremember("coffee", user_id="ana")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()


def test_a_failing_provider_does_not_slow_the_closing(open_memory: OpenMemory) -> None:
    embeddings = Fickle()
    embeddings.documents = fail
    memory = open_memory(embeddings=embeddings)
    memory.remember(SECRET, user_id="ana")
    memory.close()
    assert len(open_memory().memories(user_id="ana")) == 1
