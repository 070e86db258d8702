"""Memories: listed, changed, erased, exported and imported, one by one or a user's as a whole.

Paths with a fixed word come before those that end in an id. Everything is erased for good, so
`restore` finds only memories that are still there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from langchain_kronvex.core.types import Memory, MemoryDraft
from langchain_kronvex.server import queries
from langchain_kronvex.server.api.requests import (
    BulkDelete,
    BulkImport,
    ImportedMemory,
    ListQuery,
    MemoryChange,
    WhoseQuery,
    lifetime_days,
    scope_of,
    stored_id,
)
from langchain_kronvex.server.api.responses import (
    DeletedAnswer,
    ExportAnswer,
    ImportAnswer,
    JsonResponse,
    ListAnswer,
    MemoryAnswer,
    SessionsAnswer,
    UserEraseAnswer,
    UserExportAnswer,
    as_listed,
    memory_object,
    page_keys,
    with_offset,
)
from langchain_kronvex.server.api.router import guarded_router
from langchain_kronvex.server.http.errors import MEMORY_NOT_FOUND, ApiError
from langchain_kronvex.server.service import OpenAgent, service_of


class AnyText(Convertor[str]):
    """Any text in a path: ids of users may hold slashes and line breaks."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        """Return the text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return the text as it is."""
        return value


register_url_convertor("anytext", AnyText())
router = guarded_router("memories")
_SECONDS_PER_DAY = 86_400


@router.get("/agents/{agent_id}/memories", response_model=ListAnswer)
def list_memories(
    agent_id: str, query: Annotated[ListQuery, Query()], request: Request
) -> JsonResponse:
    """List memories: of one session or user, or without ids of the whole agent."""
    limit, offset = query.bounds
    with service_of(request).use(request, agent_id) as agent:
        found, total = queries.find_page(
            agent.memory,
            scope_of(query.session_id, query.user_id) or None,
            query.memory_type or query.type or None,
            search=query.search or query.q or None,
            oldest_first=query.sort in ("oldest", "date_asc"),
            most_recalled_first=query.sort == "access_count",
            limit=limit,
            offset=offset,
        )
    memories = [memory_object(agent.id, each) for each in found]
    return JsonResponse({"memories": memories, **page_keys(total, limit, offset)})


@router.delete("/agents/{agent_id}/memories", response_model=DeletedAnswer)
def delete_memories(
    agent_id: str, query: Annotated[WhoseQuery, Query()], request: Request
) -> JsonResponse:
    """Erase every memory of the agent, or with ids those of one session or user, for good.

    An empty id is refused: only a request without both ids means every memory.
    """
    with service_of(request).use(request, agent_id) as agent:
        scope = scope_of(query.session_id, query.user_id) or None
        return _deleted(agent, queries.erase(agent.memory, scope))


@router.delete("/agents/{agent_id}/memories/bulk-delete", response_model=DeletedAnswer)
def bulk_delete(agent_id: str, body: BulkDelete, request: Request) -> JsonResponse:
    """Erase the memories that meet every condition given, for good."""
    service = service_of(request)
    wanted = None if body.memory_ids is None else {stored_id(id_) for id_ in body.memory_ids}
    before = _aware(body.before_date, service.now())
    with service.use(request, agent_id) as agent:
        ids = [
            each.id
            for each in queries.find(agent.memory, body.scope or None, body.memory_type)
            if (wanted is None or each.id in wanted)
            and (before is None or each.created_at < before)
        ]
        return _deleted(agent, queries.erase(agent.memory, ids=ids) if ids else 0)


def _deleted(agent: OpenAgent, deleted: int) -> JsonResponse:
    agent.removed()
    return JsonResponse({"deleted": deleted})


@router.get("/agents/{agent_id}/memories/export", response_model=ExportAnswer)
def export_memories(agent_id: str, request: Request) -> JsonResponse:
    """Return all memories, newest first, as a document that bulk-import takes."""
    with service_of(request).use(request, agent_id) as agent:
        found = [memory_object(agent.id, each) for each in queries.find(agent.memory, None)]
    answer = {"agent_id": agent.id, "total": len(found), "memories": found}
    return JsonResponse(answer, headers=_as_file("memories"))


@router.post("/agents/{agent_id}/memories/bulk-import", response_model=ImportAnswer)
def import_memories(agent_id: str, body: BulkImport, request: Request) -> JsonResponse:
    """Store up to 100 memories with their sessions and dates. An expired one fails alone."""
    service = service_of(request)
    now = service.now()
    drafts = [_draft(memory, now) for memory in body.memories if not _has_expired(memory, now)]
    errors = [
        {"index": index, "error": "it has expired"}
        for index, memory in enumerate(body.memories)
        if _has_expired(memory, now)
    ]
    with service.use(request, agent_id, make=True) as agent:
        stored = agent.memory.remember_many(drafts)
        agent.removed()  # some may have been there: count anew
    service.count_calls(request, "stores", len(stored))
    return JsonResponse({"imported": len(stored), "failed": len(errors), "errors": errors})


def _has_expired(memory: ImportedMemory, now: datetime) -> bool:
    expires = _aware(memory.expires_at, now)
    return not memory.pinned and expires is not None and expires <= now


def _draft(memory: ImportedMemory, now: datetime) -> MemoryDraft:
    """Return a draft; `expires_at` counts when no lifetime is given."""
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
    """Return a time with a zone; one without is taken as UTC."""
    if moment is None or moment.utcoffset() is not None:
        return moment
    return moment.replace(tzinfo=now.tzinfo)


@router.get("/agents/{agent_id}/sessions", response_model=SessionsAnswer)
def list_sessions(agent_id: str, request: Request) -> JsonResponse:
    """List the sessions, the last written to first.

    The ids of each, sent as parameters of a listing, list as many memories as it counts.
    """
    with service_of(request).use(request, agent_id) as agent:
        sessions = as_listed(queries.sessions(agent.memory))
    listing = [
        {"session_id": each.session_id, "user_id": each.user_id, "count": each.memories}
        for each in sessions
    ]
    return JsonResponse({"sessions": listing})


@router.get(
    "/agents/{agent_id}/memories/user/{uid:anytext}/export", response_model=UserExportAnswer
)
def export_user(agent_id: str, uid: str, request: Request) -> JsonResponse:
    """Return every memory of one user, and the chats that this package's client keeps here."""
    service = service_of(request)
    with service.use(request, agent_id) as agent:
        found = queries.find_user(agent.memory, uid)
    answer = {
        "user_id": uid,
        "agent_id": agent.id,
        "exported_at": with_offset(service.now()),
        "gdpr_article": "Article 20",
        "memory_count": len(found),
        "memories": [_user_memory(agent.id, each) for each in found],
    }
    return JsonResponse(answer, headers=_as_file("user-export"))


