"""Whose turn it is: requests that only compute are let into the worker threads one by one.

Python runs one thread at a time. Sixteen that all want to compute hand the interpreter to and fro,
and each gets done later than if they had gone one after the other. So a request waits for its turn
in the event loop, which costs nothing. Whoever takes long (a large index is read, another process
holds the store) gives the turn up and goes on beside the others.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_LONG_SECONDS = 0.05
_THREADS = 40
T = TypeVar("T")


class Turns:
    """Worker threads, and the order in which requests may use them.

    Args:
        one_by_one: Whether requests take turns; not when they mostly wait for others, such as a
            database server or a provider of embeddings.
    """

    def __init__(self, *, one_by_one: bool) -> None:
        self._one_by_one = one_by_one
        self._threads = ThreadPoolExecutor(_THREADS, "kronvex-server")
        # A future belongs to its event loop, and the app may be run in several.
        self._queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = (
            weakref.WeakKeyDictionary()
        )

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function in a worker thread, when it is its turn."""
        loop = asyncio.get_running_loop()
        if not self._one_by_one:
            return await loop.run_in_executor(self._threads, work)
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues.setdefault(loop, _Queue())
        await queue.enter(loop)
        turn = _Turn(queue)
        giving_up = loop.call_later(_LONG_SECONDS, turn.end)
        try:
            return await loop.run_in_executor(self._threads, work)
        finally:
            giving_up.cancel()
            turn.end()

    def close(self) -> None:
        """Let the threads end when they have nothing left to do."""
        self._threads.shutdown(wait=False)


class _Queue:
    """Those who wait in one event loop; the first to come is the first to go."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the turn."""
        if not self._taken:
            self._taken = True
            return
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # the turn had come already
                self.leave()
            raise

    def leave(self) -> None:
        """Let the next one go."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._taken = False


class _Turn:
    """One turn, which ends once."""

    def __init__(self, queue: _Queue) -> None:
        self._queue: _Queue | None = queue

    def end(self) -> None:
        """Give the turn to the next one."""
        if self._queue is not None:
            queue, self._queue = self._queue, None
            queue.leave()
