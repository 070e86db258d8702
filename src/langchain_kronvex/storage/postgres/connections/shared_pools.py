"""One set of connections for all memories of a process that are in the same database.

A server opens a memory for each agent, and a LangGraph store one beside the memory; a pool for each
of them would use up the database's connections.
"""

from __future__ import annotations

import threading

from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.storage.postgres.connections.pools import Pools
from langchain_kronvex.storage.postgres.options import PostgresOptions

_Place = tuple[str, float, int, bool]


class SharedPools(Pools):
    """Pools that close with the last memory that uses them."""

    users = 0

    def close(self) -> None:
        """Let go of the connections once; those of others stay."""
        if not _opened.left(self):
            super().close()


class _Opened(ForkAware):
    """The pools of this process, by place."""

    def __init__(self) -> None:
        self._pools: dict[_Place, SharedPools] = {}
        self._lock = threading.Lock()
        self.watch_forks()

    def before_fork(self) -> None:
        """Let nobody be in the middle of it."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on; the pools themselves start anew."""
        self._lock = threading.Lock()

    def enter(self, place: _Place, options: PostgresOptions) -> SharedPools:
        """Return the pools of a place for one more user."""
        conninfo, timeout, _, _ = place
        with self._lock:
            pools = self._pools.get(place)
            if pools is None:
                pools = self._pools[place] = SharedPools(conninfo, options, timeout)
            pools.users += 1
            return pools

    def left(self, pools: SharedPools) -> int:
        """Take one user away; return how many are left."""
        with self._lock:
            pools.users -= 1
            if not pools.users:
                self._pools = {p: each for p, each in self._pools.items() if each is not pools}
            return pools.users


_opened = _Opened()


def pools_for(conninfo: str, options: PostgresOptions, timeout_seconds: float) -> Pools:
    """Return pools to be closed once by each who asked; see `Pools` for the arguments."""
    if options.pool is not None or options.async_pool is not None:
        return Pools(conninfo, options, timeout_seconds)
    place = (
        conninfo,
        timeout_seconds,
        options.max_connections,
        options.prepared_statements,
    )
    return _opened.enter(place, options)
