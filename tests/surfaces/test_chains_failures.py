"""Memory never breaks the chat: a failure degrades, is reported once, and is retried."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from conftest import OpenMemory
from langchain_kronvex import (
    BackgroundWriter,
    InvalidInput,
    KronvexMemory,
    MemoryClosed,
    StoreError,
    with_memory,
)

from .conftest import EventLog, Faults
from .models import FakeModel
from .runs import ANA, Call, every_way, remembered, said, sync_and_async

Logged = Callable[[], list[str]]
EVENT = "kronvex_memory_degraded"
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Known: {memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)
ASKED = {"input": "tea or coffee?"}


@pytest.fixture
def config(event_log: EventLog) -> Any:
    """A config of Ana's chat that records custom events."""
    return {**ANA, "callbacks": [event_log]}


@sync_and_async
async def test_a_failed_recall_is_an_empty_context(
    tea_lover: KronvexMemory,
    faults: Faults,
    call: Call,
    config: Any,
    event_log: EventLog,
    warnings_logged: Logged,
) -> None:
    faults.fail("recall")
    model = FakeModel()

    output = await call(with_memory(PROMPT | model, tea_lover), ASKED, config)

    assert output.text == "Fine."
    assert model.shown == "system: Known: \nhuman: tea or coffee?"
    assert said(tea_lover) == ["human: tea or coffee?", "ai: Fine."]
    assert len(warnings_logged()) == 1
    assert "tea" not in warnings_logged()[0]
    assert [name for name, _ in event_log.events] == [EVENT]
    assert tea_lover.stats().degraded == 1


@sync_and_async
async def test_a_failed_load_is_an_empty_history(
    tea_lover: KronvexMemory,
    faults: Faults,
    call: Call,
    config: Any,
    event_log: EventLog,
    warnings_logged: Logged,
) -> None:
    model = FakeModel()
    chain = with_memory(PROMPT | model, tea_lover)
    chain.invoke({"input": "Hello"}, ANA)
    faults.fail("find", times=1)

    output = await call(chain, ASKED, config)

    assert output.text == "Fine."
    assert [m.type for m in model.prompts[-1]] == ["system", "human"]
    assert "Ana prefers tea." in model.shown
    assert said(tea_lover)[-2:] == ["human: tea or coffee?", "ai: Fine."]
    assert len(warnings_logged()) == 1
    assert [name for name, _ in event_log.events] == [EVENT]
    assert tea_lover.stats().degraded == 1


@pytest.fixture
def impatient(memory: KronvexMemory) -> None:
    """Make turns wait for the disk only briefly."""
    memory.engine.patience_seconds = 0.02


@every_way
@pytest.mark.usefixtures("impatient")
async def test_failed_saves_are_repeated_in_order(
    memory: KronvexMemory,
    faults: Faults,
    call: Call,
    config: Any,
    event_log: EventLog,
    warnings_logged: Logged,
) -> None:
    faults.fail("add")
    chain = with_memory(PROMPT | FakeModel(replies=["Fine.", "Good."]), memory)

    output = await call(chain, ASKED, config)
    assert output.text == "Fine."
    assert said(memory) == []
    assert [name for name, _ in event_log.events][:1] == [EVENT]
    assert memory.stats().degraded == 1
    assert len(warnings_logged()) == 1
    assert memory.stats().pending >= 1

    faults.heal()
    assert await memory.aflush(10)
    assert said(memory) == ["human: tea or coffee?", "ai: Fine."]
    assert remembered(memory) == ["User: tea or coffee?\nAssistant: Fine."]
    assert memory.stats().pending == 0
    assert memory.stats().failed == 0


