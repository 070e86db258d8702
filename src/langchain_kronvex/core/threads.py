"""The threads in which the async verbs run their sync twins."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, Protocol, TypeVar

from langchain_kronvex.core.fork_safety import ForkAware

logger = logging.getLogger("langchain_kronvex")
P = ParamSpec("P")
T = TypeVar("T")
Result = TypeVar("Result", covariant=True)


class Abandonable(Protocol[Result]):
    """Work in steps that can end early."""

    abandoned: bool

    def complete(self) -> Result:
        """Do all of it, or raise an error soon after `abandoned` was set."""


class Threads(ForkAware):
    """A bounded pool of threads, started as they are needed.

    A call that has been handed over always runs to its end, even when the task that awaits it is
    cancelled: a save is neither undone nor lost. Context variables travel with the call.

    Args:
        max_threads: How many calls may run at once; others wait for their turn.
    """

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._closed = False
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start without threads: those of the parent do not exist here."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._own: set[int] = set()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in one of the threads and return its result, or raise its error.

        After `close` it runs in the event loop's own executor, and raises the error for that.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        context = contextvars.copy_context()
        call = self._submit(context.run, functools.partial(function, *args, **kwargs))
        if call is None:
            return await asyncio.to_thread(function, *args, **kwargs)

        def wake(call: Future[T]) -> None:
            if done.cancelled():
                _log_failure(call)
            with contextlib.suppress(RuntimeError):  # the event loop has been closed
                loop.call_soon_threadsafe(_finish, done)

        call.add_done_callback(wake)
        await done
        return call.result()

    async def complete(self, work: Abandonable[T]) -> T:
        """Run long work; when the task is cancelled, the work ends at its next step."""
        try:
            return await self.run(work.complete)
        except asyncio.CancelledError:
            work.abandoned = True
            raise

    def _submit(
        self, run: Callable[[Callable[[], T]], T], call: Callable[[], T]
    ) -> Future[T] | None:
        with self._lock:
            if self._closed:
                return None
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self._max_threads, "kronvex", lambda: self._own.add(threading.get_ident())
                )
            return self._pool.submit(run, call)

    def close(self) -> None:
        """Wait for the calls that were handed over, and end the threads."""
        with self._lock:
            self._closed, pool, self._pool = True, self._pool, None
        if pool is not None:  # a thread cannot wait for itself
            pool.shutdown(wait=threading.get_ident() not in self._own)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _log_failure(call: Future[Any]) -> None:
    error = call.exception()
    if error is not None:
        logger.warning("a call whose task was cancelled failed: %s", type(error).__name__)
