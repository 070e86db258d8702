"""Turns: requests that compute go one by one, and nobody is held up by one that takes long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from langchain_kronvex.server.fair_queue import Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns(one_by_one=True)
    yield made
    made.close()


async def test_one_by_one_in_the_order_of_coming(turns: Turns) -> None:
    at_it: set[int] = set()
    order: list[int] = []

    def work(number: int) -> Callable[[], int]:
        def working() -> int:
            assert not at_it
            at_it.add(number)
            order.append(number)
            at_it.remove(number)
            return number

        return working

    found = await asyncio.gather(*(turns.run(work(number)) for number in range(50)))
    assert found == order == list(range(50))


async def test_who_takes_long_gives_up_the_turn(turns: Turns) -> None:
    came = threading.Event()
    waiting = asyncio.ensure_future(turns.run(lambda: came.wait(20)))
    await asyncio.sleep(0)
    await turns.run(came.set)
    assert await waiting


async def test_a_failure_ends_the_turn(turns: Turns) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await turns.run(fail)
    assert await turns.run(lambda: 1) == 1


async def test_who_is_cancelled_takes_no_turn(turns: Turns) -> None:
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        entered.set()
        leave.wait(20)

    running = asyncio.ensure_future(turns.run(first))
    await asyncio.get_running_loop().run_in_executor(None, entered.wait, 20)
    second = asyncio.ensure_future(turns.run(lambda: 2))
    third = asyncio.ensure_future(turns.run(lambda: 3))
    await asyncio.sleep(0)
    second.cancel()
    leave.set()
    assert await third == 3
    await running
    assert second.cancelled()


async def test_those_who_wait_for_others_go_side_by_side() -> None:
    turns = Turns(one_by_one=False)
    both = threading.Barrier(2)
    await asyncio.gather(*(turns.run(lambda: both.wait(20)) for _ in range(2)))
    turns.close()


def test_each_event_loop_has_turns_of_its_own(turns: Turns) -> None:
    async def some() -> list[int]:
        return await asyncio.gather(*(turns.run(lambda n=n: n) for n in range(9)))

    assert [asyncio.run(some()) for _ in range(3)] == [list(range(9))] * 3
