"""Messages are on disk before the model runs, if it fails, and if a stream breaks off."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory, with_memory
from langchain_kronvex.embeddings import StaticEmbeddings

from .models import FakeModel, ModelDown
from .runs import ANA, Call, every_way, ids, remembered, said, sync_and_async

POEM = "Roses are red, violets are blue."
HEARD = ["human: A poem?", "ai: Roses are "]


@every_way
async def test_the_users_message_is_on_disk_before_the_model_runs(
    memory: KronvexMemory, open_memory: OpenMemory, call: Call
) -> None:
    memory.engine.patience_seconds = 30.0  # on a busy machine, a second may not be enough
    other = open_memory()
    seen: list[list[str]] = []

    def look(prompt: Any) -> str:
        seen.append([*said(other), *remembered(other)])
        return "Fine."

    await call(with_memory(FakeModel(replies=[look]), memory), "Hello?")

    assert seen == [["human: Hello?", "User: Hello?"]]
    assert [*said(other), *remembered(other)] == [
        "human: Hello?", "ai: Fine.", "User: Hello?\nAssistant: Fine.",
    ]  # fmt: skip


@sync_and_async
async def test_if_the_model_fails_the_users_message_is_kept_and_the_error_raised(
    memory: KronvexMemory, open_memory: OpenMemory, call: Call
) -> None:
    with pytest.raises(ModelDown):
        await call(with_memory(FakeModel(replies=[ModelDown()]), memory), "Hello?")

    assert said(open_memory()) == ["human: Hello?"]
    assert remembered(memory) == ["User: Hello?"]
    assert memory.stats().degraded == 0


@sync_and_async
async def test_after_a_failure_the_next_turn_shows_the_question_and_answers(
    memory: KronvexMemory, call: Call
) -> None:
    model = FakeModel(replies=[ModelDown(), "Here I am."])
    chain = with_memory(model, memory)
    with pytest.raises(ModelDown):
        await call(chain, "Hello?")

    await call(chain, "Are you there?")

    assert [m.text for m in model.prompts[-1]] == ["Hello?", "Are you there?"]
    assert said(memory) == ["human: Hello?", "human: Are you there?", "ai: Here I am."]


async def test_the_output_of_a_model_that_fails_midway_is_saved(memory: KronvexMemory) -> None:
    chain = with_memory(FakeModel(replies=[POEM], breaks_after=2), memory)

    with pytest.raises(ModelDown):
        list(chain.stream("A poem?", ANA))
    with pytest.raises(ModelDown):
        [chunk async for chunk in chain.astream("A poem?", ids("bob"))]

    assert said(memory) == HEARD
    assert said(memory, "bob") == HEARD
    assert remembered(memory) == ["User: A poem?\nAssistant: Roses are"]


# -- the consumer stops listening ---------------------------------------------------------------


def poet(memory: KronvexMemory) -> Runnable[Any, Any]:
    return with_memory(FakeModel(replies=[POEM]), memory)


def test_the_output_of_a_closed_stream_is_saved(memory: KronvexMemory) -> None:
    stream = poet(memory).stream("A poem?", ANA)
    for _ in range(2):
        next(stream)

    stream.close()  # type: ignore[attr-defined]

    assert said(memory) == HEARD
    assert remembered(memory) == ["User: A poem?\nAssistant: Roses are"]


def test_the_output_of_a_stream_left_by_break_is_saved(memory: KronvexMemory) -> None:
    for number, _ in enumerate(poet(memory).stream("A poem?", ANA)):
        if number == 1:
            break

    gc.collect()
    assert said(memory) == HEARD


def test_the_output_before_an_error_of_the_consumer_is_saved(memory: KronvexMemory) -> None:
    def consume() -> None:
        for number, _ in enumerate(poet(memory).stream("A poem?", ANA)):
            if number == 1:
                raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        consume()

    gc.collect()
    assert said(memory) == HEARD


def test_the_output_before_an_error_thrown_into_the_stream_is_saved(memory: KronvexMemory) -> None:
    stream = poet(memory).stream("A poem?", ANA)
    for _ in range(2):
        next(stream)

    with pytest.raises(ZeroDivisionError):
        stream.throw(ZeroDivisionError)  # type: ignore[attr-defined]

    assert said(memory) == HEARD


def test_a_stream_that_is_never_read_saves_nothing(memory: KronvexMemory) -> None:
    stream = poet(memory).stream("A poem?", ANA)
    stream.close()  # type: ignore[attr-defined]

    assert said(memory) == []


def test_the_question_of_a_stream_closed_at_once_is_saved(memory: KronvexMemory) -> None:
    chain = with_memory(FakeModel(replies=[POEM], breaks_after=0), memory)

    with pytest.raises(ModelDown):
        next(chain.stream("A poem?", ANA))

    assert said(memory) == ["human: A poem?"]


async def test_the_output_of_a_closed_async_stream_is_saved(memory: KronvexMemory) -> None:
    stream = poet(memory).astream("A poem?", ANA)
    for _ in range(2):
        await anext(stream)

    await stream.aclose()  # type: ignore[attr-defined]

    assert said(memory) == HEARD
    assert remembered(memory) == ["User: A poem?\nAssistant: Roses are"]


async def test_the_output_before_an_error_thrown_into_an_async_stream_is_saved(
    memory: KronvexMemory,
) -> None:
    stream = poet(memory).astream("A poem?", ANA)
    for _ in range(2):
        await anext(stream)

    with pytest.raises(ZeroDivisionError):
        await stream.athrow(ZeroDivisionError)  # type: ignore[attr-defined]

    assert said(memory) == HEARD


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_the_output_of_an_abandoned_async_stream_is_saved(
    memory: KronvexMemory, error: type[Exception] | None
) -> None:
    async def consume() -> None:
        heard = 0
        async for _ in poet(memory).astream("A poem?", ANA):
            heard += 1
            if heard == 2:
                if error:
                    raise error
                break

    # The event loop closes its remaining generators when it ends.
    with contextlib.suppress(ZeroDivisionError):
        asyncio.run(consume())

    assert said(memory) == HEARD


async def listening(memory: KronvexMemory, second_word: asyncio.Event) -> None:
    heard = 0
    async for _ in poet(memory).astream("A poem?", ANA):
        heard += 1
        if heard == 2:
            second_word.set()
            await asyncio.Event().wait()


async def test_the_output_for_a_cancelled_reader_is_saved(memory: KronvexMemory) -> None:
    second_word = asyncio.Event()
    task = asyncio.create_task(listening(memory, second_word))
    await asyncio.wait_for(second_word.wait(), 10)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await asyncio.get_running_loop().shutdown_asyncgens()
    await memory.aflush()
    assert said(memory) == HEARD


class SlowModel(FakeModel):
    """Says two words, then blocks."""

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for place, chunk in enumerate(self._stream(*args, **kwargs)):
            if place == 2:
                self.metadata["waiting"].set()
                await asyncio.Event().wait()
            yield chunk


async def listen(chain: Runnable[Any, Any]) -> None:
    async for _ in chain.astream("A poem?", ANA):
        pass


async def test_a_turn_cancelled_during_the_model_call_is_saved(
    memory: KronvexMemory,
) -> None:
    waiting = asyncio.Event()
    chain = with_memory(SlowModel(replies=[POEM], metadata={"waiting": waiting}), memory)
    task = asyncio.create_task(listen(chain))
    await asyncio.wait_for(waiting.wait(), 10)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert said(memory) == HEARD


async def test_a_turn_cancelled_repeatedly_is_saved(
    memory: KronvexMemory,
) -> None:
    # When a client disconnects, a web server cancels every further await too.
    waiting = asyncio.Event()
    chain = with_memory(SlowModel(replies=[POEM], metadata={"waiting": waiting}), memory)

    async with anyio.create_task_group() as group:
        group.start_soon(listen, chain)
        with anyio.fail_after(10):
            await waiting.wait()
        group.cancel_scope.cancel()

    await memory.aflush()
    assert said(memory) == HEARD


async def test_the_question_of_a_cancelled_call_is_saved(memory: KronvexMemory) -> None:
    waiting = asyncio.Event()

    async def think(prompt: Any) -> str:
        waiting.set()
        await asyncio.Event().wait()
        return "never"

    task = asyncio.create_task(with_memory(RunnableLambda(think), memory).ainvoke("Hello?", ANA))
    await asyncio.wait_for(waiting.wait(), 10)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert said(memory) == ["human: Hello?"]


def pipeline(memory: KronvexMemory) -> Runnable[Any, Any]:
    return ChatPromptTemplate.from_messages([("human", "{q}")]) | poet(memory) | StrOutputParser()


@pytest.mark.slow
def test_inside_a_pipeline_the_output_of_a_closed_stream_is_saved(memory: KronvexMemory) -> None:
    stream = pipeline(memory).stream({"q": "A poem?"}, ANA)
    assert [next(stream), next(stream)] == ["Roses ", "are "]

    stream.close()  # type: ignore[attr-defined]

    # LangChain's next step may consume the whole output of the model before it closes it.
    gc.collect()
    question, answer = said(memory)
    assert question == "human: A poem?"
    assert answer.startswith("ai: Roses are ")


def test_inside_a_pipeline_the_output_of_an_abandoned_async_stream_is_saved(
    memory: KronvexMemory,
) -> None:
    async def consume() -> None:
        stream = pipeline(memory).astream({"q": "A poem?"}, ANA)
        assert [await anext(stream), await anext(stream)] == ["Roses ", "are "]
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(consume())

    assert said(memory) == HEARD


def test_exchanges_survive_the_process(store_url: str) -> None:
    with KronvexMemory(store_url) as first:
        with_memory(FakeModel(replies=["Lovely name."]), first).invoke("My cat is Momo.", ANA)

    with KronvexMemory(store_url) as second:
        model = FakeModel()
        with_memory(model, second).invoke("What is my cat called?", ids("ana", "later"))

    assert "My cat is Momo." in model.prompts[0][0].text


async def test_an_async_turn_uses_a_thread_once_and_embeds_its_words_once(
    memory: KronvexMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, threads, embedded = memory.engine, list[str](), list[str]()
    table, calls = StaticEmbeddings.embed_array, {"read": engine.threads.read}
    calls["run"] = engine.threads.run
    for name, call in calls.items():

        async def noted(*given: Any, _name: str = name, _call: Any = call, **more: Any) -> Any:
            threads.append(_name)
            return await _call(*given, **more)

        monkeypatch.setattr(engine.threads, name, noted)

    def embed_array(self: StaticEmbeddings, texts: list[str]) -> Any:
        embedded.extend(texts)
        return table(self, texts)

    monkeypatch.setattr(StaticEmbeddings, "embed_array", embed_array)
    await with_memory(FakeModel(), memory).ainvoke("Where do I live?", ANA)

    assert threads == ["read"]
    if not engine.backend.is_remote:  # a server embeds what is sent to it
        assert embedded == ["Where do I live?"]
    assert memory.stats().unembedded == 0
