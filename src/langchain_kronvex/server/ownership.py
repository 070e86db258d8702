"""Which agents a key may make, and how one is deleted while other processes use it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.requests import Request

from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server import queries, registry
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.storage.record import is_uuid

if TYPE_CHECKING:
    from langchain_kronvex.server.service import OpenAgent, Service

_AGAIN = {"Retry-After": "1"}
_LOOKS = 10  # at a name that is not registered and holds something
_LOOK_SECONDS = 0.05


def settled(
    agents: registry.Agents, first: KronvexMemory, key_id: str, agent_id: str, *, make: bool
) -> registry.Agent | None:
    """Return an agent that was not found, or found leaving: make it if the key may.

    Raises:
        ApiError: another process does not finish deleting it.
    """
    for look in range(_LOOKS if make else 1):
        if look:  # what the name holds may be what another request stores, or takes back, just now
            time.sleep(_LOOK_SECONDS)
        found = agents.find_settled(agent_id) if make else agents.find(agent_id, current=True)
        if found is not None:
            if found.is_leaving and make:
                detail = "The agent is being deleted. If that does not end, delete it again."
                raise ApiError(503, detail, _AGAIN)
            return found
        if _may_make(agents, first, key_id, agent_id, make=make):
            made = agents.register(key_id, agent_id)
            if made.is_leaving:  # another process has made it, and deletes it
                continue
            if made.key_id != key_id or _may_make(agents, first, key_id, agent_id, make=make):
                return made
            agents.remove(made)  # another process has just given its companion to another key
    return None


def remove(service: Service, request: Request, agent_id: str) -> None:
    """Erase an agent with all its memories, when no other request of this process uses it.

    Those of other processes that use it notice before they answer; see `take_back`.

    Raises:
        ApiError: the agent does not exist, or belongs to another key.
    """
    id_ = registry.check_agent_id(agent_id)
    service.registered(request, id_, is_leaving=True)
    with service.open_agents.use_alone(id_) as opened:
        service.agents.find_settled(id_)  # others may delete it, unless they were interrupted
        agent = service.registered(request, id_, is_leaving=True)
        if not service.agents.leave(agent):
            raise ApiError(404, "Agent not found")
        erased = opened.memory.clear()
        service.agents.remove(agent)
        service.erased(opened, erased, whole=True)


def take_back(request: Request, agent: OpenAgent) -> None:
    """Erase what a request has stored in an agent that was deleted meanwhile, and reject it.

    Raises:
        ApiError: always.
    """
    if not (ids := getattr(request.state, "stored", None)):
        raise ApiError(404, "Agent not found")
    queries.erase(agent.memory, ids=ids)
    raise ApiError(503, "The agent was deleted meanwhile. Send it again.", _AGAIN)


def _may_make(
    agents: registry.Agents, first: KronvexMemory, key_id: str, agent_id: str, *, make: bool
) -> bool:
    """Return whether an agent that is not registered may become this key's.

    Agents that programs keep in this store without a server belong to callers without a key.
    A key gets new names only, or the agents named when the key is made.
    """
    if key_id == registry.NO_KEY and agent_id == first.agent_id:
        return make or queries.holds_anything(first, agent_id)
    if not make or is_uuid(agent_id):
        return False
    return key_id == registry.NO_KEY or not any(
        _belongs_to_another_key(agents, first, key_id, each)
        for each in queries.with_companion(agent_id)
    )


def _belongs_to_another_key(
    agents: registry.Agents, first: KronvexMemory, key_id: str, agent_id: str
) -> bool:
    agent_id = agent_id.lower() if is_uuid(agent_id) else agent_id
    if found := agents.find(agent_id, current=True):
        return found.key_id != key_id
    return bool(agent_id.strip()) and queries.holds_anything(first, agent_id)
