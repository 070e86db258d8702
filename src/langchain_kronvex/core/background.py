"""Background work that is not lost: one bounded queue, one thread.

Jobs are queued in lanes. The jobs of a lane run in order; while one lane waits to try a failed job
again, the other lanes go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

from langchain_kronvex.core import errors
from langchain_kronvex.core.fork_safety import ForkAware

logger = logging.getLogger("langchain_kronvex")

Job = Callable[[], None]
OnError = Callable[[Exception], None]


class _Queued(NamedTuple):
    job: Job
    future: Future[None]
    delay_seconds: float


@dataclass(slots=True, eq=False)
class _Lane:
    """Jobs in order; the first may run from `due` on, and has failed `tries` times."""

    name: Hashable
    due: float
    jobs: deque[_Queued] = field(default_factory=deque)
    tries: int = 0
    running: bool = False


class BackgroundWriter(ForkAware):
    """Runs jobs in a thread of its own; serves many threads.

    A job that raises is tried again after growing, jittered pauses, up to `attempts` times. An
    `InvalidInput` or `EmbeddingMismatch` is not tried again, since it would fail every time. An
    erasure that others hold up is tried until it is done. A job
    that is given up is counted in `failed`, logged, and reported to `on_error`. While `max_pending`
    jobs wait, `submit` waits too: nothing is dropped. A forked child starts with an empty queue;
    the parent keeps its own.

    Args:
        max_pending: How many jobs may wait.
        attempts: How often a job is tried in all.
        backoff_seconds: The first pause; it doubles with each failure.
        longest_pause_seconds: The longest pause, without the jitter.
        on_error: Called with the error of each job that is given up, in the writer's thread.

    Attributes:
        failed: How many jobs were given up.
        last_error: The error of the last one, without any memory text.
    """

    def __init__(
        self,
        *,
        max_pending: int = 1000,
        attempts: int = 8,
        backoff_seconds: float = 0.05,
        longest_pause_seconds: float = 5.0,
        on_error: OnError | None = None,
    ) -> None:
        self._max_pending = max_pending
        self._attempts = attempts
        self._pause = wait_exponential(
            multiplier=backoff_seconds, max=longest_pause_seconds
        ) + wait_random(0, min(backoff_seconds, longest_pause_seconds))
        self._on_error = on_error
        self._closed = False
        self.failed = 0
        self.last_error: str | None = None
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start with an empty queue: the parent does the jobs that wait."""
        # Held by its own name: a signal in the condition's `__enter__`, which is no C function,
        # could leave it locked for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._lanes: dict[Hashable, _Lane] = {}
        self._flushing = 0
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> int:
        """How many jobs are not done yet, including the running one."""
        return sum(len(lane.jobs) for lane in list(self._lanes.values()))

    @property
    def has_room(self) -> bool:
        """Whether many more jobs may be queued without waiting."""
        return self.pending < self._max_pending // 2

    def submit(
        self, lane: Hashable, job: Job, *, once: bool = False, delay_seconds: float = 0.0
    ) -> Future[None]:
        """Queue a job; wait while the queue is full.

        Args:
            lane: Jobs of one lane run in order.
            job: Called without arguments in the writer's thread.
            once: Do nothing if a job of this lane is waiting already (a running one does not
                count); such a job is queued even when the queue is full.
            delay_seconds: How long the job waits when its turn has come, to gather work; `flush`
                ends the wait.

        Returns:
            A future that completes with the job, fails when the job is given up, and is cancelled
            when it is discarded.

        Raises:
            MemoryClosed: The writer was closed.
        """
        with self._lock:
            known = self._lanes.get(lane)
            if once and known and len(known.jobs) > known.running:
                return known.jobs[-1].future
            if not once:
                self._changed.wait_for(lambda: self.pending < self._max_pending or self._closed)
            if self._closed:
                raise errors.MemoryClosed()
            future: Future[None] = Future()
            queue = self._lanes.setdefault(lane, _Lane(lane, time.monotonic() + delay_seconds))
            queue.jobs.append(_Queued(job, future, delay_seconds))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="langchain-kronvex-writer", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
            return future

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every job is done or given up; return False after `timeout` seconds."""
        with self._lock:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self.pending == 0, timeout)
            finally:
                self._flushing -= 1

    def discard(self, chosen: Callable[[Hashable], bool], timeout: float | None = None) -> int:
        """Drop the waiting jobs of the chosen lanes, and wait for a running one to end.

        Args:
            chosen: Called with the name of each lane; returns whether to drop its jobs.
            timeout: Seconds to wait at most; a job that takes longer goes on.

        Returns:
            How many jobs were dropped.
        """
        with self._lock:
            lanes = [self._lanes.pop(name) for name in list(self._lanes) if chosen(name)]
            dropped = [queued for lane in lanes for queued in list(lane.jobs)[lane.running :]]
            self._changed.notify_all()
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(lambda: not any(lane.running for lane in lanes), timeout)
        for queued in dropped:
            queued.future.cancel()
        return len(dropped)

    def close(self, timeout: float | None = 10.0) -> bool:
        """Flush, then end the thread; jobs that are not done in time are reported as failed."""
        done = self.flush(timeout)
        with self._lock:
            self._closed = True
            lost = [queued.future for lane in self._lanes.values() for queued in lane.jobs]
            self._lanes = {}
            self._changed.notify_all()
        if lost:
            error = TimeoutError(f"closed before {len(lost)} background jobs were done")
            self.report(error, len(lost))
        for future in lost:
            future.cancel()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout if done else 0)  # for a job that hangs, time is up already
        return done

    def report(self, error: Exception, count: int = 1) -> None:
        """Count, log and pass on that `count` jobs, or parts of one, were given up."""
        self.failed += count
        self.last_error = errors.described(error)
        logger.error("background work was given up: %s", self.last_error)
        notify(self._on_error, error)

    # -- the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        while (lane := self._next()) is not None:
            job, future, _ = lane.jobs[0]
            try:
                job()
            except BaseException as raised:  # noqa: BLE001 - also a panic in an extension module
                self._failed(lane, future, raised)
            else:
                self._take_off(lane)
                if future.set_running_or_notify_cancel():
                    future.set_result(None)
            del lane, job, future  # so that an idle thread keeps nothing of its last job alive

    def _next(self) -> _Lane | None:
        """Wait until a lane is due and return it; return None once closed, or replaced.

        A signal in `Thread.is_alive` makes Python take a thread that works for a dead one. Then
        there are two, until the first one has done its job.
        """
        with self._lock:
            while not self._closed and self._thread is threading.current_thread():
                filled = (lane for lane in self._lanes.values() if lane.jobs and not lane.running)
                lane = min(filled, key=self._due, default=None)
                wait = None if lane is None else self._due(lane) - time.monotonic()
                if lane and wait is not None and wait <= 0:
                    lane.running = True
                    return lane
                self._changed.wait(wait)
        return None

    def _due(self, lane: _Lane) -> float:
        return 0.0 if self._flushing and not lane.tries else lane.due

    def _failed(self, lane: _Lane, future: Future[None], raised: BaseException) -> None:
        error = raised
        if not isinstance(error, Exception):
            error = errors.KronvexError(f"a background job ended with {type(raised).__name__}")
        lane.tries += 1
        again = lane.tries < self._attempts or isinstance(error, errors.ErasurePending)
        if again and not isinstance(error, errors.InvalidInput | errors.EmbeddingMismatch):
            state = RetryCallState(Retrying(), None, (), {})
            state.attempt_number = lane.tries
            with self._lock:
                lane.running = False
                lane.due = time.monotonic() + self._pause(state)
                self._changed.notify_all()
            return
        self.report(error)
        self._take_off(lane)
        if future.set_running_or_notify_cancel():
            future.set_exception(error)

    def _take_off(self, lane: _Lane) -> None:
        """Remove the job that has run from its lane."""
        with self._lock:
            lane.jobs.popleft()
            lane.running, lane.tries = False, 0
            if lane.jobs:
                lane.due = time.monotonic() + lane.jobs[0].delay_seconds
            if self._lanes.get(lane.name) is lane and not lane.jobs:  # not discarded meanwhile
                del self._lanes[lane.name]
            self._changed.notify_all()


def notify(on_error: OnError | None, error: Exception) -> None:
    """Call `on_error` if there is one; log an error that it raises itself."""
    if on_error is not None:
        try:
            on_error(error)
        except Exception as raised:  # noqa: BLE001 - no traceback: it may quote memory text
            logger.error("on_error raised %s", type(raised).__name__)  # noqa: TRY400
