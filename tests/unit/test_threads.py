"""The threads of async verbs: context, cancellation, errors, bounds, forks and closing."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator

import pytest

from inside import Threads
from langchain_kronvex import KronvexMemory

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(2)
    yield made
    made.close()


async def test_context_variables_travel_with_the_call(threads: Threads) -> None:
    REQUEST.set("a")

    assert await threads.run(REQUEST.get) == "a"


async def test_errors_come_back_as_they_are(threads: Threads) -> None:
    def failing() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await threads.run(failing)


async def test_no_more_calls_run_at_once_than_allowed(threads: Threads) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(threads.run(call) for _ in range(8)))

    assert most == 2


async def test_a_call_whose_task_was_cancelled_runs_to_its_end(threads: Threads) -> None:
    release, done = threading.Event(), [threading.Event() for _ in range(4)]

    def save(number: int) -> None:
        release.wait(10)
        done[number].set()

    tasks = [asyncio.create_task(threads.run(save, number)) for number in range(4)]
    await asyncio.sleep(0)
    for task in tasks:  # two run, two still wait for a thread
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    release.set()
    threads.close()

    assert all(event.is_set() for event in done)
    assert all(task.cancelled() for task in tasks)


async def test_a_failure_of_a_cancelled_task_is_logged(
    threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def failing() -> None:
        release.wait(10)
        raise OSError("secret")

    task = asyncio.create_task(threads.run(failing))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with caplog.at_level(logging.WARNING, "langchain_kronvex"):
        release.set()
        threads.close()

    assert "OSError" in caplog.text
    assert "secret" not in caplog.text


def test_the_threads_serve_one_event_loop_after_another(threads: Threads) -> None:
    for number in range(3):
        assert asyncio.run(threads.run(lambda number=number: number)) == number


def test_a_loop_that_ends_early_disturbs_no_call(
    threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    release, done = threading.Event(), threading.Event()

    def save() -> None:
        release.wait(10)
        done.set()

    async def start() -> None:
        task = asyncio.ensure_future(threads.run(save))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(start())
    release.set()
    threads.close()

    assert done.is_set()
    assert not caplog.records


async def test_after_closing_the_verb_raises_its_own_error() -> None:
    memory = KronvexMemory("sqlite://")
    await memory.aremember("Ana prefers tea.")
    await memory.aclose()

    with pytest.raises(Exception, match="closed"):
        await memory.aremember("Ana prefers coffee.")


def test_the_number_of_threads_is_checked() -> None:
    with pytest.raises(ValueError, match="max_threads"):
        KronvexMemory("sqlite://", max_threads=0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_its_own_threads(threads: Threads) -> None:
    asyncio.run(threads.run(time.monotonic))
    child = multiprocessing.get_context("fork").Process(
        target=lambda: asyncio.run(asyncio.wait_for(threads.run(time.monotonic), 10))
    )
    child.start()
    child.join(20)

    assert child.exitcode == 0


def test_a_memory_without_references_is_closed(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/memory.db"

    async def save() -> None:
        await KronvexMemory(url).aremember("Ana prefers tea.", user_id="ana")

    asyncio.run(save())

    with KronvexMemory(url) as memory:
        assert len(memory.memories(user_id="ana")) == 1
