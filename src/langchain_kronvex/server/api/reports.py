"""Counts over the memories of an agent, and over the calls of a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import Query, Request

from langchain_kronvex.core.types import Memory, SessionSummary
from langchain_kronvex.server import queries as engine
from langchain_kronvex.server.api.dialects import as_listed, with_offset
from langchain_kronvex.server.api.responses import AnalyticsAnswer, Answer, UsageAnswer
from langchain_kronvex.server.api.router import guarded_router
from langchain_kronvex.server.service import owner_of, service_of

router = guarded_router("reports")
_DAYS = 14
_TOP = 10
_CUT_CHARS = 120


@router.get("/agents/{agent_id}/analytics", response_model=AnalyticsAnswer)
def agent_analytics(
    agent_id: str, request: Request, days: Annotated[int, Query(ge=1, le=3650)] = 14
) -> Answer:
    """Count the memories of an agent; `days` has no effect, the answer covers the last 14."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        memories = engine.find(visit.memory, None)
        sessions = as_listed(engine.sessions(visit.memory))
    top = sorted(memories, key=lambda memory: -memory.access_count)[:_TOP]
    return Answer(
        {
            "agent_id": visit.agent.id,
            "total_memories": len(memories),
            "pinned_memories": sum(memory.pinned for memory in memories),
            "top_memories": [_cut(memory) for memory in top],
            "by_type": Counter(memory.memory_type for memory in memories),
            "sessions": [_session(each) for each in sessions],
            "daily_memories": _daily(memories, service.today()),
        }
    )


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


def _daily(memories: Sequence[Memory], today: date) -> list[dict[str, Any]]:
    """Return how many memories each of the last 14 days (UTC) has, the oldest day first."""
    counts = Counter(memory.created_at.date() for memory in memories)
    days = [today - timedelta(days=back) for back in reversed(range(_DAYS))]
    return [{"date": day.isoformat(), "count": counts[day]} for day in days]


def _cut(memory: Memory) -> dict[str, Any]:
    return {
        "id": memory.id,
        "content": memory.content[:_CUT_CHARS],
        "memory_type": memory.memory_type,
        "access_count": memory.access_count,
        "session_id": memory.session_id or memory.user_id,
        "user_id": memory.user_id,
        "created_at": with_offset(memory.created_at),
    }


def _session(session: SessionSummary) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "memory_count": session.memories,
        "last_at": with_offset(session.last_at),
    }
