"""The three calls of every turn of a chat: remember, recall, inject-context."""

from __future__ import annotations

from fastapi import Request

from langchain_kronvex.core.context_lines import context_text, within
from langchain_kronvex.core.types import MemoryDraft, RecalledMemory
from langchain_kronvex.server import queries as engine
from langchain_kronvex.server.api.dialects import context_answer, memory_object, recall_answer
from langchain_kronvex.server.api.requests import InjectBody, RecallBody, RememberBody
from langchain_kronvex.server.api.responses import Answer, ContextAnswer, MemoryAnswer, RecallAnswer
from langchain_kronvex.server.api.router import guarded_router
from langchain_kronvex.server.client_envelope import envelope_of
from langchain_kronvex.server.service import Visit, owner_of, service_of

router = guarded_router("memory")


@router.post("/agents/{agent_id}/remember", status_code=201, response_model=MemoryAnswer)
def remember(agent_id: str, body: RememberBody, request: Request) -> Answer:
    """Store one memory. An agent with a readable name is made by the first one.

    The same text of the same type, for the same session or user, is stored once: its dates are
    renewed, and the answer has `deduplicated` and the header `X-Dedup-Hit: true`.
    """
    service = service_of(request)
    with service.visit(request, agent_id, make=True) as visit:
        stored = engine.remember(visit.memory, _draft(body), envelope_of(body))
        count = visit.opened.added(0 if stored.deduplicated else 1)
    service.usage.count(owner_of(request), "stores", service.today())
    answer = {**memory_object(visit.agent.id, stored), "agent_memory_count": count}
    return Answer(answer, 201, {"X-Dedup-Hit": "true"} if stored.deduplicated else None)


def _draft(body: RememberBody) -> MemoryDraft:
    return MemoryDraft(
        body.content,
        memory_type=body.memory_type,
        ttl_days=body.lifetime_days,
        pinned=body.pinned,
        metadata=body.metadata,
        user_id=body.scope.user_id,
        session_id=body.scope.session_id,
    )


@router.post("/agents/{agent_id}/recall", response_model=RecallAnswer)
def recall(agent_id: str, body: RecallBody, request: Request) -> Answer:
    """Find the `top_k` most similar memories, the most confident first."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        found = _found(visit, body, everywhere=service.settings.all_sessions)
    service.usage.count(owner_of(request), "recalls", service.today())
    return Answer(recall_answer(body.query, visit.agent.id, found))


def _found(visit: Visit, body: RecallBody, *, everywhere: bool) -> list[RecalledMemory]:
    if everywhere and not body.scope:
        return engine.recall_everywhere(
            visit.memory,
            body.query,
            top_k=body.top_k,
            memory_type=body.memory_type,
            threshold=body.threshold,
        )
    return visit.memory.recall(
        body.query,
        top_k=body.top_k,
        memory_type=body.memory_type,
        threshold=body.threshold,
        include_shared=body.include_shared,
        user_id=body.scope.user_id,
        session_id=body.scope.session_id,
    )


@router.post("/agents/{agent_id}/inject-context", response_model=ContextAnswer)
def inject_context(agent_id: str, body: InjectBody, request: Request) -> Answer:
    """Recall, and write what was found as text for a prompt, one line for each memory."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        if service.settings.all_sessions and not body.scope:
            answer = _context_of_all(visit, body)
        else:
            answer = _context(visit, body)
    service.usage.count(owner_of(request), "injects", service.today())
    return Answer(answer)


def _context(visit: Visit, body: InjectBody) -> dict[str, object]:
    made = visit.memory.inject_context(
        body.message,
        top_k=body.top_k,
        max_tokens=body.max_tokens,
        memory_type=body.memory_type,
        user_id=body.scope.user_id,
        session_id=body.scope.session_id,
    )
    kept = [found for found in made.memories if found.similarity >= body.threshold]
    text = made.context if len(kept) == len(made.memories) else context_text(kept)
    return context_answer(text, visit.agent.id, kept, degraded=made.degraded)


def _context_of_all(visit: Visit, body: InjectBody) -> dict[str, object]:
    found = engine.recall_everywhere(
        visit.memory,
        body.message,
        top_k=body.top_k,
        memory_type=body.memory_type,
        threshold=body.threshold,
    )
    kept = within(found, body.max_tokens)
    return context_answer(context_text(kept), visit.agent.id, kept, degraded=False)
