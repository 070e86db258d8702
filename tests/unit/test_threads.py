"""The threads of async verbs: context, cancellation, errors, bounds, forks and closing."""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from inside import Threads
from langchain_kronvex import ConfigurationError, KronvexError, KronvexMemory, MemoryDraft

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
        end = time.monotonic() + 10
        while not caplog.text and time.monotonic() < end:  # it is logged after the call has ended
            await asyncio.sleep(0.005)

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


async def test_a_read_that_nobody_awaits_any_more_is_dropped(threads: Threads) -> None:
    release, ran = threading.Event(), []
    running = [asyncio.create_task(threads.read(release.wait, 10)) for _ in range(2)]
    waiting = asyncio.create_task(threads.read(ran.append, "read"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    release.set()
    await asyncio.gather(*running)
    await threads.read(ran.append, "later")

    assert ran == ["later"]


async def test_saves_do_not_wait_for_reads(threads: Threads) -> None:
    release = threading.Event()
    reads = [asyncio.create_task(threads.read(release.wait, 10)) for _ in range(9)]

    assert await asyncio.wait_for(threads.run(lambda: "saved"), 5) == "saved"
    release.set()
    await asyncio.gather(*reads)


async def test_a_call_within_a_call_never_waits_for_its_own_pool() -> None:
    one = Threads(1)

    def outer() -> str:
        return asyncio.run(one.run(lambda: "inner"))

    assert await asyncio.wait_for(one.run(outer), 10) == "inner"
    one.close()


async def test_closing_waits_no_longer_than_allowed(
    threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    task = asyncio.create_task(threads.run(release.wait, 10))
    await asyncio.sleep(0)

    threads.close(timeout=0.05)

    assert "1 async calls" in caplog.text
    release.set()
    assert await task


async def test_a_save_waits_for_those_handed_over_before(threads: Threads) -> None:
    release, order = threading.Event(), []

    def save() -> None:
        release.wait(10)
        order.append("save")

    def forget() -> None:
        threads.wait_for_saves(10)
        order.append("forget")

    tasks = [asyncio.create_task(threads.run(call)) for call in (save, forget)]
    await asyncio.sleep(0.05)
    release.set()
    await asyncio.gather(*tasks)

    assert order == ["save", "forget"]


async def test_a_save_that_timed_out_does_not_outlive_a_later_forget(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with KronvexMemory(store_url, max_threads=4) as memory:
        release, add = threading.Event(), memory.engine.backend.add

        def slow(*arguments: Any) -> Any:
            release.wait(10)
            return add(*arguments)

        monkeypatch.setattr(memory.engine.backend, "add", slow)
        saves = [memory.aremember(f"secret {n}", user_id="ana") for n in range(12)]
        await asyncio.gather(
            *(asyncio.wait_for(save, 0.01) for save in saves), return_exceptions=True
        )
        forgetting = asyncio.create_task(memory.aforget(user_id="ana"))
        await asyncio.sleep(0.05)
        release.set()
        await forgetting

        memory.engine.threads.wait_for_saves(10)
        assert await memory.amemories(user_id="ana") == []


async def test_closing_ends_long_work_at_its_next_step(store_url: str) -> None:
    memory = KronvexMemory(store_url)
    await memory.aremember_many([MemoryDraft(f"tea {n}", user_id="ana") for n in range(3000)])
    begun, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def progress(done: int, total: int) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(10)

    export = asyncio.create_task(memory.aexport(io.StringIO(), progress=progress))
    await begun.wait()
    closing = asyncio.create_task(memory.aclose())
    await asyncio.sleep(0.05)
    release.set()
    await closing

    with pytest.raises(KronvexError):
        await export


def test_the_number_of_threads_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="max_threads"):
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
