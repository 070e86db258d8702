"""Chains and agents wake a consolidator after each turn, and their turns stay the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from consolidation.models import TextModel
from langchain_kronvex import InvalidInput, KronvexMemory, NotSupported, with_memory
from langchain_kronvex.consolidation import KronvexConsolidator
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import AgentModel, agent_of, asking, config_of, sync_and_async
from .models import FakeModel, ModelDown
from .runs import ANA, every_way, remembered

SAID = "I live in Porto."
EXCHANGE = f"User: {SAID}\nAssistant: How nice!"
PORTO = '{"Fact": [{"text": "Ana lives in Porto.", "sources": [1]}]}'


class Woken:
    """Notes whom it was woken for, and what was remembered of them then."""

    def __init__(self, memory: KronvexMemory, error: Exception | None = None) -> None:
        self.memory, self.error = memory, error
        self.owners: list[str] = []
        self.remembered: list[list[str]] = []

    def wake(self, user_id: str) -> None:
        self.owners.append(user_id)
        self.remembered.append(remembered(self.memory, user_id))
        if self.error:
            raise self.error


def chain_with(memory: KronvexMemory, consolidator: Any, **model: Any) -> Any:
    model = {"replies": ["How nice!"], **model}
    return with_memory(FakeModel(**model), memory, consolidator=consolidator)


def agent_with(memory: KronvexMemory, consolidator: Any, *more: Any, **options: Any) -> Any:
    remembering: Any = KronvexMemoryMiddleware(memory=memory, consolidator=consolidator, **options)
    return create_agent(AgentModel(replies=["How nice!"]), middleware=[remembering, *more])


@every_way
async def test_a_chain_wakes_it_once_after_the_turn_is_saved(
    memory: KronvexMemory, call: Any
) -> None:
    woken = Woken(memory)

    await call(chain_with(memory, woken), SAID, ANA)

    assert woken.owners == ["ana"]
    assert woken.remembered == [[EXCHANGE]]


@sync_and_async
async def test_an_agent_wakes_it_once_after_the_turn_is_saved(
    memory: KronvexMemory, call: Any
) -> None:
    woken = Woken(memory)

    await call(agent_with(memory, woken), asking(SAID), config_of())

    assert woken.owners == ["ana"]
    assert woken.remembered == [[EXCHANGE]]


def test_what_is_derived_is_recalled_in_the_next_turn(memory: KronvexMemory) -> None:
    model = TextModel(answer=AIMessage(PORTO))
    consolidator = KronvexConsolidator(memory, model)
    talking = FakeModel(replies=["How nice!"])
    chain = with_memory(talking, memory, consolidator=consolidator)

    chain.invoke(SAID, ANA)
    assert consolidator.flush(20)
    other: Any = {"configurable": {"user_id": "ana", "session_id": "another day"}}
    chain.invoke("Where do I live?", other)

    consolidator.stop()
    assert "Ana lives in Porto." in talking.shown
    assert len(model.shown) == 1  # the second turn is still waiting


@pytest.mark.parametrize("on_error", ["degrade", "raise"])
def test_a_consolidator_that_fails_changes_no_turn(
    open_memory: Callable[..., KronvexMemory], on_error: Any
) -> None:
    told: list[Exception] = []
    memory = open_memory(on_error=told.append)
    woken = Woken(memory, RuntimeError("cannot start new thread"))
    model = FakeModel(replies=["How nice!"])
    chain = with_memory(model, memory, consolidator=woken, on_error=on_error)

    assert chain.invoke(SAID, ANA).text == "How nice!"
    agent = agent_with(memory, woken, on_error=on_error)
    agent.invoke(asking("I like tea."), config_of())

    assert remembered(memory, "ana") == ["User: I like tea.\nAssistant: How nice!", EXCHANGE]
    assert [str(error) for error in told] == ["cannot start new thread"] * 2
    assert memory.stats().degraded == 0
    assert memory.stats().failed == 2


def test_no_turn_waits_for_the_model(memory: KronvexMemory) -> None:
    begun, finish = threading.Event(), threading.Event()

    class SlowModel(TextModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            begun.set()
            finish.wait(20)
            return super()._generate(messages, *args, **kwargs)

    consolidator = KronvexConsolidator(memory, SlowModel(answer=AIMessage(PORTO)))
    consolidator.start(after_seconds=0)
    chain = chain_with(memory, consolidator)
    chain.invoke(SAID, ANA)
    assert begun.wait(10)

    assert chain.invoke("I like tea.", ANA).text == "How nice!"

    assert len(remembered(memory)) == 2  # nothing is derived yet
    finish.set()
    consolidator.stop()


def test_a_turn_without_an_answer_wakes_it(memory: KronvexMemory) -> None:
    woken = Woken(memory)
    broken = chain_with(memory, woken, replies=[ModelDown()])

    with pytest.raises(ModelDown):
        broken.invoke(SAID, ANA)

    assert woken.remembered == [[f"User: {SAID}"]]


def test_a_stream_that_is_closed_wakes_it(memory: KronvexMemory) -> None:
    woken = Woken(memory)

    stream = chain_with(memory, woken).stream(SAID, ANA)
    next(stream)
    stream.close()

    assert woken.remembered == [[f"User: {SAID}\nAssistant: How"]]


def test_an_agent_that_saves_nothing_does_not_wake_it(memory: KronvexMemory) -> None:
    woken = Woken(memory)

    agent_with(memory, woken, remember=False).invoke(asking(SAID), config_of())

    assert woken.owners == []


def test_each_user_is_woken_by_name(memory: KronvexMemory) -> None:
    woken = Woken(memory)
    chain = chain_with(memory, woken)

    for ids in ({"user_id": "ana", "session_id": "s"}, {"session_id": "ben"}):
        chain.invoke(SAID, {"configurable": ids})

    assert woken.owners == ["ana", "ben"]


@pytest.mark.parametrize("wrong", ["openai:gpt-4o-mini", 1, KronvexConsolidator], ids=repr)
def test_anything_else_than_a_consolidator_is_rejected(memory: KronvexMemory, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=r"KronvexConsolidator\(memory, model\)"):
        with_memory(RunnableLambda(str), memory, consolidator=wrong)
    with pytest.raises(InvalidInput, match=r"KronvexConsolidator\(memory, model\)"):
        KronvexMemoryMiddleware(memory=memory, consolidator=wrong)


def test_a_consolidator_of_another_memory_is_rejected(
    memory: KronvexMemory, open_memory: Callable[..., KronvexMemory]
) -> None:
    model = TextModel(answer=AIMessage("{}"))
    other = KronvexConsolidator(open_memory(agent_id="other"), model)

    with pytest.raises(InvalidInput, match="of the same memory"):
        with_memory(RunnableLambda(str), memory, consolidator=other)
    with pytest.raises(InvalidInput, match="of the same memory"):
        KronvexMemoryMiddleware(memory=memory, consolidator=other)


def test_memories_on_a_server_are_consolidated_there(tmp_path: Path) -> None:
    model = TextModel(answer=AIMessage("{}"))
    with KronvexMemory("http://127.0.0.1:9", outbox=tmp_path / "box.db") as remote:
        consolidator = KronvexConsolidator(remote, model)

        with pytest.raises(NotSupported, match="serve --consolidate"):
            with_memory(RunnableLambda(str), remote, consolidator=consolidator)
        with pytest.raises(NotSupported, match="serve --consolidate"):
            KronvexMemoryMiddleware(memory=remote, consolidator=consolidator)
        with pytest.raises(NotSupported, match="serve --consolidate"):
            consolidator.start()
        for given in ({"user_id": "ana"}, {"user_id": "ana", "dry_run": True}, {}):
            with pytest.raises(NotSupported, match="serve --consolidate"):
                consolidator.run(**given)
    assert not model.shown


def test_an_agent_without_one_is_as_before(memory: KronvexMemory) -> None:
    agent_of(AgentModel(replies=["How nice!"]), memory).invoke(asking(SAID), config_of())

    assert remembered(memory, "ana") == [EXCHANGE]
