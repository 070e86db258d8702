"""What the endpoints share: the agents of a key, their memories while open, and worker threads."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, cast, get_args

from fastapi import Depends
from langchain_core.language_models import BaseChatModel
from starlette.requests import Request

from langchain_kronvex.consolidation import KronvexConsolidator
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.types import Memory
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server import ownership, queries, registry
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.settings import ServerSettings

if TYPE_CHECKING:
    from langchain_kronvex.server.metrics import Metrics

_THREADS = 40
_COUNT_SECONDS = 10.0  # other processes write to the store, and memories expire
Call = Literal["recalls", "stores", "injects"]
T = TypeVar("T")
Consolidating = Callable[[KronvexMemory], KronvexConsolidator] | None


class OpenAgent:
    """One agent's memory while it is open.

    Args:
        id: The agent.
        open: Opens its memory; called on first use.
        consolidating: Starts a consolidator of its memory; None if the server has none.

    Attributes:
        users: How many requests use it now.
    """

    def __init__(
        self, id: str, open: Callable[[str], KronvexMemory], consolidating: Consolidating = None
    ) -> None:
        self.id, self._open, self._consolidating = id, open, consolidating
        self.users = 0
        self._memory: KronvexMemory | None = None
        self._consolidator: KronvexConsolidator | None = None
        self._lock = threading.Lock()
        self._count: int | None = None
        self._counted_at = 0.0

    @property
    def memory(self) -> KronvexMemory:
        """The memory, opened on first use."""
        with self._lock:
            if self._memory is None:
                self._memory = self._open(self.id)
            return self._memory

    @property
    def opened(self) -> KronvexMemory | None:
        """The memory, if it was opened."""
        return self._memory

    @property
    def consolidator(self) -> KronvexConsolidator | None:
        """The consolidator of the memory, started on first use; None if the server has none."""
        memory = self.memory
        with self._lock:
            if self._consolidator is None and self._consolidating is not None:
                self._consolidator = self._consolidating(memory)
            return self._consolidator

    def consolidate(self, stored: Iterable[Memory]) -> None:
        """Consolidate the users of some memories, soon and in the background, if that is wanted."""
        for owner in {each.user_id or each.session_id for each in stored} - {None}:
            if consolidator := self.consolidator:
                consolidator.wake(str(owner))

    def stop(self) -> None:
        """End the consolidation, after the batch under way."""
        with self._lock:
            consolidator, self._consolidator = self._consolidator, None
        if consolidator is not None:
            consolidator.stop()

    def close(self) -> None:
        """End the consolidation and close the memory, if it was opened."""
        self.stop()
        with self._lock:
            if self._memory is not None:
                self._memory.close()

    def count(self) -> int:
        """Return how many memories there are, read from the store every few seconds only."""
        now = time.monotonic()
        if self._count is None or now - self._counted_at > _COUNT_SECONDS:
            self._count, self._counted_at = self.memory.stats().memories, now
        return self._count

    def added(self, memories: int) -> int:
        """Note that memories were stored; return how many there are now."""
        with self._lock:
            if self._count is not None:
                self._count += memories
        return self.count()

    def removed(self) -> None:
        """Note that memories were erased."""
        self._count = None


class OpenAgents:
    """Keeps the memories used last open; closes one only when no request uses it.

    Args:
        first: The memory the server was given; its owner closes it.
        open: Opens the memory of another agent in the same place.
        most: How many may stay open; None for all, when closing would lose them.
        consolidating: Starts a consolidator of a memory; None if the server has none.

    Attributes:
        consolidates: Whether memories are consolidated.
    """

    def __init__(
        self,
        first: KronvexMemory,
        open: Callable[[str], KronvexMemory],
        most: int | None,
        consolidating: Consolidating = None,
    ) -> None:
        self._first, self._open, self._most = first, open, most
        self._consolidating, self.consolidates = consolidating, consolidating is not None
        self._changed = threading.Condition()
        self._agents: OrderedDict[str, OpenAgent] = OrderedDict()
        self._exclusive: set[str] = set()

    @contextmanager
    def use(self, agent_id: str) -> Iterator[OpenAgent]:
        """Keep an agent's memory open during one request."""
        with self._changed:
            self._changed.wait_for(lambda: agent_id not in self._exclusive)
            agent = self._agent(agent_id)
            agent.users += 1
        try:
            yield agent
        finally:
            with self._changed:
                agent.users -= 1
                self._changed.notify_all()
                surplus = self._surplus()
            for each in surplus:
                each.close()

    @contextmanager
    def use_alone(self, agent_id: str) -> Iterator[OpenAgent]:
        """Wait until no other request uses this agent, and make new requests wait."""
        with self._changed:
            self._changed.wait_for(lambda: agent_id not in self._exclusive)
            self._exclusive.add(agent_id)
            self._changed.wait_for(lambda: self._agent(agent_id).users == 0)
            agent = self._agent(agent_id)
        try:
            yield agent
        finally:
            with self._changed:
                self._exclusive.discard(agent_id)
                self._changed.notify_all()

    def close(self) -> None:
        """Close every memory opened here."""
        with self._changed:
            agents = list(self._agents.values())
            self._agents.clear()
        for agent in agents:
            agent.stop()
            if agent.id != self._first.agent_id:
                agent.close()

    def memories(self) -> list[KronvexMemory]:
        """Return the memories that are open now."""
        with self._changed:
            found = {agent.id: agent.opened for agent in self._agents.values()}
        found[self._first.agent_id] = self._first
        return [memory for memory in found.values() if memory is not None]

    def _agent(self, agent_id: str) -> OpenAgent:
        agent = self._agents.get(agent_id)
        if agent is None:
            is_first = agent_id == self._first.agent_id
            open_ = (lambda _: self._first) if is_first else self._open
            agent = OpenAgent(agent_id, open_, self._consolidating)
            self._agents[agent_id] = agent
        self._agents.move_to_end(agent_id)
        return agent

    def _surplus(self) -> list[OpenAgent]:
        """Take out the agents that were not used for longest, if there are too many."""
        over = 0 if self._most is None else len(self._agents) - self._most
        if over <= 0:
            return []
        kept = (self._first.agent_id, *self._exclusive)
        idle = [each for each in self._agents.values() if not each.users and each.id not in kept]
        return [self._agents.pop(each.id) for each in idle[:over]]