def _user_memory(agent_id: str, memory: Memory) -> dict[str, Any]:
    changed = {"created_at": with_offset(memory.created_at), "last_accessed_at": None}
    return {**memory_object(agent_id, memory), **changed}


@router.delete("/agents/{agent_id}/memories/user/{uid:anytext}", response_model=UserEraseAnswer)
def erase_user(agent_id: str, uid: str, request: Request) -> JsonResponse:
    """Erase everything of one user, chat messages included, from the store's files too."""
    service = service_of(request)
    with service.use(request, agent_id) as agent:
        erased = queries.erase_user(agent.memory, uid)
        agent.removed()
    return JsonResponse(
        {
            "erased": erased,
            "user_id": uid,
            "agent_id": agent.id,
            "erased_at": with_offset(service.now()),
            "gdpr_article": "Article 17",
        }
    )


@router.get("/agents/{agent_id}/memories/{memory_id}", response_model=MemoryAnswer)
def get_memory(agent_id: str, memory_id: str, request: Request) -> JsonResponse:
    """Return one memory."""
    with service_of(request).use(request, agent_id) as agent:
        return JsonResponse(memory_object(agent.id, _existing(agent, memory_id)))


@router.patch("/agents/{agent_id}/memories/{memory_id}", response_model=MemoryAnswer)
def change_memory(
    agent_id: str, memory_id: str, body: MemoryChange, request: Request
) -> JsonResponse:
    """Change the fields given. Pinning a memory removes its expiry."""
    given = body.model_dump(include={"pinned", "memory_type", "metadata"}, exclude_unset=True)
    if body.model_fields_set & {"ttl_days", "ttl_seconds"}:
        given["ttl_days"] = lifetime_days(body.ttl_days, body.ttl_seconds)
    elif given.get("pinned"):
        given["ttl_days"] = None
    with service_of(request).use(request, agent_id) as agent:
        changed = agent.memory.update(_existing(agent, memory_id).id, **given)
        return JsonResponse(memory_object(agent.id, changed))


@router.delete("/agents/{agent_id}/memories/{memory_id}", status_code=204, response_class=Response)
def delete_memory(agent_id: str, memory_id: str, request: Request) -> Response:
    """Erase one memory for good."""
    with service_of(request).use(request, agent_id) as agent:
        if not agent.memory.forget(id=_existing(agent, memory_id).id):
            raise ApiError(404, MEMORY_NOT_FOUND)
        agent.removed()
    return Response(status_code=204)


@router.post("/agents/{agent_id}/memories/{memory_id}/restore", responses={409: {}})
def restore_memory(agent_id: str, memory_id: str, request: Request) -> JsonResponse:
    """Answer 404, since a deleted memory is gone, or 409 for a memory that is not deleted."""
    with service_of(request).use(request, agent_id) as agent:
        _existing(agent, memory_id)
    raise ApiError(409, "Memory is not deleted")


def _existing(agent: OpenAgent, memory_id: str) -> Memory:
    found = agent.memory.get(stored_id(memory_id))
    if found is None:
        raise ApiError(404, MEMORY_NOT_FOUND)
    return found


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.json"'}
