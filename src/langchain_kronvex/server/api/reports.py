"""Health, analytics and usage: counted over what is stored when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Query, Request

from langchain_kronvex.core.types import Memory
from langchain_kronvex.server import queries as engine
from langchain_kronvex.server.api import reports_math as insights
from langchain_kronvex.server.api.responses import (
    AnalyticsAnswer,
    Answer,
    GlobalAnswer,
    HealthAnswer,
    UsageAnswer,
    WeeklyAnswer,
)
from langchain_kronvex.server.api.router import guarded_router
from langchain_kronvex.server.registry.agents import Agent
from langchain_kronvex.server.service import Service, owner_of, service_of

router = guarded_router("reports")


@router.get("/agents/{agent_id}/health", response_model=HealthAnswer)
def agent_health(agent_id: str, request: Request) -> Answer:
    """Tell how an agent's memory does."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        return Answer(insights.health(engine.find(visit.memory, None), service.now()))


@router.get("/agents/{agent_id}/analytics", response_model=AnalyticsAnswer)
def agent_analytics(
    agent_id: str, request: Request, days: Annotated[int, Query(ge=1, le=3650)] = 14
) -> Answer:
    """Count the memories of an agent; `days` has no effect, the last 14 are told one by one."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        counts = insights.analytics(engine.find(visit.memory, None), service.today())
        return Answer({"agent_id": visit.agent.id, **counts})


@router.get("/usage/today", response_model=UsageAnswer)
def usage_today(request: Request) -> Answer:
    """Count the key's calls of today (UTC), since the server started."""
    service = service_of(request)
    calls = service.usage.of(owner_of(request), service.today())
    return Answer(
        {
            "today": {**calls, "tokens": 0},
            "limits": {"recalls_day": None, "stores_day": None},
            "cost_estimate_today_eur": 0.0,
        }
    )


@router.get("/stats/weekly", response_model=WeeklyAnswer)
def weekly_stats(request: Request) -> Answer:
    """Count the memories of the last 14 days, over all agents of the key."""
    service = service_of(request)
    memories = [memory for _, found in _everything(request) for memory in found]
    days = insights.daily(memories, service.today())
    return Answer({"daily_memories": days, "total": sum(day["count"] for day in days)})


@router.get("/analytics/global", response_model=GlobalAnswer)
def global_analytics(request: Request) -> Answer:
    """Count over all agents of the key."""
    counted = [(agent, len(found), found) for agent, found in _everything(request)]
    memories = [memory for _, _, found in counted for memory in found]
    return Answer(
        {
            "total_agents": len(counted),
            "total_memories": len(memories),
            "pinned_memories": sum(memory.pinned for memory in memories),
            "by_type": insights.by_type(memories),
            "agents": [
                {"id": agent.id, "name": agent.name, "memory_count": count}
                for agent, count, _ in counted
            ],
            "daily_memories": insights.daily(memories, service_of(request).today()),
        }
    )


def _everything(request: Request) -> Iterator[tuple[Agent, list[Memory]]]:
    service: Service = service_of(request)
    for agent in service.agents.all(owner_of(request)):
        with service.opened.use(agent.id) as opened:
            yield agent, engine.find(opened.memory, None)
