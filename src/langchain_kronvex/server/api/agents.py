"""Agents: create, list, get, change, delete."""

from __future__ import annotations

from dataclasses import replace

from fastapi import Request
from starlette.responses import Response

from langchain_kronvex.server.api.dialects import zulu
from langchain_kronvex.server.api.requests import AgentChange, NewAgent
from langchain_kronvex.server.api.responses import AgentAnswer, Answer
from langchain_kronvex.server.api.router import guarded_router
from langchain_kronvex.server.registry.agents import Agent
from langchain_kronvex.server.service import owner_of, service_of

router = guarded_router("agents")


@router.post("/agents", status_code=201, response_model=AgentAnswer)
def create_agent(body: NewAgent, request: Request) -> Answer:
    """Make an agent. Names need not be unique."""
    agents = service_of(request).agents
    made = agents.create(owner_of(request), body.name, body.description, body.metadata)
    return Answer(_agent_object(made, 0), 201)


@router.get("/agents", response_model=list[AgentAnswer])
def list_agents(request: Request) -> Answer:
    """List the agents of the key, newest first."""
    service = service_of(request)
    listed = []
    for agent in service.agents.all(owner_of(request)):
        with service.opened.use(agent.id) as opened:
            listed.append(_agent_object(agent, opened.count()))
    return Answer(listed)


@router.get("/agents/{agent_id}", response_model=AgentAnswer)
def get_agent(agent_id: str, request: Request) -> Answer:
    """Return one agent."""
    with service_of(request).visit(request, agent_id) as visit:
        return Answer(_agent_object(visit.agent, visit.opened.count()))


@router.patch("/agents/{agent_id}", response_model=AgentAnswer)
def change_agent(agent_id: str, body: AgentChange, request: Request) -> Answer:
    """Change what is given; metadata is replaced, not merged."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        given = body.model_dump(exclude_unset=True)
        changed = replace(visit.agent, **given)
        service.agents.change(changed)
        return Answer(_agent_object(changed, visit.opened.count()))


@router.delete("/agents/{agent_id}", status_code=204, response_class=Response)
def delete_agent(agent_id: str, request: Request) -> Response:
    """Erase an agent and all it remembers, for good."""
    service_of(request).remove(request, agent_id)
    return Response(status_code=204)


def _agent_object(agent: Agent, memories: int) -> dict[str, object]:
    return {
        "id": agent.id,
        "name": agent.name,
        "description": agent.description,
        "metadata": dict(agent.metadata),
        "created_at": zulu(agent.created_at),
        "memory_count": memories,
    }
