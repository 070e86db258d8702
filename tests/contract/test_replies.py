"""Answers are found too, as soon as and for as long as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from contract.drivers import Clock, Driver
from langchain_kronvex import with_memory

OpenDriver = Callable[..., Driver]
Way = Callable[[Driver], None]
ANA: Any = {"configurable": {"user_id": "ana", "session_id": "chat"}}
SAID, ANSWER = "What shall I cook tonight?", "Try a risotto with saffron."
OTHERS = [
    ("Which bike shall I buy?", "A light one."),
    ("How far is the moon?", "Very far."),
    ("Who painted this?", "Somebody."),
]


def chat_history(memory: Driver) -> None:
    history = memory.memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage(SAID)])
    memory.recall("saffron", user_id="ana")  # the index knows of the question by now
    history.add_messages([AIMessage(ANSWER)])


def chain(memory: Driver) -> None:
    template = ChatPromptTemplate.from_template("{input} {memory_context}")
    talking = with_memory(
        template | RunnableLambda(lambda _: ANSWER), memory.memory, history_messages_key=None
    )
    talking.invoke({"input": SAID}, ANA)


def in_pieces(memory: Driver) -> None:
    history = memory.memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage(SAID)])
    for piece in ("Try a", "risotto", "with saffron."):
        memory.recall("saffron risotto", user_id="ana")
        history.add_messages([AIMessage(piece)])


WAYS: dict[str, Way] = {
    "save_exchange": lambda memory: memory.save_exchange(SAID, ANSWER, user_id="ana"),
    "chat_history": chat_history,
    "with_memory": chain,
    "in pieces": in_pieces,
}


def first(memory: Driver, query: str, **options: Any) -> Any:
    return memory.recall(query, user_id="ana", top_k=1, order_by="similarity", **options)[0]


def fill(memory: Driver) -> None:
    for said, answer in OTHERS:
        memory.save_exchange(said, answer, user_id="ana")


@pytest.mark.parametrize("way", WAYS)
def test_an_exchange_is_found_by_its_answer(memory: Driver, way: str) -> None:
    fill(memory)
    WAYS[way](memory)
    for query in ("saffron", "Was there a risotto?", "What shall I cook?"):
        found = first(memory, query)
        assert found.content == f"User: {SAID}\nAssistant: {ANSWER}"
        assert found.similarity > 0.1
    assert len(memory.recall("saffron", user_id="ana", top_k=9)) == len(OTHERS) + 1


@pytest.mark.parametrize("way", WAYS)
def test_after_a_restart_too_with_the_same_scores(open_shared: OpenDriver, way: str) -> None:
    memory = open_shared()
    fill(memory)
    WAYS[way](memory)
    before = [first(memory, query) for query in ("saffron", "cook", "moon")]
    memory.close()
    again = [first(open_shared(), query) for query in ("saffron", "cook", "moon")]
    for one, other in zip(before, again, strict=True):
        assert one.content == other.content
        assert one.similarity == pytest.approx(other.similarity, abs=1e-6)
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_another_memory_of_the_store_finds_it_at_once(open_shared: OpenDriver) -> None:
    writer, reader = open_shared(), open_shared()
    fill(writer)
    history = writer.memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage(SAID)])
    unanswered = first(reader, SAID)
    assert unanswered.content == f"User: {SAID}"
    history.add_messages([AIMessage(ANSWER)])
    found = first(reader, "saffron")
    assert (found.id, found.content) == (unanswered.id, f"User: {SAID}\nAssistant: {ANSWER}")


def test_an_answer_that_goes_on_is_found_by_all_of_it(memory: Driver) -> None:
    fill(memory)
    last = memory.save_messages([HumanMessage(SAID)], "chat", user_id="ana")
    for part in ("Try a risotto.", "Add saffron.", "Serve it with parmesan."):
        last = memory.save_messages([AIMessage(part)], "chat", user_id="ana", reply_to=last)
        assert first(memory, part).id == last
    for query in ("risotto", "saffron", "parmesan", "cook"):
        assert first(memory, query).id == last


def test_an_answer_to_nothing_that_goes_on_is_found_by_all_of_it(memory: Driver) -> None:
    fill(memory)
    last = None
    for part in ("Try a risotto.", "Add saffron.", "Serve it with parmesan."):
        last = memory.save_messages([AIMessage(part)], "chat", user_id="ana", reply_to=last)
        assert first(memory, part).id == last
    for query in ("risotto", "saffron", "parmesan"):
        found = first(memory, query)
        assert (found.id, found.similarity > 0.1) == (last, True)


def test_answers_belong_to_their_user(memory: Driver) -> None:
    for way in WAYS.values():
        way(memory)
    memory.save_exchange("What now?", "Nothing.", user_id="bob")
    assert [each.content for each in memory.recall("saffron", user_id="bob")] == [
        "User: What now?\nAssistant: Nothing."
    ]
    assert memory.recall("saffron", user_id="bob")[0].similarity < 0.1
    assert memory.recall("saffron") == []


def test_an_answer_that_is_forgotten_or_expired_finds_nothing(memory: Driver, clock: Clock) -> None:
    fill(memory)
    memory.save_exchange("Oh?", "Saffron from Iran.", user_id="ana", ttl_days=1)
    chat_history(memory)
    clock.advance(days=2)
    found = memory.recall("saffron Iran", user_id="ana", top_k=9, order_by="similarity")
    assert found[0].content.startswith(f"User: {SAID}")
    assert not any("Iran" in each.content for each in found)
    memory.forget(id=found[0].id)
    assert first(memory, "saffron").similarity < 0.1


def test_words_deep_in_a_very_long_answer_are_found(memory: Driver) -> None:
    fill(memory)
    long = "and so on " * 1500 + "saffron"
    memory.save_exchange(SAID, long, user_id="ana")
    assert first(memory, "saffron").content.startswith(f"User: {SAID}")
    huge = "x" * 1_048_000
    memory.save_exchange(huge, f"quince {huge}", user_id="ana")
    assert len(memory.recall("quince", user_id="ana", top_k=99)) == len(OTHERS) + 3
