"""What a turn said is in the index before the next recall, which then does not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from contract.conftest import BACKENDS
from contract.drivers import Driver
from inside import IndexRow, ScopeIndex

OpenDriver = Callable[..., Driver]
Apply = Callable[[ScopeIndex, Iterable[IndexRow]], None]
LOCAL = [backend for backend in BACKENDS if backend.name in ("sqlite-file", "postgres")]
pytestmark = pytest.mark.parametrize("backend", LOCAL, indirect=True, ids=lambda each: each.name)


@pytest.fixture
def taken_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that indexes take in, from now on."""
    texts: list[str] = []
    apply: Apply = ScopeIndex.apply

    def noting(index: ScopeIndex, rows: Iterable[IndexRow]) -> None:
        rows = list(rows)
        texts.extend(row.text for row in rows)
        apply(index, rows)

    monkeypatch.setattr(ScopeIndex, "apply", noting)
    return texts


def talk(memory: Driver, said: str, answer: str) -> None:
    memory.memory.chat_history("chat", "ana").add_messages([HumanMessage(said), AIMessage(answer)])


def found(memory: Driver, query: str) -> list[str]:
    return [m.content for m in memory.recall(query, user_id="ana", order_by="similarity")]


def test_the_next_recall_finds_the_turn_in_the_index(memory: Driver, taken_in: list[str]) -> None:
    memory.remember("The boiler is in the cellar.", user_id="ana")
    found(memory, "boiler")
    taken_in.clear()
    talk(memory, "I keep bees.", "How many hives?")
    memory.flush()
    assert taken_in == ["I keep bees."]
    assert found(memory, "bees hives")[0] == "User: I keep bees.\nAssistant: How many hives?"
    assert taken_in == ["I keep bees."]


def test_no_index_is_made_for_users_who_recall_nothing(memory: Driver, taken_in: list[str]) -> None:
    talk(memory, "I keep bees.", "How many hives?")
    memory.flush()
    assert taken_in == []
    assert len(found(memory, "bees")) == 1


def test_what_was_forgotten_meanwhile_is_not_taken_in(memory: Driver, taken_in: list[str]) -> None:
    memory.remember("The boiler is in the cellar.", user_id="ana")
    found(memory, "boiler")
    talk(memory, "I keep bees.", "How many hives?")
    memory.forget(user_id="ana", session_id="chat")
    taken_in.clear()
    memory.flush()
    assert taken_in == []
    assert found(memory, "bees") == ["The boiler is in the cellar."]


def test_a_failure_is_left_to_the_next_recall(
    memory: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.remember("The boiler is in the cellar.", user_id="ana")
    found(memory, "boiler")

    def fail(index: ScopeIndex, rows: Any) -> None:
        raise RuntimeError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(ScopeIndex, "apply", fail)
        talk(memory, "I keep bees.", "How many hives?")
        assert memory.flush()
    assert memory.stats().failed == 0
    assert found(memory, "bees hives")[0] == "User: I keep bees.\nAssistant: How many hives?"
