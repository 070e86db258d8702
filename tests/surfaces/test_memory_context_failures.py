"""If a recall fails, the chat continues: empty context, one warning, one event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from conftest import OpenMemory
from langchain_kronvex import (
    KronvexMemory,
    KronvexMemoryContext,
    MemoryClosed,
    StoreBusy,
    StoreError,
)

from .conftest import EventLog, Faults
from .models import FakeModel

Logged = Callable[[], list[str]]
EVENT = "kronvex_memory_degraded"
ASKED = {"input": "tea or coffee?"}


@pytest.fixture
def step(tea_lover: KronvexMemory, faults: Faults) -> KronvexMemoryContext:
    faults.fail("recall")
    return KronvexMemoryContext(memory=tea_lover, user_id="ana")


async def call(step: Any, way: str, value: Any, config: Any = None) -> Any:
    if way == "invoke":
        return step.invoke(value, config)
    if way == "ainvoke":
        return await step.ainvoke(value, config)
    if way == "stream":
        [filled] = step.stream(value, config)
        return filled
    if way == "astream":
        [filled] = [chunk async for chunk in step.astream(value, config)]
        return filled
    return (await step.abatch([value], config))[0]


every_way = pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "abatch"])


@every_way
async def test_the_chat_continues_without_context(
    step: KronvexMemoryContext,
    way: str,
    event_log: EventLog,
    warnings_logged: Logged,
) -> None:
    filled = await call(step, way, ASKED, {"callbacks": [event_log]})

    assert filled == {**ASKED, "memory_context": "", "memory_degraded": True}
    assert [name for name, _ in event_log.events] == [EVENT]
    assert step.memory.stats().degraded == 1
    [line] = warnings_logged()
    assert "the disk is gone" in line


@every_way
async def test_logs_and_events_contain_no_memory_text(
    step: KronvexMemoryContext, way: str, event_log: EventLog, warnings_logged: Logged
) -> None:
    await call(step, way, ASKED, {"callbacks": [event_log]})

    told = " ".join([*warnings_logged(), *map(str, event_log.events)])
    assert told
    assert "tea" not in told
    assert "coffee" not in told


async def test_each_turn_is_logged_and_counted_once(
    step: KronvexMemoryContext, warnings_logged: Logged
) -> None:
    for _ in range(3):
        step.invoke(ASKED)
        await step.ainvoke(ASKED)

    assert len(warnings_logged()) == 6
    assert step.memory.stats().degraded == 6


def test_messages_and_texts_degrade_to_an_empty_context(step: KronvexMemoryContext) -> None:
    filled = step.invoke([SystemMessage("Known: <memory_context>"), HumanMessage("tea?")])

    assert [message.text for message in filled] == ["Known: ", "tea?"]
    assert step.invoke("tea?") == ""


async def test_the_event_is_streamed(step: KronvexMemoryContext) -> None:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "{memory_context}"), ("human", "{input}")]
    )
    chain = step | prompt | FakeModel()

    events = [event async for event in chain.astream_events(ASKED, version="v2")]

    custom = [event for event in events if event["event"] == "on_custom_event"]
    assert [event["name"] for event in custom] == [EVENT]
    assert events[-1]["data"]["output"].text == "Fine."


def test_the_event_reaches_the_callbacks_of_an_outer_chain(
    step: KronvexMemoryContext, event_log: EventLog
) -> None:
    def outer(value: Any) -> Any:
        return step.invoke(value)

    RunnableLambda(outer).invoke(ASKED, {"callbacks": [event_log]})

    assert [name for name, _ in event_log.events] == [EVENT]


@every_way
async def test_on_error_raise_raises(
    step: KronvexMemoryContext, way: str, event_log: EventLog, warnings_logged: Logged
) -> None:
    strict = step.model_copy(update={"on_error": "raise"})

    with pytest.raises(StoreError, match="the disk is gone"):
        await call(strict, way, ASKED, {"callbacks": [event_log]})
    assert event_log.events == []
    assert warnings_logged() == []
    assert step.memory.stats().degraded == 0


@pytest.mark.parametrize("error", [StoreBusy(), OSError("no space"), ZeroDivisionError("bug")])
def test_no_error_breaks_the_chat(
    tea_lover: KronvexMemory, faults: Faults, error: Exception
) -> None:
    faults.fail("recall", error=error)
    step = KronvexMemoryContext(memory=tea_lover, user_id="ana")

    assert step.invoke(ASKED)["memory_degraded"] is True
    assert type(error).__name__ in str(tea_lover.stats().last_error)


def test_an_interrupt_is_not_a_failure(tea_lover: KronvexMemory, faults: Faults) -> None:
    faults.fail("recall", error=KeyboardInterrupt())  # type: ignore[arg-type]
    step = KronvexMemoryContext(memory=tea_lover, user_id="ana")

    with pytest.raises(KeyboardInterrupt):
        step.invoke(ASKED)


def test_recall_recovers_after_a_failure(tea_lover: KronvexMemory, faults: Faults) -> None:
    faults.fail("recall", times=1)
    step = KronvexMemoryContext(memory=tea_lover, user_id="ana")

    assert step.invoke(ASKED)["memory_context"] == ""
    again = step.invoke(ASKED)
    assert "Ana prefers tea." in again["memory_context"]
    assert "memory_degraded" not in again


def test_on_error_of_the_memory_is_called(open_memory: OpenMemory) -> None:
    told: list[Exception] = []
    memory = open_memory(on_error=told.append)
    memory.remember("Ana prefers tea.", user_id="ana")
    memory.engine.backend.recall = lambda search: 1 / 0  # type: ignore[method-assign]

    KronvexMemoryContext(memory=memory, user_id="ana").invoke(ASKED)

    assert [type(error) for error in told] == [ZeroDivisionError]


class Flaky(DeterministicFakeEmbedding):
    """Embeds documents, but fails on queries."""

    def embed_query(self, text: str) -> list[float]:
        raise ConnectionError("no route")


async def test_with_failing_embeddings_words_are_searched(
    open_memory: OpenMemory, event_log: EventLog, warnings_logged: Logged
) -> None:
    memory = open_memory(embeddings=Flaky(size=8))
    memory.remember("Ana prefers tea.", user_id="ana")
    memory.flush()
    step = KronvexMemoryContext(memory=memory, user_id="ana")

    for filled in (
        step.invoke(ASKED, {"callbacks": [event_log]}),
        await step.ainvoke(ASKED, {"callbacks": [event_log]}),
    ):
        assert "Ana prefers tea." in filled["memory_context"]
        assert filled["memory_degraded"] is True
    assert [name for name, _ in event_log.events] == [EVENT, EVENT]
    assert len(warnings_logged()) == 2
    assert memory.stats().degraded == 2


def test_a_closed_memory_is_a_mistake_of_the_program(open_memory: OpenMemory) -> None:
    memory = open_memory()
    memory.close()

    with pytest.raises(MemoryClosed):
        KronvexMemoryContext(memory=memory, user_id="ana").invoke(ASKED)
