"""One memory in several event loops: its connections belong to no loop and end with the memory."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from pathlib import Path

import pytest

from contract.served import APIS
from langchain_kronvex import KronvexMemory


@pytest.fixture
def memory(tmp_path: Path) -> KronvexMemory:
    return KronvexMemory(APIS.url(tmp_path))


async def talk(memory: KronvexMemory, number: int) -> int:
    await memory.aremember(f"tea number {number}", user_id="ana")
    await memory.aflush()
    found = await asyncio.gather(*(memory.arecall("tea", user_id="ana") for _ in range(3)))
    return len(found[0])


def test_loops_one_after_the_other_leave_no_connection_open(memory: KronvexMemory) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        assert [asyncio.run(talk(memory, number)) for number in range(3)] == [1, 2, 3]
        gc.collect()
        memory.close()
        gc.collect()
    assert not [str(warning.message) for warning in told]


def test_a_loop_that_outlives_the_memory(memory: KronvexMemory) -> None:
    async def whole() -> None:
        assert await talk(memory, 0) == 1
        await memory.aclose()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(whole())
        gc.collect()
    assert not [str(warning.message) for warning in told]


def test_closed_from_outside_while_the_loop_runs(memory: KronvexMemory) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        assert asyncio.run_coroutine_threadsafe(talk(memory, 0), loop).result(30) == 1
        memory.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        gc.collect()
    assert not [str(warning.message) for warning in told]
