"""All memories of an agent at once: out as one document, in by up to 100 at a time."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request

from langchain_kronvex.core.types import MemoryDraft
from langchain_kronvex.server import queries as engine
from langchain_kronvex.server.api.dialects import memory_object
from langchain_kronvex.server.api.requests import BulkImport, ImportedMemory
from langchain_kronvex.server.api.responses import Answer, ExportAnswer, ImportAnswer
from langchain_kronvex.server.api.router import guarded_router
from langchain_kronvex.server.service import owner_of, service_of

router = guarded_router("memories")
_SECONDS_PER_DAY = 86_400


@router.get("/agents/{agent_id}/memories/export", response_model=ExportAnswer)
def export_memories(agent_id: str, request: Request) -> Answer:
    """Return all memories, newest first, as a document that bulk-import takes."""
    with service_of(request).visit(request, agent_id) as visit:
        found = engine.find(visit.memory, None)
        answer = {
            "agent_id": visit.agent.id,
            "total": len(found),
            "memories": [memory_object(visit.agent.id, each) for each in found],
        }
        headers = {"Content-Disposition": 'attachment; filename="memories.json"'}
        return Answer(answer, headers=headers)


@router.post("/agents/{agent_id}/memories/bulk-import", response_model=ImportAnswer)
def import_memories(agent_id: str, body: BulkImport, request: Request) -> Answer:
    """Store up to 100 memories with their sessions and dates. One that has expired fails alone."""
    service = service_of(request)
    now = service.now()
    drafts = [_draft(memory, now) for memory in body.memories if not _has_expired(memory, now)]
    errors = [
        {"index": index, "error": "it has expired"}
        for index, memory in enumerate(body.memories)
        if _has_expired(memory, now)
    ]
    with service.visit(request, agent_id, make=True) as visit:
        stored = visit.memory.remember_many(drafts)
        visit.opened.removed()  # some may have been there: count anew
    service.usage.count(owner_of(request), "stores", service.today(), len(stored))
    return Answer({"imported": len(stored), "failed": len(errors), "errors": errors})


def _has_expired(memory: ImportedMemory, now: datetime) -> bool:
    expires = _aware(memory.expires_at, now)
    return not memory.pinned and expires is not None and expires <= now


def _draft(memory: ImportedMemory, now: datetime) -> MemoryDraft:
    """Return a draft; an expiry counts when no lifetime is given."""
    created = _aware(memory.created_at, now) or now
    lifetime = memory.lifetime_days
    expires = _aware(memory.expires_at, now)
    if lifetime is None and expires is not None and not memory.pinned:
        lifetime = (expires - created).total_seconds() / _SECONDS_PER_DAY
    return MemoryDraft(
        memory.content,
        memory_type=memory.memory_type,
        ttl_days=lifetime,
        pinned=memory.pinned,
        metadata=memory.metadata,
        created_at=created,
        user_id=memory.scope.user_id,
        session_id=memory.scope.session_id,
    )


def _aware(moment: datetime | None, now: datetime) -> datetime | None:
    """Take a time without a zone as UTC."""
    if moment is None or moment.utcoffset() is not None:
        return moment
    return moment.replace(tzinfo=now.tzinfo)
