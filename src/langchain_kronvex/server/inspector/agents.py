"""The agents that `inspect` shows: all that have memories in a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server import queries
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.service import OpenAgent, OpenAgents

_THREADS = 4
_OPEN_MEMORIES = 8
_CACHE_MEGABYTES = 256  # for each of them
T = TypeVar("T")


class StoreAgents:
    """What the endpoints of the inspector need of a `Service`, without keys and agents of keys.

    Args:
        memory: Says where the store is; it stays the caller's to close.

    Attributes:
        location: The store, as a URL without a password.
    """

    def __init__(self, memory: KronvexMemory) -> None:
        self._memory, self.location = memory, memory.location
        self.now = memory.engine.clock
        open_ = partial(queries.open_agent, memory, cache_megabytes=_CACHE_MEGABYTES)
        self._known: set[str] = set()
        self._open = OpenAgents(memory, open_, _OPEN_MEMORIES)
        self._threads = ThreadPoolExecutor(_THREADS, "kronvex-inspector")

    async def run(self, call: Callable[[], T], *, recalls: bool) -> T:
        """Call a function in a worker thread."""
        del recalls
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def listed(self, request: Request) -> list[tuple[str, str]]:
        """Return the ids and names of the agents, that of the memory first."""
        del request
        own, engine = self._memory.agent_id, self._memory.engine
        others = sorted({*engine.backend.condition(engine.clock()).agents} - {own})
        self._known.update((own, *others))
        return [(each, each) for each in (own, *others)]

    @contextmanager
    def use(self, request: Request, agent_id: str, *, asks: bool = False) -> Iterator[OpenAgent]:
        """Keep the memory of an agent open; one without memories is not made."""
        del asks
        if agent_id not in self._known:
            self.listed(request)
        if agent_id not in self._known:
            raise ApiError(404, "Agent not found")
        with self._open.use(agent_id) as agent:
            yield agent

    def close(self) -> None:
        """Close the memories that were opened here."""
        self._threads.shutdown()
        self._open.close()
