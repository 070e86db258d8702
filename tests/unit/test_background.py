"""The background writer: in order, tried again, bounded, and without loss."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from langchain_kronvex import BackgroundWriter, InvalidInput, MemoryClosed

LONG = 30.0


class Gate:
    """A job that reports its start and waits until it may end."""

    def __init__(self, log: list[str] | None = None, name: str = "gate") -> None:
        self.started, self.go = threading.Event(), threading.Event()
        self.log = log if log is not None else []
        self.name = name

    def __call__(self) -> None:
        self.started.set()
        assert self.go.wait(LONG)
        self.log.append(self.name)


OpenWriter = Callable[..., BackgroundWriter]


@pytest.fixture
def open_writer() -> Iterator[OpenWriter]:
    opened: list[BackgroundWriter] = []

    def open_(**options: object) -> BackgroundWriter:
        opened.append(BackgroundWriter(**{"backoff_seconds": 0.001, **options}))
        return opened[-1]

    yield open_
    for writer in opened:
        writer.close(LONG)


@pytest.fixture
def writer(open_writer: OpenWriter) -> BackgroundWriter:
    return open_writer()


def busy(writer: BackgroundWriter, log: list[str] | None = None) -> Gate:
    """Keep the writer's thread busy with a gate."""
    gate = Gate(log)
    writer.submit("busy", gate)
    assert gate.started.wait(LONG)
    return gate


def test_jobs_of_a_lane_run_in_order(writer: BackgroundWriter) -> None:
    done: list[int] = []
    for n in range(500):
        writer.submit("lane", lambda n=n: done.append(n))
    assert writer.flush(LONG)
    assert done == list(range(500))
    assert writer.pending == 0


def test_a_future_is_done_when_its_job_is(writer: BackgroundWriter) -> None:
    gate = Gate()
    future = writer.submit("lane", gate)
    assert gate.started.wait(LONG)
    assert not future.done()
    assert writer.pending == 1
    gate.go.set()
    assert future.result(LONG) is None
    assert writer.flush(LONG)


