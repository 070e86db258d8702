"""Texts that were said repeatedly are one hit, and a rare word is found among its fragments."""

from __future__ import annotations

from typing import Any

import pytest

from contract.drivers import Driver

LONG = " ".join(f"Then we talked about the garden and bus number {n}." for n in range(60))


def fill(memory: Driver, sessions: int = 3) -> None:
    """Short exchanges whose words are fragments of the words asked for."""
    for session in range(sessions):
        for number in range(8):
            scope = {"user_id": "ana", "session_id": f"s{session}"}
            memory.save_exchange(f"h{number}", f"a{number}", **scope)
    assert memory.flush(30)


def recalled(memory: Driver, query: str, **options: Any) -> list[str]:
    found = memory.recall(query, user_id="ana", order_by="similarity", **options)
    return [memory.content for memory in found]


def test_equal_texts_are_one_hit_and_there_are_as_many_as_were_asked_for(memory: Driver) -> None:
    fill(memory)
    for top_k in (1, 3, 5):
        found = recalled(memory, "h0", top_k=top_k)
        assert found[0] == "User: h0\nAssistant: a0"
        assert len(found) == len(set(found)) == top_k


def test_all_different_texts_are_found_behind_many_equal_ones(memory: Driver) -> None:
    for session in range(30):
        memory.remember("tea with milk", user_id="ana", session_id=f"s{session}")
    memory.remember("tea and a long walk to the sea", user_id="ana")
    assert memory.flush(30)
    assert len(recalled(memory, "tea with milk", top_k=2)) == 2
    assert len(recalled(memory, "tea with milk", top_k=5)) == 2
    assert memory.recall("tea with milk", user_id="ana", session_id="s7")[0].session_id == "s7"
    assert len(memory.memories(user_id="ana", limit=99)) == 31


def test_equal_texts_of_a_user_and_of_the_agent_are_one_hit(memory: Driver) -> None:
    memory.remember("tea with milk", user_id="ana")
    memory.remember("tea with milk")
    memory.remember("tea with milk", user_id="bob")
    assert memory.flush(30)
    assert recalled(memory, "tea", include_shared=True) == ["tea with milk"]
    assert recalled(memory, "tea") == ["tea with milk"]


RARE: dict[str, dict[str, Any]] = {
    "a turn": {"content": "The code is q2x0."},
    "a long turn": {"content": f"{LONG} q2x0 {LONG}"},
    "a long fact": {"content": f"{LONG} q2x0 {LONG}", "memory_type": "fact"},
}


@pytest.mark.parametrize("given", RARE.values(), ids=RARE)
def test_a_rare_word_outranks_its_fragments(memory: Driver, given: dict[str, Any]) -> None:
    fill(memory)
    memory.remember(user_id="ana", **given)
    assert memory.flush(30)
    for query in ("q2x0", "What is q2x0?", "Q2X0"):
        assert "q2x0" in recalled(memory, query)[0]


@pytest.mark.parametrize("answer", ["It is q2x0.", f"{LONG} q2x0", "q2x0"])
def test_a_rare_word_of_an_answer_outranks_its_fragments(memory: Driver, answer: str) -> None:
    fill(memory)
    memory.save_exchange("What is my code?", answer, user_id="ana")
    assert memory.flush(30)
    assert "q2x0" in recalled(memory, "q2x0")[0]
    assert recalled(memory, "h0")[0] == "User: h0\nAssistant: a0"
