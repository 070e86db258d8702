"""Asynchronous connections of one event loop: lent in turns, made when needed, kept for later.

There is no task in the background. An event loop that ends cancels its tasks, and one that is
connecting at that moment would keep the loop from ever ending.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolTimeout

AsyncConnection = psycopg.AsyncConnection[Any]
_Kept = tuple[AsyncConnection, float]  # since when
_Idle = deque[_Kept]
_IDLE_SECONDS = 300.0


class LoopPool:
    """Lends connections within one event loop; may be closed from anywhere.

    Args:
        connect: Makes a connection.
        max_connections: How many at once.
        timeout_seconds: How long to wait for one.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncConnection]],
        max_connections: int,
        timeout_seconds: float,
    ) -> None:
        self._connect, self._timeout = connect, timeout_seconds
        self._turns = max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._idle: _Idle = deque()
        # The pool is gone when its loop is; then the connections have to be closed all the same.
        self._finalizer = weakref.finalize(self, _finish_all, self._idle, os.getpid())

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection.

        Raises:
            PoolTimeout: none became free in time.
        """
        await self._take_turn()
        connection = None
        try:
            connection = self._kept() or await self._made()
            yield connection
        finally:
            if connection is not None:
                self._keep(connection)
            self._give_turn()

    async def _made(self) -> AsyncConnection:
        connection = await self._connect()
        connection._pool = None  # it says that somebody sees to its end
        return connection

    def _kept(self) -> AsyncConnection | None:
        while kept := _taken(self._idle, self._idle.pop):
            connection, since = kept
            if not connection.closed and time.monotonic() - since < _IDLE_SECONDS:
                return connection
            connection.pgconn.finish()
        return None

    def _keep(self, connection: AsyncConnection) -> None:
        if connection.info.transaction_status != TransactionStatus.IDLE or self._closed:
            connection.pgconn.finish()
            return
        now = time.monotonic()
        oldest = _taken(self._idle, self._idle.popleft)
        if oldest and now - oldest[1] < _IDLE_SECONDS:
            self._idle.appendleft(oldest)
        elif oldest:
            oldest[0].pgconn.finish()
        self._idle.append((connection, now))
        if self._closed:  # by another thread, meanwhile
            self.close()

    # -- turns ---------------------------------------------------------------------------------

    async def _take_turn(self) -> None:
        if self._turns:
            self._turns -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=self._timeout)
        except BaseException:
            self._withdraw(turn)
            raise
        if not turn.done():
            self._withdraw(turn)
            raise PoolTimeout(f"all are in use for {self._timeout:g} s")

    def _withdraw(self, turn: asyncio.Future[None]) -> None:
        if turn.done():
            self._give_turn()  # it came at the last moment
        else:
            turn.cancel()

    def _give_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._turns += 1

    # -- ending --------------------------------------------------------------------------------

    def drop_idle(self) -> None:
        """Close what is not lent: when one connection has broken, so have others."""
        _finish_all(self._idle, os.getpid())

    def close(self) -> None:
        """Close what is not lent now, and what is when it comes back."""
        self._closed = True
        self.drop_idle()

    def disown(self) -> None:
        """Leave the connections to the process that made them."""
        self._finalizer.detach()


def _finish_all(idle: _Idle, process: int) -> None:
    """Close connections; a forked child would tell the server to end those of its parent."""
    while os.getpid() == process and (kept := _taken(idle, idle.pop)):
        kept[0].pgconn.finish()


def _taken(idle: _Idle, take: Callable[[], _Kept]) -> _Kept | None:
    """Take one, if another thread has not taken the last."""
    try:
        return take() if idle else None
    except IndexError:
        return None