def test_a_thread_that_seems_dead_does_its_job_to_the_end_and_goes(
    writer: BackgroundWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    gate = Gate(log)
    others = set(threading.enumerate())
    writer.submit("lane", gate)
    assert gate.started.wait(LONG)
    (first,) = set(threading.enumerate()) - others
    monkeypatch.setattr(first, "is_alive", lambda: False)  # as after a signal in that method
    writer.submit("other", lambda: log.append("other")).result(LONG)
    writer.submit("lane", lambda: log.append("next"))
    gate.go.set()
    assert writer.flush(LONG)
    monkeypatch.undo()
    first.join(LONG)
    assert not first.is_alive()
    assert log == ["other", "gate", "next"]


def test_all_jobs_run_in_one_thread_that_is_not_the_callers(writer: BackgroundWriter) -> None:
    idents: set[int] = set()
    for lane in range(20):
        writer.submit(lane, lambda: idents.add(threading.get_ident()))
    assert writer.flush(LONG)
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_a_failing_job_is_tried_again_before_the_next_of_its_lane(
    writer: BackgroundWriter,
) -> None:
    done: list[str] = []
    tries = iter([True, True, True, False])

    def flaky() -> None:
        done.append("try")
        if next(tries):
            raise OSError("not yet")

    first = writer.submit("lane", flaky)
    writer.submit("lane", lambda: done.append("after"))
    assert writer.flush(LONG)
    assert done == ["try", "try", "try", "try", "after"]
    assert first.result(LONG) is None
    assert (writer.failed, writer.last_error) == (0, None)


def test_other_lanes_go_on_while_one_waits_to_try_again(open_writer: OpenWriter) -> None:
    writer = open_writer(backoff_seconds=5.0)
    failed, other = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("down")

    writer.submit("bad", fail)
    assert failed.wait(LONG)
    started = time.monotonic()
    writer.submit("good", other.set)
    assert other.wait(LONG)
    assert time.monotonic() - started < 2
    assert writer.pending == 1
    assert writer.discard(lambda lane: lane == "bad") == 1


def test_pauses_grow_up_to_a_bound(open_writer: OpenWriter) -> None:
    writer = open_writer(backoff_seconds=0.02, longest_pause_seconds=0.06, attempts=5)
    moments: list[float] = []

    def fail() -> None:
        moments.append(time.monotonic())
        raise OSError("down")

    writer.submit("lane", fail)
    assert writer.flush(LONG)
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(pauses) == 4
    assert pauses[0] >= 0.02
    assert pauses[1] >= 0.04
    assert all(0.06 <= pause < 1.0 for pause in pauses[2:])


def test_a_job_given_up_is_counted_logged_and_reported(
    open_writer: OpenWriter, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Exception] = []
    writer = open_writer(attempts=3, on_error=reported.append)
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise OSError("disk is full")

    after: list[int] = []
    with caplog.at_level(logging.ERROR, "langchain_kronvex"):
        future = writer.submit("lane", fail)
        writer.submit("lane", lambda: after.append(1))
        assert writer.flush(LONG)
    assert len(tries) == 3
    assert after == [1]
    assert isinstance(future.exception(LONG), OSError)
    assert writer.failed == 1
    assert writer.last_error == "OSError: disk is full"
    assert [str(error) for error in reported] == ["disk is full"]
    assert "disk is full" in caplog.text


def test_an_error_in_on_error_stops_nothing(open_writer: OpenWriter) -> None:
    def on_error(error: Exception) -> None:
        raise RuntimeError("worse")

    writer = open_writer(attempts=1, on_error=on_error)
    writer.submit("lane", lambda: 1 / 0)
    done = threading.Event()
    writer.submit("lane", done.set)
    assert writer.flush(LONG)
    assert done.is_set()
    assert writer.failed == 1


def test_invalid_input_is_not_tried_again(open_writer: OpenWriter) -> None:
    reported: list[Exception] = []
    writer = open_writer(attempts=8, on_error=reported.append)
    tries: list[int] = []

    def refuse() -> None:
        tries.append(1)
        raise InvalidInput("never")

    future = writer.submit("lane", refuse)
    assert writer.flush(LONG)
    assert len(tries) == len(reported) == 1
    assert isinstance(future.exception(LONG), InvalidInput)


def test_a_full_queue_makes_callers_wait_and_drops_nothing(open_writer: OpenWriter) -> None:
    writer = open_writer(max_pending=3)
    done: list[str] = []
    gate = busy(writer, done)
    writer.submit("lane", lambda: done.append("1"))
    writer.submit("lane", lambda: done.append("2"))
    entered, submitted = threading.Event(), threading.Event()

    def submit_one_more() -> None:
        entered.set()
        writer.submit("lane", lambda: done.append("3"))
        submitted.set()

    caller = threading.Thread(target=submit_one_more)
    caller.start()
    assert entered.wait(LONG)
    assert not submitted.wait(0.1)
    assert writer.pending == 3
    gate.go.set()
    assert submitted.wait(LONG)
    caller.join(LONG)
    assert writer.flush(LONG)
    assert done == ["gate", "1", "2", "3"]


def test_many_threads_lose_nothing(open_writer: OpenWriter) -> None:
    writer = open_writer(max_pending=5)
    done: dict[int, list[int]] = {lane: [] for lane in range(8)}

    def submit(lane: int) -> None:
        for n in range(100):
            writer.submit(lane, lambda n=n: done[lane].append(n))

    threads = [threading.Thread(target=submit, args=(lane,)) for lane in done]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert writer.flush(LONG)
    assert done == {lane: list(range(100)) for lane in done}


def test_flush_gives_up_when_its_time_is_over(writer: BackgroundWriter) -> None:
    gate = busy(writer)
    assert writer.flush(0.02) is False
    assert writer.flush(0) is False
    gate.go.set()
    assert writer.flush(LONG) is True
    assert writer.flush(0) is True


def test_once_joins_a_waiting_job_but_not_a_running_one(writer: BackgroundWriter) -> None:
    runs: list[str] = []
    gate = busy(writer, runs)
    one = writer.submit("lane", lambda: runs.append("one"), once=True)
    two = writer.submit("lane", lambda: runs.append("two"), once=True)
    assert one is two
    running = writer.submit("busy", lambda: runs.append("again"), once=True)
    joined = writer.submit("busy", lambda: runs.append("never"), once=True)
    assert running is joined
    gate.go.set()
    assert writer.flush(LONG)
    assert sorted(runs) == ["again", "gate", "one"]


def test_a_delay_gathers_work_until_flush_ends_it(writer: BackgroundWriter) -> None:
    done = threading.Event()
    writer.submit("lane", done.set, delay_seconds=1000.0)
    assert not done.wait(0.05)
    assert writer.pending == 1
    assert writer.flush(LONG)
    assert done.is_set()


def test_a_delay_ends_by_itself(writer: BackgroundWriter) -> None:
    done = threading.Event()
    started = time.monotonic()
    writer.submit("lane", done.set, delay_seconds=0.05)
    assert done.wait(LONG)
    assert time.monotonic() - started >= 0.05


def test_a_delay_begins_after_the_job_that_runs(writer: BackgroundWriter) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)

    first = writer.submit("lane", work)
    assert begun.wait(30)
    writer.submit("lane", done.set, once=True, delay_seconds=3600)
    go_on.set()
    first.result(timeout=30)
    writer.submit("other", lambda: None).result(timeout=30)

    assert not done.is_set()
    assert writer.pending == 1
    assert writer.flush(30)
    assert done.is_set()


def test_a_delay_does_not_delay_other_lanes(writer: BackgroundWriter) -> None:
    done = threading.Event()
    writer.submit("late", lambda: None, delay_seconds=1000.0)
    writer.submit("now", done.set)
    assert done.wait(LONG)
    assert writer.pending == 1


