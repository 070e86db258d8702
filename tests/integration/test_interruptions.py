"""Wherever a signal ends a call, nothing is locked, half-written, or missing from recall."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory

from .interrupts import Interrupt, interrupted_at

Call = Callable[[KronvexMemory, KronvexMemory, int], Callable[[], Any]]


def remember(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    return lambda: memory.remember(f"maybe{number} was said", user_id="ana")


def remember_again(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    memory.remember("the same words", user_id="ana")
    return lambda: memory.remember("the same words", user_id="ana")


def save_exchange(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    return lambda: memory.save_exchange(
        f"What is maybe{number}?", "It is nothing.", user_id="ana", session_id="s"
    )


def recall_what_others_wrote(
    memory: KronvexMemory, other: KronvexMemory, number: int
) -> Callable[[], Any]:
    memory.recall("the first memory", user_id="ana")
    other.remember(f"other{number} came from elsewhere", user_id="ana")
    return lambda: memory.recall(f"other{number}", user_id="ana")


def recall_for_the_first_time(
    memory: KronvexMemory, other: KronvexMemory, number: int
) -> Callable[[], Any]:
    # Of one user's only memory, so that each recall has as many lines.
    known = other.memories(user_id="ben")
    stored = known[0] if known else other.remember("retyped", user_id="ben")
    other.update(stored.id, memory_type=("semantic", "procedural")[number % 2])  # read anew
    return lambda: memory.recall("retyped", user_id="ben")


def update(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    stored = memory.remember(f"changing{number}", user_id="ana")
    return lambda: memory.update(stored.id, pinned=True, metadata={"n": number})


def correct(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    stored = memory.remember(f"wrong{number}", user_id="ana")
    return lambda: memory.update(stored.id, content=f"right{number}")


def supersede(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    stored = memory.remember(f"former{number}", user_id="ana")
    return lambda: memory.remember(f"latter{number}", user_id="ana", supersedes=stored.id)


def forget(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    stored = memory.remember(f"leaving{number}", user_id="ana")
    return lambda: memory.forget(id=stored.id)


def add_messages(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    history = memory.chat_history("s", "ana")
    return lambda: history.add_messages([HumanMessage(f"maybe{number} again")])


def set_values(memory: KronvexMemory, _: KronvexMemory, number: int) -> Callable[[], Any]:
    values = KronvexKeyValueStore(memory, "values")
    return lambda: values.mset([("key", {"n": number})])


CALLS: list[Call] = [
    remember, remember_again, save_exchange, recall_what_others_wrote, recall_for_the_first_time,
    update, correct, supersede, forget, add_messages, set_values,
]  # fmt: skip


class Watched:
    """A store that is used after each interruption: here, in another thread, and from outside."""

    def __init__(self, path: Path) -> None:
        self.url, self._path = f"sqlite:///{path}", path
        self.memory, self.other = KronvexMemory(self.url), KronvexMemory(self.url)
        self.memory.remember("the first memory", user_id="ana")
        self.outside = sqlite3.connect(path, timeout=5, isolation_level=None)
        self._thread = ThreadPoolExecutor(1)

    def check(self, number: int) -> None:
        self.outside.execute("BEGIN IMMEDIATE")  # waits for background work at most
        self.outside.execute("ROLLBACK")
        texts = [f"here{number}", f"there{number}"]
        self.memory.remember(texts[0], user_id="ana")
        in_thread = self._thread.submit(self.memory.remember, texts[1], user_id="ana")
        in_thread.result(timeout=10)  # no lock is held by the thread that was interrupted
        for text in texts:
            assert self.first(self.memory, text) == text
        thread = self._thread.submit(self.first, self.memory, texts[0])
        assert thread.result(timeout=10) == texts[0]
        if number % 10 == 0:
            with KronvexMemory(self.url) as new:
                assert self.first(new, texts[1]) == texts[1]
            assert self.memory.flush(10)

    @staticmethod
    def first(memory: KronvexMemory, text: str) -> str:
        return memory.recall(text, user_id="ana", top_k=1)[0].content

    def close(self) -> None:
        self._thread.shutdown()
        self.outside.close()
        for memory in (self.memory, self.other):
            memory.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A store with one memory in it."""
    watched = Watched(tmp_path / "memory.db")
    yield watched
    watched.close()


def interrupt(watched: Watched, call: Call, step: int) -> int:
    """Interrupt a call at every `step`th of its lines; return how many lines it has."""
    held: BaseException | None = None  # as a notebook keeps the last traceback, with its frames
    for number in count(1, step):
        held = interrupted_at(number, call(watched.memory, watched.other, number))
        if held is None:
            return number - step
        watched.check(number)
    raise AssertionError


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_call_is_interrupted_at_some_lines(watched: Watched, call: Call) -> None:
    assert interrupt(watched, call, 211 if "recall" in call.__name__ else 47) > 40


def test_a_second_signal_may_leave_a_transaction_to_the_next_call(watched: Watched) -> None:
    file = watched.memory.engine.backend.file  # type: ignore[attr-defined]
    for use in ("reader", "writer"):
        file._connection(use).execute("BEGIN IMMEDIATE" if use == "writer" else "BEGIN")
    watched.memory.remember("the next call", user_id="ana")
    watched.check(1)


def run_under_time_limits(watched: Watched, rounds: int) -> None:
    """End calls by real signals, after times that are drawn anew."""
    draw, armed = random.Random(7), False

    def strike(*_: Any) -> None:
        if armed:
            raise Interrupt

    before = signal.signal(signal.SIGALRM, strike)
    try:
        for number in range(rounds):
            call = CALLS[number % len(CALLS)](watched.memory, watched.other, number)
            with contextlib.suppress(Interrupt):
                armed = True
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 4e-3))
                call()
                armed = False
            armed = False
            watched.check(number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# A signal may also strike in a weak reference of the standard library, which Python only reports.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_calls_are_ended_by_time_limits(watched: Watched) -> None:
    run_under_time_limits(watched, 50)


# A signal may also strike in a weak reference of the standard library, which Python only reports.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.soak
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_many_calls_are_ended_by_time_limits(watched: Watched) -> None:
    run_under_time_limits(watched, 3000)


@pytest.mark.soak
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_call_is_interrupted_at_every_line(watched: Watched, call: Call) -> None:
    assert interrupt(watched, call, step=1) > 40
