"""Agents: create, list, get, change, delete, and counts over their memories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import Query, Request

from langchain_kronvex.core.types import Memory
from langchain_kronvex.server import ownership, queries
from langchain_kronvex.server.api import responses
from langchain_kronvex.server.api.requests import AgentChange, DaysQuery, NewAgent
from langchain_kronvex.server.http.endpoint import guarded_router
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.registry import Agent
from langchain_kronvex.server.service import AgentInUse, key_id_of, service_of

router = guarded_router("agents")
consolidation = guarded_router("agents")  # of servers that have a language model
_DAYS = 14
_TOP = 10
_CUT_CHARS = 120


@router.post("/agents", status_code=201, response_model=responses.AgentAnswer)
def create_agent(body: NewAgent, request: Request) -> dict[str, Any]:
    """Make an agent. Names need not be unique."""
    agents = service_of(request).agents
    made = agents.create(key_id_of(request), body.name, body.description, body.metadata)
    return _agent_object(made, 0)


@router.get("/agents", response_model=list[responses.AgentAnswer])
def list_agents(request: Request) -> list[dict[str, Any]]:
    """List the agents of the key, newest first."""
    service = service_of(request)
    agents = service.agents.all(key_id_of(request))
    return [_agent_object(each, service.memory_count(each.id)) for each in agents]


@router.get("/agents/{agent_id}", response_model=responses.AgentAnswer)
def get_agent(agent: AgentInUse, request: Request) -> dict[str, Any]:
    """Return one agent."""
    return _agent_object(service_of(request).registered(request, agent.id), agent.count())


@router.patch("/agents/{agent_id}", response_model=responses.AgentAnswer)
def change_agent(agent: AgentInUse, body: AgentChange, request: Request) -> dict[str, Any]:
    """Change the fields given; metadata is replaced, not merged."""
    service = service_of(request)
    known = service.registered(request, agent.id)
    changed = replace(known, **body.model_dump(exclude_unset=True))
    if not service.agents.change(changed):
        raise ApiError(404, "Agent not found")
    return _agent_object(changed, agent.count())


@router.delete("/agents/{agent_id}", status_code=204)
def delete_agent(agent_id: str, request: Request) -> None:
    """Erase an agent and all its memories for good."""
    ownership.remove(service_of(request), request, agent_id)


@router.get("/agents/{agent_id}/analytics", response_model=responses.AnalyticsAnswer)
def agent_analytics(
    agent: AgentInUse, query: Annotated[DaysQuery, Query()], request: Request
) -> dict[str, Any]:
    """Count the memories of an agent."""
    memories = queries.find(agent.memory, None)
    top = sorted(memories, key=lambda memory: -memory.access_count)[:_TOP]
    shown = [replace(memory, content=memory.content[:_CUT_CHARS]) for memory in top]
    return {
        "agent_id": agent.id,
        "total_memories": len(memories),
        "pinned_memories": sum(memory.pinned for memory in memories),
        "top_memories": [responses.report_object(agent.id, memory) for memory in shown],
        "by_type": Counter(memory.memory_type for memory in memories),
        "sessions": responses.session_objects(queries.sessions(agent.memory)),
        "daily_memories": _daily(memories, service_of(request).now().date()),
    }


@consolidation.post("/agents/{agent_id}/consolidate")
def consolidate_agent(agent: AgentInUse) -> dict[str, str]:
    """Consolidate, in the background, all users who have said something new."""
    if consolidator := agent.consolidator:
        for user_id in consolidator.waiting():
            consolidator.wake(user_id)
    return {"status": "consolidation_queued", "agent_id": agent.id}


def _agent_object(agent: Agent, memories: int) -> dict[str, Any]:
    about = {name: getattr(agent, name) for name in ("id", "name", "description", "metadata")}
    return {**about, "created_at": responses.zulu(agent.created_at), "memory_count": memories}


def _daily(memories: Sequence[Memory], today: date) -> list[dict[str, Any]]:
    """Return how many memories each of the last days (UTC) has, the oldest day first."""
    counts = Counter(memory.created_at.date() for memory in memories)
    days = [today - timedelta(days=back) for back in reversed(range(_DAYS))]
    return [{"date": day.isoformat(), "count": counts[day]} for day in days]