def test_discard_removes_the_waiting_jobs_of_the_chosen_lanes(writer: BackgroundWriter) -> None:
    done: list[str] = []
    gate = busy(writer, done)
    dropped = [writer.submit("a", lambda: done.append("a")) for _ in range(3)]
    kept = writer.submit("b", lambda: done.append("b"))
    assert writer.discard(lambda lane: lane == "a") == 3
    assert all(future.cancelled() for future in dropped)
    assert writer.pending == 2
    gate.go.set()
    assert writer.flush(LONG)
    assert done == ["gate", "b"]
    assert kept.done()
    assert writer.discard(lambda lane: True) == 0


def test_discard_waits_for_the_running_job(writer: BackgroundWriter) -> None:
    done: list[str] = []
    gate = busy(writer, done)
    waiting = writer.submit("busy", lambda: done.append("never"))
    result: list[int] = []
    discarded = threading.Event()

    def discard() -> None:
        result.append(writer.discard(lambda lane: lane == "busy"))
        discarded.set()

    discarding = threading.Thread(target=discard)
    discarding.start()
    assert not discarded.wait(0.1)
    gate.go.set()
    assert discarded.wait(LONG)
    discarding.join(LONG)
    assert result == [1]
    assert done == ["gate"]
    assert waiting.cancelled()
    assert writer.flush(LONG)


def test_a_job_submitted_while_its_lane_is_discarded_still_runs(
    writer: BackgroundWriter,
) -> None:
    gate = busy(writer)
    discarding = threading.Thread(target=writer.discard, args=(lambda lane: True,))
    discarding.start()
    while writer.pending:  # until the lane is taken away
        time.sleep(0.001)
    done = threading.Event()
    future = writer.submit("busy", done.set)
    gate.go.set()
    discarding.join(LONG)
    assert writer.flush(LONG)
    assert done.is_set()
    assert future.done()
    assert not future.cancelled()
    assert writer.pending == 0


def test_discarding_a_lane_that_failed_starts_its_tries_anew(open_writer: OpenWriter) -> None:
    writer = open_writer(attempts=2, backoff_seconds=3.0)
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("down")

    writer.submit("lane", fail)
    assert failed.wait(LONG)
    assert writer.discard(lambda lane: True) == 1
    done = threading.Event()
    writer.submit("lane", done.set)
    assert done.wait(LONG)
    assert writer.failed == 0


def test_close_finishes_the_waiting_jobs(open_writer: OpenWriter) -> None:
    writer = open_writer()
    done: list[int] = []
    for n in range(50):
        writer.submit(n % 3, lambda n=n: done.append(n), delay_seconds=100.0)
    assert writer.close(LONG) is True
    assert sorted(done) == list(range(50))
    assert writer.close(LONG) is True
    with pytest.raises(MemoryClosed):
        writer.submit("lane", lambda: None)
    assert "langchain-kronvex-writer" not in {
        thread.name for thread in threading.enumerate() if thread is writer._thread
    }


def test_close_reports_the_jobs_it_could_not_finish(open_writer: OpenWriter) -> None:
    reported: list[Exception] = []
    writer = open_writer(on_error=reported.append)
    gate = busy(writer)
    lost = [writer.submit("lane", lambda: None) for _ in range(2)]
    letting_go = threading.Timer(0.2, gate.go.set)
    letting_go.start()
    assert writer.close(0.05) is False
    letting_go.join(LONG)
    assert all(future.cancelled() for future in lost)
    assert writer.failed >= 2
    assert "closed before" in str(reported[0])


def test_closing_frees_a_caller_that_waits_for_room(open_writer: OpenWriter) -> None:
    writer = open_writer(max_pending=1)
    gate = busy(writer)
    refused = threading.Event()

    def submit() -> None:
        try:
            writer.submit("lane", lambda: None)
        except MemoryClosed:
            refused.set()

    caller = threading.Thread(target=submit)
    caller.start()
    closing = threading.Thread(target=writer.close, args=(0.05,))
    closing.start()
    assert refused.wait(LONG)
    gate.go.set()
    caller.join(LONG)
    closing.join(LONG)


def test_an_unused_writer_has_no_thread(writer: BackgroundWriter) -> None:
    assert writer._thread is None
    assert writer.flush(0)
    assert writer.close()
    assert writer._thread is None


def test_a_finished_job_is_not_kept_alive(writer: BackgroundWriter) -> None:
    import gc
    import weakref

    class Payload:
        def __call__(self) -> None:
            pass

    payload = Payload()
    reference = weakref.ref(payload)
    writer.submit("lane", payload).result(LONG)
    del payload
    second = threading.Event()
    writer.submit("lane", second.set)
    assert second.wait(LONG)
    assert writer.flush(LONG)
    gc.collect()
    assert reference() is None


async def test_a_future_can_be_awaited_and_fails_as_its_job_did(open_writer: OpenWriter) -> None:
    writer = open_writer(attempts=1)
    future = writer.submit("lane", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wrap_future(future)