@sync_and_async
async def test_an_answer_that_cannot_be_saved_is_reported_too(
    memory: KronvexMemory,
    faults: Faults,
    call: Call,
    config: Any,
    event_log: EventLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(prompt: Any) -> str:
        faults.fail("add")
        memory.engine.patience_seconds = 0.02
        return "Fine."

    await call(with_memory(PROMPT | FakeModel(replies=[answer]), memory), ASKED, config)

    assert [name for name, _ in event_log.events] == [EVENT]
    assert memory.stats().degraded == 1
    faults.heal()
    assert await memory.aflush(10)
    assert said(memory) == ["human: tea or coffee?", "ai: Fine."]


@sync_and_async
async def test_a_very_short_failure_is_not_reported(
    memory: KronvexMemory, faults: Faults, call: Call, warnings_logged: Logged
) -> None:
    faults.fail("add", times=1)

    await call(with_memory(FakeModel(), memory), "Hello")

    assert said(memory) == ["human: Hello", "ai: Fine."]
    assert memory.stats().degraded == 0
    assert warnings_logged() == []


@pytest.mark.usefixtures("impatient")
def test_turns_during_an_outage_are_saved_in_their_order_afterwards(
    memory: KronvexMemory, faults: Faults
) -> None:
    chain = with_memory(FakeModel(replies=["1", "2", "3"]), memory)
    faults.fail("add")

    for text in ("one", "two", "three"):
        chain.invoke(text, ANA)
    assert said(memory) == []
    faults.heal()
    assert memory.flush(10)

    assert said(memory) == [
        "human: one", "ai: 1", "human: two", "ai: 2", "human: three", "ai: 3",
    ]  # fmt: skip
    assert remembered(memory) == [
        "User: one\nAssistant: 1", "User: three\nAssistant: 3", "User: two\nAssistant: 2",
    ]  # fmt: skip


def test_a_failure_for_one_user_does_not_delay_the_others(
    memory: KronvexMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = memory.engine.backend.add

    def fails_for_ana(records: Any, *rest: Any) -> Any:
        if any(record.scope.user_id == "ana" for record in records):
            raise StoreError("her page is gone")
        return add(records, *rest)

    monkeypatch.setattr(memory.engine.backend, "add", fails_for_ana)
    chain = with_memory(FakeModel(), memory)

    memory.engine.patience_seconds = 0.02
    chain.invoke("Hello", ANA)
    memory.engine.patience_seconds = 1.0
    chain.invoke("Hello", {"configurable": {"user_id": "bob", "session_id": "chat"}})
    assert said(memory, "bob") == ["human: Hello", "ai: Fine."]

    monkeypatch.undo()
    memory.flush(10)
    assert said(memory, "ana") == ["human: Hello", "ai: Fine."]


@pytest.mark.usefixtures("impatient")
def test_a_store_that_hangs_does_not_hang_the_chat(
    memory: KronvexMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, freed = memory.engine.backend.add, threading.Event()

    def hang(*arguments: Any) -> Any:
        assert freed.wait(10)
        return add(*arguments)

    monkeypatch.setattr(memory.engine.backend, "add", hang)

    output = with_memory(FakeModel(), memory).invoke("Hello", ANA)
    freed.set()

    assert output.text == "Fine."
    assert memory.flush(10)
    assert said(memory) == ["human: Hello", "ai: Fine."]


@sync_and_async
@pytest.mark.usefixtures("impatient")
async def test_the_model_answers_even_if_everything_fails(
    memory: KronvexMemory,
    faults: Faults,
    call: Call,
    config: Any,
    event_log: EventLog,
    warnings_logged: Logged,
) -> None:
    for verb in ("find", "recall", "add"):
        faults.fail(verb)

    output = await call(with_memory(PROMPT | FakeModel(), memory), ASKED, config)

    assert output.text == "Fine."
    assert [name for name, _ in event_log.events] == [EVENT]
    assert len(warnings_logged()) == 1
    assert "tea" not in warnings_logged()[0]
    assert memory.stats().degraded == 1
    faults.heal()


@sync_and_async
async def test_a_closed_memory_is_a_mistake_of_the_program(
    memory: KronvexMemory, call: Call
) -> None:
    memory.close()
    model = FakeModel()

    with pytest.raises(MemoryClosed):
        await call(with_memory(PROMPT | model, memory), ASKED)

    assert model.prompts == []


@pytest.mark.parametrize("verb", ["find", "recall", "add"])
@sync_and_async
@pytest.mark.usefixtures("impatient")
async def test_on_error_raise_raises_before_the_model_runs(
    memory: KronvexMemory, faults: Faults, call: Call, verb: str
) -> None:
    faults.fail(verb)
    model = FakeModel()

    with pytest.raises(StoreError):
        await call(with_memory(PROMPT | model, memory, on_error="raise"), ASKED)

    assert model.prompts == []
    faults.heal()


@sync_and_async
async def test_an_invalid_id_always_raises(memory: KronvexMemory, call: Call) -> None:
    chain = with_memory(FakeModel(), memory)

    with pytest.raises(InvalidInput, match="user_id"):
        await call(chain, "Hello", {"configurable": {"user_id": " ", "session_id": "chat"}})


async def test_the_event_is_streamed(tea_lover: KronvexMemory, faults: Faults) -> None:
    faults.fail("recall")
    chain = with_memory(PROMPT | FakeModel(), tea_lover)

    events = [event async for event in chain.astream_events(ASKED, ANA, version="v2")]

    custom = [event["name"] for event in events if event["event"] == "on_custom_event"]
    assert custom == [EVENT]


def test_several_failures_of_one_turn_are_reported_once(
    tea_lover: KronvexMemory,
    faults: Faults,
    warnings_logged: Logged,
    config: Any,
    event_log: EventLog,
) -> None:
    faults.fail("find", times=1)
    faults.fail("recall", times=1)

    with_memory(PROMPT | FakeModel(), tea_lover).invoke(ASKED, config)

    assert len(warnings_logged()) == 1
    assert tea_lover.stats().degraded == 1
    assert [name for name, _ in event_log.events] == [EVENT]


def test_a_user_forgotten_while_the_model_thinks_stays_forgotten(memory: KronvexMemory) -> None:
    def forget(prompt: Any) -> str:
        memory.forget(user_id="ana")
        return "Fine."

    with_memory(FakeModel(replies=[forget]), memory).invoke("My secret is 42.", ANA)
    memory.flush()

    assert "secret" not in " ".join([*said(memory), *remembered(memory)])


def test_a_permanently_broken_store_is_reported_and_the_memory_closes(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = []
    memory = open_memory()
    memory.engine.patience_seconds = 0.02
    writer = BackgroundWriter(attempts=2, backoff_seconds=0.001, on_error=errors.append)
    monkeypatch.setattr(memory.engine, "writer", writer)

    def fail(*_: Any) -> Any:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(memory.engine.backend, "add", fail)
    with_memory(FakeModel(), memory).invoke([HumanMessage("Hello")], ANA)
    memory.flush(10)

    assert memory.stats().failed == 2
    assert "the disk is gone" in str(memory.stats().last_error)
    assert any("the disk is gone" in str(error) for error in errors)


def test_a_stored_message_that_cannot_be_read_is_not_quoted_in_the_log(
    memory: KronvexMemory, caplog: pytest.LogCaptureFixture
) -> None:
    memory.chat_history("chat", "ana").add_user_message("my secret word")
    unreadable = '{"type": "human", "data": {"content": {"my secret word": 1}}}'
    change = "UPDATE records SET content = ? WHERE kind = 'message'"
    file = memory.engine.backend.file  # type: ignore[attr-defined]
    file.in_transaction(lambda db: db.execute(change, (unreadable,)))

    assert with_memory(PROMPT | FakeModel(), memory).invoke(ASKED, ANA).text == "Fine."

    assert "cannot be read" in caplog.text  # and the rest of the history is shown
    assert "secret" not in caplog.text
    assert "secret" not in str(memory.stats().last_error)
