"""Work done behind the caller's back, without loss: one bounded queue, one thread.

Jobs are queued in lanes. A lane keeps its order; a lane whose job fails waits and tries again
while the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

from langchain_kronvex.core.errors import (
    EmbeddingMismatch,
    InvalidInput,
    KronvexError,
    MemoryClosed,
    described,
)
from langchain_kronvex.core.fork_safety import ForkAware

logger = logging.getLogger("langchain_kronvex")

Job = Callable[[], None]
OnError = Callable[[Exception], None]
_LONGEST_WAIT_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class _Lane:
    """Jobs in order; `due` is when the first may run, `tries` how often it has failed.

    `pause` is how long, in seconds, a job queued while another ran waits after that one.
    """

    due: float
    jobs: deque[tuple[Job, Future[None]]] = field(default_factory=deque)
    tries: int = 0
    running: bool = False
    pause: float = 0.0

    @property
    def waiting(self) -> int:
        return len(self.jobs) - self.running


class BackgroundWriter(ForkAware):
    """Runs jobs in one thread of its own; serves sync and async callers.

    A job that raises is tried again with growing, jittered pauses, up to `attempts` times; an
    `InvalidInput` or `EmbeddingMismatch` is not, since it would fail for ever. A job given up is
    counted in `failed`, logged, and reported to `on_error`. When `max_pending` jobs wait, `submit`
    waits too: nothing is dropped. A forked child starts with an empty queue; the parent keeps its
    own.

    Args:
        max_pending: How many jobs may wait.
        attempts: How often a job is tried in all.
        backoff_seconds: The first pause; it doubles with each failure, up to 5 s.
        on_error: Called with the error of each job given up, in the writer's thread.
    """

    def __init__(
        self,
        *,
        max_pending: int = 1000,
        attempts: int = 8,
        backoff_seconds: float = 0.05,
        on_error: OnError | None = None,
    ) -> None:
        self._max_pending = max_pending
        self._attempts = attempts
        self._backoff = backoff_seconds
        self._on_error = on_error
        self._closed = False
        self.failed = 0
        self.last_error: str | None = None
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start with an empty queue: what waits is the parent's to do."""
        self._changed = threading.Condition()
        self._lanes: dict[Hashable, _Lane] = {}
        self._pending = 0
        self._hurried = 0
        self._thread: threading.Thread | None = None
        self._reminder: tuple[float, Hashable, Job] | None = None

    @property
    def pending(self) -> int:
        """Jobs not yet done, the running one included."""
        return self._pending

    def waits(self, lane: Hashable) -> bool:
        """Tell whether a lane holds a job, so that later work must queue behind it."""
        return lane in self._lanes

    def submit(
        self, lane: Hashable, job: Job, *, once: bool = False, delay_seconds: float = 0.0
    ) -> Future[None]:
        """Queue a job; wait while the queue is full.

        Args:
            lane: Jobs of one lane run in order.
            job: Called without arguments in the writer's thread.
            once: Do nothing if a job of the lane is waiting (one that runs does not count); such
                a job is queued even when the queue is full.
            delay_seconds: Let an empty lane wait this long, to gather work, or one whose job runs
                after the end of that; `flush` ends it.

        Returns:
            A future that is done when the job is, fails when it is given up, and is cancelled
            when it is discarded.

        Raises:
            MemoryClosed: the writer was closed.
        """
        with self._changed:
            queued = self._lanes.get(lane)
            if once and queued and queued.waiting:
                return queued.jobs[-1][1]
            if not once:
                self._changed.wait_for(lambda: self._pending < self._max_pending or self._closed)
            if self._closed:
                raise MemoryClosed()
            if lane not in self._lanes:
                self._lanes[lane] = _Lane(due=time.monotonic() + delay_seconds)
            self._lanes[lane].pause = delay_seconds
            future: Future[None] = Future()
            self._lanes[lane].jobs.append((job, future))
            self._pending += 1
            self._start()
            self._changed.notify_all()
            return future

    def remind(self, lane: Hashable, job: Job, after_seconds: float) -> None:
        """Queue a job after a while, unless the writer is closed; nobody waits for it till then.

        The last reminder replaces an earlier one.
        """
        with self._changed:
            self._reminder = (time.monotonic() + after_seconds, lane, job)
            self._start()
            self._changed.notify_all()

    async def asubmit(self, lane: Hashable, job: Job) -> Future[None]:
        """Twin of `submit`: waits for room without holding up the event loop."""
        if self.pending < self._max_pending:
            return self.submit(lane, job)
        return await asyncio.to_thread(self.submit, lane, job)

    def discard(self, chosen: Callable[[Hashable], bool], timeout: float | None = None) -> int:
        """Remove the jobs of the chosen lanes; when one of them runs, wait for its end.

        Args:
            chosen: Tells by its name whether a lane is meant.
            timeout: Seconds to wait at most; a job that runs longer goes on.

        Returns:
            How many were removed before they ran.
        """
        with self._changed:
            lanes = [self._lanes.pop(lane) for lane in list(self._lanes) if chosen(lane)]
            dropped = [job for lane in lanes for job in list(lane.jobs)[lane.running :]]
            self._pending -= sum(len(lane.jobs) for lane in lanes)
            self._changed.notify_all()
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(lambda: not any(lane.running for lane in lanes), timeout)
        for _, future in dropped:
            future.cancel()
        return len(dropped)

    async def adiscard(
        self, chosen: Callable[[Hashable], bool], timeout: float | None = None
    ) -> int:
        """Twin of `discard`."""
        return await asyncio.to_thread(self.discard, chosen, timeout)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every job is done or given up; return False when the time ran out first."""
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._pending == 0, timeout)
            finally:
                self._hurried -= 1

    async def aflush(self, timeout: float | None = None) -> bool:
        """Twin of `flush`."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self, timeout: float | None = 10.0) -> bool:
        """Flush, then end the thread. Jobs that did not finish in time are reported as failed."""
        done = self.flush(timeout)
        with self._changed:
            self._closed = True
            left, self._lanes = self._lanes, {}
            self._pending = 0
            self._changed.notify_all()
        lost = [future for lane in left.values() for _, future in lane.jobs]
        if lost:
            error = TimeoutError(f"closed before {len(lost)} background jobs were done")
            self.report(error, len(lost))
        for future in lost:
            future.cancel()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout if done else 0)  # a job that hangs was waited for already
        return done

    # -- the thread ----------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._work, name="langchain-kronvex-writer", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while (lane := self._next()) is not None:
            job, future = lane.jobs[0]
            try:
                job()
            except Exception as error:  # noqa: BLE001 - any failure is tried again or reported
                self._failed(lane, future, error)
            except BaseException as end:  # noqa: BLE001 - a panic in an extension module, say
                kind = type(end).__name__
                self._failed(lane, future, KronvexError(f"a background job ended with {kind}"))
            else:
                self._finished(lane)
                _settle(future, None)
            del lane, job, future  # an idle thread keeps nothing of its last job alive

    def _next(self) -> _Lane | None:
        """Wait for a lane that is due; None when closed."""
        with self._changed:
            while not self._closed:
                self._mind_reminder()
                soonest = min(self._lanes.values(), key=self._due, default=None)
                wait = None if soonest is None else self._due(soonest) - time.monotonic()
                if soonest and wait is not None and wait <= 0:
                    soonest.running = True
                    return soonest
                if self._reminder:
                    reminded = max(self._reminder[0] - time.monotonic(), 0.0)
                    wait = reminded if wait is None else min(wait, reminded)
                self._changed.wait(wait)
        return None

    def _mind_reminder(self) -> None:
        if self._reminder and self._reminder[0] <= time.monotonic():
            _, name, job = self._reminder
            self._reminder = None
            lane = self._lanes.setdefault(name, _Lane(due=time.monotonic()))
            lane.jobs.append((job, Future()))
            self._pending += 1

    def _due(self, lane: _Lane) -> float:
        return 0.0 if self._hurried and not lane.tries else lane.due

    def _finished(self, lane: _Lane) -> None:
        """Take the first job off its lane, unless the lane was discarded while it ran."""
        with self._changed:
            lane.running = False
            names = [name for name, known in self._lanes.items() if known is lane]
            if names:
                lane.jobs.popleft()
                lane.tries, lane.due = 0, time.monotonic() + lane.pause
                self._pending -= 1
                if not lane.jobs:
                    del self._lanes[names[0]]
            self._changed.notify_all()

    def _failed(self, lane: _Lane, future: Future[None], error: Exception) -> None:
        lane.tries += 1
        final = lane.tries >= self._attempts or isinstance(error, InvalidInput | EmbeddingMismatch)
        if not final:
            with self._changed:
                lane.running = False
                doubled = self._backoff * 2 ** min(lane.tries - 1, 20)
                pause = min(doubled, _LONGEST_WAIT_SECONDS)
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
                lane.due = time.monotonic() + pause * jitter
                self._changed.notify_all()
            return
        self.report(error)
        self._finished(lane)
        _settle(future, error)

    def report(self, error: Exception, count: int = 1) -> None:
        """Count, log and pass on that `count` jobs, or parts of one, were given up."""
        self.failed += count
        self.last_error = described(error)
        logger.error("background work was given up: %s", self.last_error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception as raised:  # noqa: BLE001 - no traceback: it may quote memory text
                logger.error("on_error raised %s", type(raised).__name__)  # noqa: TRY400


def _settle(future: Future[None], error: Exception | None) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
