"""What the endpoints share: the agents of a key and their memories, opened and guarded."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast

from starlette.requests import Request

from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server import queries as engine
from langchain_kronvex.server.fair_queue import Turns
from langchain_kronvex.server.http.errors import AGENT_NOT_FOUND, Refused
from langchain_kronvex.server.memory_pool import OpenAgent, OpenAgents
from langchain_kronvex.server.registry.agents import NOBODY, Agent, Agents, check_agent_id, is_uuid
from langchain_kronvex.server.registry.api_keys import ApiKeys
from langchain_kronvex.server.settings import ServerSettings
from langchain_kronvex.server.usage import Usage


@dataclass(frozen=True, slots=True)
class Visit:
    """One request at one agent."""

    agent: Agent
    opened: OpenAgent

    @property
    def memory(self) -> KronvexMemory:
        """The agent's memory."""
        return self.opened.memory


class Service:
    """The engine behind one app.

    Args:
        memory: Says where all agents' memories are kept; its own agent is served too.
        settings: What the server allows.
    """

    def __init__(self, memory: KronvexMemory, settings: ServerSettings) -> None:
        engine.check_servable(memory)
        self._first = memory
        self._clock = engine.clock_of(memory)
        self.settings = settings
        shelves = engine.shelves_beside(memory)
        self.keys = ApiKeys(shelves, self._clock)
        self.agents = Agents(shelves, self._clock)
        self.usage = Usage()
        self.turns = Turns(one_by_one=engine.only_computes(memory))
        self.opened = OpenAgents(
            memory,
            lambda agent_id: engine.beside(memory, agent_id, settings.cache_megabytes),
            None if engine.is_in_ram(memory) else settings.open_memories,
        )
        self._removals = 0
        self._removing = threading.Lock()
        self.close = weakref.finalize(self, _close, self.opened, self.turns, shelves)

    def now(self) -> datetime:
        """Return the time of the memory's clock."""
        return cast(datetime, self._clock())

    def today(self) -> date:
        """Return the day, UTC."""
        return self.now().date()

    @contextmanager
    def visit(self, request: Request, agent_id: str, *, make: bool = False) -> Iterator[Visit]:
        """Keep an agent of the asking key open.

        Args:
            request: Who asks.
            agent_id: Which agent.
            make: Make an agent of a readable name that does not exist yet.

        Raises:
            Refused: there is no such agent, or it is another key's.
        """
        owner, id_ = owner_of(request), check_agent_id(agent_id)
        removals = self._removals
        agent = self._agent(owner, id_, make=make)
        with self.opened.use(agent.id) as opened:
            if removals != self._removals:  # it may have been removed before we were at it
                agent = self._agent(owner, id_, make=make)
            yield Visit(agent, opened)

    def remove(self, request: Request, agent_id: str) -> None:
        """Erase an agent with all it remembers, when no other request is at it.

        Raises:
            Refused: there is no such agent, or it is another key's.
        """
        owner, id_ = owner_of(request), check_agent_id(agent_id)
        self._agent(owner, id_)
        with self.opened.use_alone(id_) as opened:
            agent = self.agents.find(owner, id_)
            if agent is None:  # another request has removed it meanwhile
                raise Refused(404, AGENT_NOT_FOUND)
            opened.memory.clear()
            with self._removing:
                self._removals += 1
            self.agents.remove(agent)
            opened.removed()

    def _agent(self, owner: str, agent_id: str, *, make: bool = False) -> Agent:
        found = self.agents.find(owner, agent_id)
        if found is None and self._may_register(owner, agent_id, make=make):
            found = self.agents.register(owner, agent_id)
        if found is None:
            raise Refused(404, AGENT_NOT_FOUND)
        return found

    def _may_register(self, owner: str, agent_id: str, *, make: bool) -> bool:
        """Tell whether an agent that is not registered may become this owner's.

        What programs keep in this store without a server is for whoever needs no key; a key gets
        new names only, or what it is given when it is made.
        """
        if owner == NOBODY and agent_id == self._first.agent_id:
            return make or engine.holds_anything(self._first, agent_id)
        if not make or is_uuid(agent_id):
            return False
        return owner == NOBODY or not any(
            self._is_of_others(owner, each) for each in engine.of_one_owner(agent_id)
        )

    def _is_of_others(self, owner: str, agent_id: str) -> bool:
        agent_id = agent_id.lower() if is_uuid(agent_id) else agent_id
        if self.agents.is_registered(agent_id):
            return self.agents.find(owner, agent_id) is None
        return bool(agent_id.strip()) and engine.holds_anything(self._first, agent_id)


def service_of(request: Request) -> Service:
    """Return the service of the app that a request came to."""
    return cast(Service, request.app.state.service)


def owner_of(request: Request) -> str:
    """Return the id of the key that a request came with."""
    return cast(str, request.state.owner)


def _close(opened: OpenAgents, turns: Turns, shelves: object) -> None:
    opened.close()
    turns.close()
    getattr(shelves, "close", lambda: None)()
