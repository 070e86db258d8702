"""`max_messages`: the last whole turns, so that no tool message loses its call."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call

from langchain_kronvex import KronvexChatMessageHistory, KronvexMemory


def of_session(memory: KronvexMemory, max_messages: int | None = None) -> KronvexChatMessageHistory:
    return KronvexChatMessageHistory(
        "chat", memory=memory, max_messages=max_messages, remember=False
    )


def a_turn(name: str, tool_calls: int) -> list[BaseMessage]:
    """A question, `tool_calls` rounds of a tool, and the answer."""
    rounds: list[BaseMessage] = []
    for number in range(tool_calls):
        id_ = f"{name}-{number}"
        rounds.append(AIMessage("", tool_calls=[tool_call(name="search", args={}, id=id_)]))
        rounds.append(ToolMessage("found", tool_call_id=id_))
    return [HumanMessage(f"ask {name}"), *rounds, AIMessage(f"answer {name}")]


def expected(turns: list[list[BaseMessage]], limit: int) -> list[BaseMessage]:
    """The expected window: whole turns from the end that fit, and always the last one."""
    kept: list[BaseMessage] = []
    for number, turn in enumerate(reversed(turns)):
        if number and len(kept) + len(turn) > limit:
            break
        kept = [*turn, *kept]
    return kept


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(st.integers(0, 4), max_size=8), limit=st.integers(1, 30))
def test_only_whole_turns_are_read(memory: KronvexMemory, rounds: list[int], limit: int) -> None:
    of_session(memory).clear()
    turns = [a_turn(str(number), calls) for number, calls in enumerate(rounds)]
    of_session(memory).add_messages([message for turn in turns for message in turn])

    read = of_session(memory, limit).messages

    assert read == expected(turns, limit)
    called = {call["id"] for m in read if isinstance(m, AIMessage) for call in m.tool_calls}
    assert {m.tool_call_id for m in read if isinstance(m, ToolMessage)} == called


def test_all_messages_are_kept_in_the_store(memory: KronvexMemory) -> None:
    limited = of_session(memory, 2)
    for number in range(4):
        limited.add_messages(a_turn(str(number), 0))

    assert len(limited.messages) == 2
    assert len(of_session(memory).messages) == 8


def test_a_last_turn_longer_than_the_limit_is_returned_whole(memory: KronvexMemory) -> None:
    of_session(memory).add_messages([*a_turn("old", 0), *a_turn("long", 20)])

    assert of_session(memory, 3).messages == a_turn("long", 20)


def test_a_turn_that_just_fits_is_returned(memory: KronvexMemory) -> None:
    of_session(memory).add_messages([*a_turn("a", 0), *a_turn("b", 1), *a_turn("c", 0)])

    assert of_session(memory, 6).messages == [*a_turn("b", 1), *a_turn("c", 0)]
    assert of_session(memory, 5).messages == a_turn("c", 0)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_session_without_questions_is_cut_anywhere(memory: KronvexMemory, limit: int) -> None:
    said = [AIMessage(f"line {number}") for number in range(5)]
    of_session(memory).add_messages(said)

    assert of_session(memory, limit).messages == said[-limit:]


def test_a_system_message_before_the_first_turn_counts_as_a_message(memory: KronvexMemory) -> None:
    of_session(memory).add_messages([SystemMessage("Be brief."), *a_turn("a", 0)])

    assert of_session(memory, 3).messages == [SystemMessage("Be brief."), *a_turn("a", 0)]
    assert of_session(memory, 2).messages == a_turn("a", 0)


async def test_the_async_version_reads_the_same_window(memory: KronvexMemory) -> None:
    of_session(memory).add_messages([*a_turn("a", 2), *a_turn("b", 2)])

    assert await of_session(memory, 7).aget_messages() == a_turn("b", 2)