class Service:
    """The parts of one app that its endpoints share.

    Args:
        memory: Says where all agents' memories are kept; its own agent is served too.
        settings: What the server allows.
        model: Consolidates; None if nothing is consolidated.
        metrics: Counts what is done; None if nobody asks.

    Attributes:
        first: The memory.
        now: Returns the time of the memory's clock.
        keys: The API keys of the store.
        agents: The registered agents of the store.
        open_agents: The agents whose memories are open.
    """

    def __init__(
        self,
        memory: KronvexMemory,
        settings: ServerSettings,
        model: BaseChatModel | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        queries.check_servable(memory)
        self.first, self.now, self._metrics = memory, memory.engine.clock, metrics
        on_report = None if metrics is None else metrics.consolidated
        self.settings = settings
        tables = queries.open_store(memory, registry.SERVER_AGENT)
        self.keys = registry.ApiKeys(tables, self.now)
        self.agents = registry.Agents(tables, self.now)
        self.open_agents = OpenAgents(
            memory,
            lambda agent_id: queries.open_agent(memory, agent_id, settings.cache_megabytes),
            None if queries.is_in_ram(memory) else settings.open_memories,
            None if model is None else partial(queries.consolidating, model, on_report),
        )
        if metrics is not None:
            metrics.open_agents = self.open_agents
        self._threads = ThreadPoolExecutor(_THREADS, "kronvex-server")
        recalling = min(_THREADS, memory.engine.threads.max_reads())
        self._recall_threads = ThreadPoolExecutor(recalling, "kronvex-recall")
        self._removals = 0  # of agents, by this process
        self._counting = threading.Lock()
        self._calls: Counter[tuple[date, str, Call]] = Counter()
        parts = ExitStack()
        parts.callback(tables.close)
        for threads in (self._threads, self._recall_threads):
            parts.callback(threads.shutdown, wait=False)
        parts.callback(self.open_agents.close)
        self.close = weakref.finalize(self, parts.close)

    async def run(self, call: Callable[[], T], *, recalls: bool) -> T:
        """Call a function in a worker thread.

        Recalls have threads of their own, so that they do not wait for what may wait for the store.
        """
        threads = self._recall_threads if recalls else self._threads
        in_context = partial(copy_context().run, call)  # spans know what they belong to
        return await asyncio.get_running_loop().run_in_executor(threads, in_context)

    def count_calls(self, request: Request, call: Call, times: int = 1) -> None:
        """Count calls of the request's key, for today (UTC) only."""
        with self._counting:
            self._calls[self.now().date(), key_id_of(request), call] += times
        if self._metrics is not None:
            self._metrics.called(call, times)

    def erased(self, agent: OpenAgent, memories: int, *, whole: bool = False) -> None:
        """Note that memories of an agent were erased, or the whole agent."""
        agent.removed()
        self._removals += whole
        if self._metrics is not None:
            self._metrics.called("forgets", memories)

    def calls_today(self, request: Request) -> dict[str, int]:
        """Return how often the request's key called this process today (UTC)."""
        today, key_id = self.now().date(), key_id_of(request)
        return {call: self._calls[today, key_id, call] for call in get_args(Call)}

    def memory_count(self, agent_id: str) -> int:
        """Return how many memories an agent has."""
        with self.open_agents.use(agent_id) as agent:
            return agent.count()

    def listed(self, request: Request) -> list[tuple[str, str]]:
        """Return the ids and names of the agents of the request's key, newest first."""
        with suppress(ApiError, InvalidInput):  # its own agent, which may become this key's
            self.registered(request, self.first.agent_id)
        return [(each.id, each.name) for each in self.agents.all(key_id_of(request))]

    @contextmanager
    def use(
        self, request: Request, agent_id: str, *, make: bool = False, asks: bool = False
    ) -> Iterator[OpenAgent]:
        """Keep an agent of the request's key open.

        Another process may delete the agent meanwhile, and give its name to another key. So it is
        looked up again before the answer is sent, and what was stored is erased if it is gone.

        Args:
            request: The request.
            agent_id: The agent.
            make: Make an agent with a readable name that does not exist yet.
            asks: Nothing is changed. So it is enough to know the agent of a second ago at first.

        Raises:
            ApiError: the agent does not exist, or belongs to another key.
        """
        agent = self.registered(request, agent_id, make=make, current=not asks)
        removals = self._removals
        with self.open_agents.use(agent.id) as opened:
            if removals != self._removals:  # before this request kept it open
                agent = self.registered(request, agent.id, make=make)
            yield opened
            found = self.agents.find(agent.id, current=True)
            if found is None or found.is_leaving or found.key_id != agent.key_id:
                ownership.take_back(request, opened)

    def stored(self, request: Request, agent: OpenAgent, memories: Sequence[Memory]) -> None:
        """Note what a request has stored."""
        request.state.stored = [each.id for each in memories if not each.deduplicated]
        agent.consolidate(memories)

    def registered(
        self,
        request: Request,
        agent_id: str,
        *,
        make: bool = False,
        current: bool = True,
        is_leaving: bool = False,
    ) -> registry.Agent:
        """Return an agent of the request's key.

        Args:
            request: The request.
            agent_id: The agent.
            make: Make an agent with a readable name that does not exist yet.
            current: Otherwise it may be the agent as it was a second ago.
            is_leaving: Also return one whose deletion was interrupted.

        Raises:
            ApiError: the agent does not exist, belongs to another key, or is to be made while
                another process does not finish deleting it.
        """
        key_id, id_ = key_id_of(request), registry.check_agent_id(agent_id)
        found = self.agents.find(id_, current=current)
        if found is None or found.is_leaving:
            found = ownership.settled(self.agents, self.first, key_id, id_, make=make)
        if found is None or found.key_id != key_id or found.is_leaving > is_leaving:
            raise ApiError(404, "Agent not found")
        return found


def agent_of_path(agent_id: str) -> OpenAgent:
    """Describe the agent in the path to FastAPI; `Endpoint` keeps it open."""
    raise NotImplementedError


def service_of(request: Request) -> Service:
    """Return the service of the app that a request came to."""
    return cast(Service, request.app.state.service)


AgentInUse = Annotated[OpenAgent, Depends(agent_of_path)]


def key_id_of(request: Request) -> str:
    """Return the id of the key that a request came with; `NO_KEY` while there is none."""
    return cast(str, request.state.key_id)
