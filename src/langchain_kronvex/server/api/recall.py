"""The calls of every exchange of a chat: remember, recall, inject-context; and explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import Request

from langchain_kronvex.core.context_lines import context_text, within
from langchain_kronvex.core.types import RecalledMemory
from langchain_kronvex.server import queries
from langchain_kronvex.server.api import requests, responses
from langchain_kronvex.server.api.responses import JsonResponse
from langchain_kronvex.server.http.endpoint import guarded_router
from langchain_kronvex.server.service import AgentInUse, service_of

_PREFIX = "/api/v1/agents/{agent_id}"
router = guarded_router("memory", _PREFIX)


@router.post("/recall", response_model=responses.RecallAnswer)
def recall(agent: AgentInUse, body: requests.RecallBody, request: Request) -> dict[str, Any]:
    """Find the `top_k` most similar memories, by confidence and updates first."""
    service, scope = service_of(request), body.scope
    if service.settings.all_sessions and not scope:
        found = queries.recall_everywhere(agent.memory, body.query, body)
    else:
        recaller = agent.memory.engine.recaller
        asked = recaller.request(body.query, scope, **body.conditions())
        # This package's client keeps sessions apart that are one session here.
        found = recaller.recall(asked, "confidence", distinct=False)
    service.count_calls(request, "recalls")
    return responses.recall_answer(body.query, agent.id, found)


@router.post("/explain", response_model=responses.ExplainAnswer)
def explain(agent: AgentInUse, body: requests.ExplainBody) -> dict[str, Any]:
    """Explain why `/recall` with the same fields returns a memory, or does not.

    Without ids, the memory is one of the agent's own.
    """
    recaller = agent.memory.engine.recaller
    asked = recaller.request(body.query, body.scope, **body.conditions())
    id_ = requests.stored_id(body.memory_id)
    return asdict(recaller.explain(asked, id_, "confidence", distinct=False))


@router.post("/remember", status_code=201, response_model=responses.MemoryAnswer)
def remember(agent_id: str, body: requests.RememberBody, request: Request) -> JsonResponse:
    """Store one memory. The first one makes an agent with a readable name.

    The same text of the same type, for the same session or user, is stored once: its dates are
    renewed, and the answer has `deduplicated` and the header `X-Dedup-Hit: true`.
    """
    service = service_of(request)
    with service.use(request, agent_id, make=True) as agent:
        stored = queries.remember(agent.memory, body.draft(), queries.envelope_of(body))
        count = agent.added(0 if stored.deduplicated else 1)
        service.stored(request, agent, [stored])
    service.count_calls(request, "stores")
    answer = {**responses.memory_object(agent.id, stored), "agent_memory_count": count}
    return JsonResponse(answer, 201, {"X-Dedup-Hit": "true"} if stored.deduplicated else None)


@router.post("/inject-context", response_model=responses.ContextAnswer)
def inject_context(
    agent: AgentInUse, body: requests.InjectBody, request: Request
) -> dict[str, Any]:
    """Recall memories and format them as text for a prompt, one line for each memory.

    A blank message gives the profile: what is true of the user now.
    """
    service = service_of(request)
    kept: Sequence[RecalledMemory]
    if service.settings.all_sessions and not body.scope:
        found = queries.recall_everywhere(agent.memory, body.message, body)
        kept, degraded = within(found, body.max_tokens), False
        text = context_text(kept)
    else:
        user, session = body.scope.user_id, body.scope.session_id
        asked = body.conditions()
        made = agent.memory.inject_context(body.message, user_id=user, session_id=session, **asked)
        text, kept, degraded = made.context, made.memories, made.degraded
    service.count_calls(request, "injects")
    return responses.context_answer(text, agent.id, kept, degraded=degraded)
