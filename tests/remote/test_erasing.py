"""When two clients erase a memory at the same time, one of them counts it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from .bad_server import FaultyServer, reset, status
from .conftest import Open
from .plain_server import Call, PlainServer


class Together(PlainServer):
    """Carries out deletions only when two are under way."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)
        super().__init__()

    def intercept(self, call: Call, handler: BaseHTTPRequestHandler) -> bool:
        if call.method == "DELETE":
            self.barrier.wait(10)
        return False


def test_of_two_who_erase_one_memory_one_counts_it(open_on: Open) -> None:
    with Together() as server:
        memories = [open_on(server), open_on(server)]
        kept = memories[0].remember("tea", user_id="ana")
        assert memories[0].flush(10)
        with ThreadPoolExecutor(2) as pool:
            counts = list(pool.map(lambda memory: memory.forget(id=kept.id), memories))

        assert sorted(counts) == [0, 1]
        assert server.all_items() == []
        for memory in memories:
            memory.close()


def test_of_two_who_take_back_what_waits_one_counts_it(plain: PlainServer, open_on: Open) -> None:
    memories: list[Any] = [open_on(plain), open_on(plain)]
    for memory in memories:
        memory.engine.backend.sender.stop()
    kept = memories[0].remember("tea", user_id="ana")
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda memory: memory.forget(id=kept.id), memories))

    assert sorted(counts) == [0, 1]
    assert memories[0].engine.backend.agent.outbox.waiting() == []


@pytest.mark.parametrize("fault", [reset, status(503)])
def test_what_was_erased_counts_although_the_answer_was_lost(
    faulty: FaultyServer, open_on: Open, fault: Any
) -> None:
    memory = open_on(faulty)
    kept = memory.remember("tea", user_id="ana")
    assert memory.flush(10)
    faulty.only = faulty.all_items()[0].id
    faulty.late_faults.append(fault)

    assert memory.forget(id=kept.id) == 1
    assert faulty.all_items() == []
