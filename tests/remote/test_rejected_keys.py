"""A rejected API key is reported by the first call that needs it, whatever the call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory, MemoryDraft, Unauthorized

from .bad_server import FaultyServer, status
from .conftest import Open
from .plain_server import PlainServer

WRONG = "kv-wrong"

FIRST_CALLS: dict[str, Callable[[KronvexMemory], Any]] = {
    "remember": lambda memory: memory.remember("tea", user_id="ana"),
    "remember_many": lambda memory: memory.remember_many([MemoryDraft("tea", user_id="ana")]),
    "save_exchange": lambda memory: memory.save_exchange("tea?", "Yes.", user_id="ana"),
    "add_messages": lambda memory: memory.chat_history("monday", "ana").add_messages(
        [HumanMessage("tea")]
    ),
    "mset": lambda memory: KronvexKeyValueStore(memory, "settings").mset([("k", 1)]),
    "recall": lambda memory: memory.recall("tea", user_id="ana"),
}


@pytest.mark.parametrize("call", FIRST_CALLS.values(), ids=FIRST_CALLS.keys())
def test_the_first_call_says_so(
    plain: PlainServer, open_on: Open, call: Callable[[KronvexMemory], Any]
) -> None:
    memory = open_on(plain, api_key=WRONG)

    for _ in range(2):
        with pytest.raises(Unauthorized, match="KRONVEX_API_KEY"):
            call(memory)
    assert plain.all_items() == []


def test_nothing_is_kept_of_what_was_rejected(plain: PlainServer, open_on: Open) -> None:
    memory = open_on(plain, api_key=WRONG)

    with pytest.raises(Unauthorized):
        memory.remember("tea", user_id="ana")
    with pytest.raises(Unauthorized):
        memory.chat_history("monday", "ana").add_messages([HumanMessage("tea")])
    memory.close()
    assert open_on(plain, api_key=WRONG).stats().pending == 0


def test_a_good_key_is_asked_about_once(plain: PlainServer, open_on: Open) -> None:
    memory = open_on(plain)

    for number in range(3):
        memory.chat_history("monday", "ana").add_messages([HumanMessage(f"tea {number}")])
    assert memory.flush(10)
    assert plain.count("GET", "/agents") <= 1


def test_without_the_server_the_write_waits(faulty: FaultyServer, open_on: Open) -> None:
    faulty.faults.extend([status(503)] * 1000)
    memory = open_on(faulty)

    memory.remember("tea", user_id="ana")
    faulty.faults.clear()
    assert memory.flush(20)
    assert len(faulty.all_items()) == 1


def test_a_key_that_is_revoked_later_is_reported_too(faulty: FaultyServer, open_on: Open) -> None:
    memory = open_on(faulty)
    memory.remember("tea", user_id="ana")
    assert memory.flush(10)
    faulty.faults.extend([status(401)] * 1000)

    def write_on() -> None:
        for number in range(1000):
            memory.remember(f"tea {number}", user_id="ana")
            memory.flush(0.05)

    with pytest.raises(Unauthorized):
        write_on()
    faulty.faults.clear()


def test_outside_a_chat_the_log_speaks_of_no_chat(
    faulty: FaultyServer, open_on: Open, caplog: pytest.LogCaptureFixture
) -> None:
    memory = open_on(faulty)
    faulty.only = "/remember"
    faulty.faults.append(status(422))
    with caplog.at_level(logging.WARNING, "langchain_kronvex"):
        memory.remember("tea", user_id="ana")
        assert memory.flush(10)
    lines = [record.getMessage() for record in caplog.records]
    assert any("HTTP 422" in line for line in lines)
    assert not any("chat" in line for line in lines)
