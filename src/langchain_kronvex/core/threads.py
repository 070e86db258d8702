"""The threads in which the async verbs run their sync versions."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, Protocol, TypeVar

from langchain_kronvex.core.fork_safety import ForkAware

logger = logging.getLogger("langchain_kronvex")
P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Abandonable(Protocol[T_co]):
    """Work in steps that can end early."""

    abandoned: bool

    def complete(self) -> T_co:
        """Do all of it, or raise an error soon after `abandoned` was set."""


class _Pool:
    """A bounded pool of daemon threads, started when they are needed.

    Calls start in the order in which they were submitted. Unlike those of the standard library's
    executor, the threads do not hold up the end of the process.

    Attributes:
        pending: The calls that have not ended, by their numbers, which increase.
    """

    def __init__(self, max_threads: Callable[[], int]) -> None:
        self.pending: dict[int, Future[Any]] = {}
        self._max_threads = max_threads
        self._changed = threading.Condition()
        self._queue: deque[tuple[int, Callable[[], Any]]] = deque()
        self._submitted = self._threads = self._idle = 0
        self._closed = False
        self._current = threading.local()

    @property
    def number(self) -> int | None:
        """The number of the call that runs in this thread, if it is one of the pool's."""
        return getattr(self._current, "number", None)

    def submit(self, call: Callable[[], Any]) -> Future[Any] | None:
        """Queue a call; return None if the pool was closed."""
        with self._changed:
            if self._closed:
                return None
            self._submitted += 1
            future: Future[Any] = Future()
            self.pending[self._submitted] = future
            self._queue.append((self._submitted, call))
            if self._idle < len(self._queue) and self._threads < self._max_threads():
                self._threads += 1
                threading.Thread(target=self._work, name="kronvex", daemon=True).start()
            self._changed.notify()
            return future

    def close(self) -> None:
        """Accept no more calls; the threads end when the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._queue or self._closed)
                self._idle -= 1
                if not self._queue:
                    return
                number, call = self._queue.popleft()
                future = self.pending[number]
            if future.set_running_or_notify_cancel():
                self._current.number = number
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - the caller gets it
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
                self._current.number = None
            del self.pending[number], call, future  # an idle thread keeps nothing alive


class Threads(ForkAware):
    """Runs sync functions for async callers, with their context variables.

    Saves and reads have a pool each, so that no save waits for reads that are slow. A save that
    has been handed over always runs to its end, even if the task that awaits it is cancelled. A
    read that has not started by then is dropped.

    Args:
        max_threads: How many saves may run at once.
        max_reads: Returns how many reads may run at once; as many as saves by default.
    """

    def __init__(self, max_threads: int, max_reads: Callable[[], int] | None = None) -> None:
        self._max_threads = lambda: max_threads
        self.max_reads = max_reads or self._max_threads
        self._closed = False
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start without threads: those of the parent do not exist here."""
        self._saves, self._reads = _Pool(self._max_threads), _Pool(self.max_reads)
        self._works: dict[int, Abandonable[Any]] = {}
        if self._closed:
            self._saves.close()
            self._reads.close()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that saves; return its result, or raise its error."""
        return await self._call(self._saves, functools.partial(function, *args, **kwargs))

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that only reads; return its result, or raise its error."""
        return await self._call(self._reads, functools.partial(function, *args, **kwargs))

    async def complete(self, work: Abandonable[T]) -> T:
        """Do long work in a thread of its own; it ends early if the task is cancelled."""
        self._works[id(work)] = work
        try:
            return await asyncio.to_thread(work.complete)
        except asyncio.CancelledError:
            work.abandoned = True
            raise
        finally:
            del self._works[id(work)]

    async def _call(self, pool: _Pool, function: Callable[[], T]) -> T:
        context = contextvars.copy_context()
        future: Future[T] | None = None
        if pool.number is None:  # a call that waited for its own pool could wait for ever
            future = pool.submit(functools.partial(context.run, function))
        if future is None:  # after closing, the verb itself says so
            return await asyncio.to_thread(function)
        if pool is self._reads:
            return await asyncio.wrap_future(future)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.add_done_callback(_log_failure)
            raise

    def wait_for_saves(self, timeout: float) -> None:
        """Wait for the saves handed over before; return after `timeout` seconds at the latest.

        Called by a save, it waits for those that were handed over before that one.
        """
        own = self._saves.number
        earlier = [f for n, f in list(self._saves.pending.items()) if own is None or n < own]
        concurrent.futures.wait(earlier, timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Accept no more calls, and wait for those handed over, but no longer than `timeout`."""
        self._closed = True
        for work in list(self._works.values()):
            work.abandoned = True
        left: set[Future[Any]] = set()
        for pool in (self._saves, self._reads):
            pool.close()
            left |= {f for n, f in list(pool.pending.items()) if n != pool.number}
        unfinished = concurrent.futures.wait(left, timeout).not_done
        if unfinished:
            logger.error("closed before %d async calls were done", len(unfinished))


def _log_failure(future: Future[Any]) -> None:
    error = None if future.cancelled() else future.exception()
    if error is not None:
        logger.warning("a call whose task was cancelled failed: %s", type(error).__name__)
