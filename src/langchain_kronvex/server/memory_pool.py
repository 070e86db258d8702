"""The memories of agents: opened when first asked for, closed when not asked for."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from langchain_kronvex.memory.memory import KronvexMemory

_COUNT_SECONDS = 10.0  # other processes write to the store, and memories expire


@dataclass(slots=True)
class OpenAgent:
    """One agent's memory while it is open; `users` counts the requests that are at it."""

    agent_id: str
    open: Callable[[str], KronvexMemory]
    users: int = 0
    _memory: KronvexMemory | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _count: int | None = None
    _counted_at: float = 0.0

    @property
    def memory(self) -> KronvexMemory:
        """The memory, opened on first use."""
        with self._lock:
            if self._memory is None:
                self._memory = self.open(self.agent_id)
            return self._memory

    def close(self) -> None:
        """Close the memory, if it was opened."""
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
    """Keeps the memories used last; closes one only when nobody is using it.

    Args:
        first: The memory the server was given; it belongs to its owner and is never closed here.
        open: Opens the memory of another agent in the same place.
        most: How many may stay open; None for all, when closing would lose them.
    """

    def __init__(
        self, first: KronvexMemory, open: Callable[[str], KronvexMemory], most: int | None
    ) -> None:
        self._first = first
        self._open = open
        self._most = most
        self._changed = threading.Condition()
        self._agents: OrderedDict[str, OpenAgent] = OrderedDict()
        self._alone: set[str] = set()

    @contextmanager
    def use(self, agent_id: str) -> Iterator[OpenAgent]:
        """Keep an agent's memory open for the time of one request."""
        with self._changed:
            self._changed.wait_for(lambda: agent_id not in self._alone)
            agent = self._agent(agent_id)
            agent.users += 1
        try:
            yield agent
        finally:
            with self._changed:
                agent.users -= 1
                self._changed.notify_all()
            self._close_surplus()

    @contextmanager
    def use_alone(self, agent_id: str) -> Iterator[OpenAgent]:
        """Wait until no other request is at this agent, and hold new ones up meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: agent_id not in self._alone)
            self._alone.add(agent_id)
            self._changed.wait_for(lambda: self._agent(agent_id).users == 0)
            agent = self._agent(agent_id)
        try:
            yield agent
        finally:
            with self._changed:
                self._alone.discard(agent_id)
                self._changed.notify_all()

    def close(self) -> None:
        """Close every memory opened here."""
        with self._changed:
            agents = list(self._agents.values())
            self._agents.clear()
        for agent in agents:
            self._close(agent)

    def _agent(self, agent_id: str) -> OpenAgent:
        agent = self._agents.get(agent_id)
        if agent is None:
            agent = self._agents[agent_id] = OpenAgent(agent_id, self._opened)
        self._agents.move_to_end(agent_id)
        return agent

    def _opened(self, agent_id: str) -> KronvexMemory:
        return self._first if agent_id == self._first.agent_id else self._open(agent_id)

    def _close_surplus(self) -> None:
        with self._changed:
            idle = [
                a for a in self._agents.values() if not a.users and a.agent_id not in self._alone
            ]
            over = 0 if self._most is None else len(self._agents) - self._most
            surplus = [self._agents.pop(agent.agent_id) for agent in idle[: max(over, 0)]]
        for agent in surplus:
            self._close(agent)

    def _close(self, agent: OpenAgent) -> None:
        if agent.agent_id != self._first.agent_id:
            agent.close()
