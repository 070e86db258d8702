"""Memories: listed, changed, erased, exported and imported, one by one or a user's as a whole.

Paths with a fixed word come before those that end in an id. Everything is erased for good, so
`restore` finds only memories that are still there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.convertors import PathConvertor, register_url_convertor

from langchain_kronvex.core.errors import MemoryNotFound
from langchain_kronvex.core.records import Page
from langchain_kronvex.core.types import Memory
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server import queries
from langchain_kronvex.server.api import requests, responses
from langchain_kronvex.server.api.requests import ListQuery, WhoseQuery, stored_id
from langchain_kronvex.server.api.responses import JsonResponse
from langchain_kronvex.server.http.endpoint import guarded_router
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.service import AgentInUse, OpenAgent, service_of


class AnyText(PathConvertor):
    """Any text in a path: ids of users may hold slashes and line breaks."""

    regex = r"[\s\S]+"


register_url_convertor("anytext", AnyText())
router = guarded_router("memories", "/api/v1/agents/{agent_id}")


@router.get("/memories", response_model=responses.ListAnswer)
def list_memories(agent: AgentInUse, query: Annotated[ListQuery, Query()]) -> dict[str, Any]:
    """List memories: of one session or user, or without ids of the whole agent."""
    limit, offset = query.bounds
    found, total = _page(agent.memory, query)
    memories = [responses.memory_object(agent.id, each) for each in found]
    return {"memories": memories, **responses.page_keys(total, limit, offset)}


def _page(memory: KronvexMemory, query: ListQuery) -> tuple[list[Memory], int]:
    """Return the memories of a page, and how many there are on all pages."""
    scope, (limit, offset) = query.scope or None, query.bounds
    order = Page(by="created", newest_first=query.sort not in ("oldest", "date_asc"))
    if not query.memory_type and not query.search and query.sort != "access_count":
        # The store itself can count, and choose the page.
        total = sum(session.memories for session in queries.sessions(memory, scope))
        page = replace(order, limit=limit, offset=offset)
        return queries.find(memory, scope, page=page), total
    found = queries.find(memory, scope, query.memory_type or None, order)
    if query.search:
        text = query.search.casefold()
        found = [each for each in found if text in each.content.casefold()]
    if query.sort == "access_count":
        found.sort(key=lambda each: -each.access_count)
    return found[offset : offset + limit], len(found)


@router.delete("/memories", response_model=responses.DeletedAnswer)
def delete_memories(
    agent: AgentInUse, query: Annotated[WhoseQuery, Query()], request: Request
) -> dict[str, Any]:
    """Erase every memory of the agent, or with ids those of one session or user, for good.

    An empty id is rejected: only a request without both ids means every memory.
    """
    return _deleted(request, agent, queries.erase(agent.memory, query.scope or None))


@router.delete("/memories/bulk-delete", response_model=responses.DeletedAnswer)
def bulk_delete(agent: AgentInUse, body: requests.BulkDelete, request: Request) -> dict[str, Any]:
    """Erase the memories that meet every condition given, for good."""
    wanted = None if body.memory_ids is None else {stored_id(id_) for id_ in body.memory_ids}
    before = body.before_date
    found = queries.find(agent.memory, body.scope or None, body.memory_type)
    dated = [each.id for each in found if before is None or each.created_at < before]
    ids = [id_ for id_ in dated if wanted is None or id_ in wanted]
    return _deleted(request, agent, queries.erase(agent.memory, ids=ids) if ids else 0)


def _deleted(request: Request, agent: OpenAgent, deleted: int) -> dict[str, Any]:
    service_of(request).erased(agent, deleted)
    return {"deleted": deleted}


@router.get("/memories/export", response_model=responses.ExportAnswer)
def export_memories(agent: AgentInUse) -> JsonResponse:
    """Return all memories, newest first, as a document that bulk-import takes."""
    found = [responses.memory_object(agent.id, each) for each in queries.find(agent.memory, None)]
    answer = {"agent_id": agent.id, "total": len(found), "memories": found}
    return JsonResponse(answer, headers=_as_file("memories"))


@router.post("/memories/bulk-import", response_model=responses.ImportAnswer)
def import_memories(agent_id: str, body: requests.BulkImport, request: Request) -> dict[str, Any]:
    """Store up to 100 memories with their sessions and dates. An expired one fails alone."""
    service = service_of(request)
    now = service.now()
    drafts, errors = [], []
    for index, each in enumerate(body.memories):
        if each.expiry is not None and each.expiry <= now:
            errors.append({"index": index, "error": "it has expired"})
        else:
            drafts.append(each.dated_draft(now))
    with service.use(request, agent_id, make=True) as agent:
        stored = agent.memory.remember_many(drafts)
        agent.removed()  # some may have been there: count anew
        service.stored(request, agent, stored)
    service.count_calls(request, "stores", len(stored))
    return {"imported": len(stored), "failed": len(errors), "errors": errors}


@router.get("/sessions", response_model=responses.SessionsAnswer)
def list_sessions(agent: AgentInUse) -> dict[str, Any]:
    """List the sessions, the last written to first.

    The ids of each, sent as parameters of a listing, list as many memories as it counts.
    """
    sessions = responses.session_objects(queries.sessions(agent.memory))
    return {"sessions": sessions}


@router.get("/memories/user/{uid:anytext}/export", response_model=responses.UserExportAnswer)
def export_user(agent: AgentInUse, uid: str, request: Request) -> JsonResponse:
    """Return every memory of one user, and the chats that this package's client keeps here."""
    found = queries.find_user(agent.memory, uid)
    exported_at = responses.with_offset(service_of(request).now())
    reports = [responses.UserMemory(**responses.report_object(agent.id, each)) for each in found]
    about = {"user_id": uid, "agent_id": agent.id, "exported_at": exported_at}
    kept = {"memory_count": len(found), "memories": reports}
    answer = {**about, **kept, "gdpr_article": "Article 20"}
    return JsonResponse(answer, headers=_as_file("user-export"))


@router.delete("/memories/user/{uid:anytext}")
def erase_user(agent: AgentInUse, uid: str, request: Request) -> responses.UserEraseAnswer:
    """Erase everything of one user, chat messages included, from the store's files too."""
    erased, service = queries.erase_user(agent.memory, uid), service_of(request)
    service.erased(agent, erased)
    erased_at = responses.with_offset(service.now())
    return responses.UserEraseAnswer(
        erased=erased, user_id=uid, agent_id=agent.id, erased_at=erased_at
    )


@router.get("/memories/{memory_id}", response_model=responses.MemoryAnswer)
def get_memory(agent: AgentInUse, memory_id: str) -> dict[str, Any]:
    """Return one memory."""
    return responses.memory_object(agent.id, _existing(agent, memory_id))


@router.patch("/memories/{memory_id}", response_model=responses.MemoryAnswer)
def change_memory(agent: AgentInUse, memory_id: str, body: requests.MemoryChange) -> dict[str, Any]:
    """Change the fields given. Pinning a memory removes its expiry."""
    given = body.model_dump(
        include={"content", "pinned", "memory_type", "metadata"}, exclude_unset=True
    )
    if body.model_fields_set & {"ttl_days", "ttl_seconds"}:
        given["ttl_days"] = requests.lifetime_days(body.ttl_days, body.ttl_seconds)
    elif given.get("pinned"):
        given["ttl_days"] = None
    changed = agent.memory.update(_existing(agent, memory_id).id, **given)
    agent.consolidate([changed])
    return responses.memory_object(agent.id, changed)


@router.delete("/memories/{memory_id}", status_code=204)
def delete_memory(agent: AgentInUse, memory_id: str, request: Request) -> None:
    """Erase one memory for good."""
    if not agent.memory.forget(id=_existing(agent, memory_id).id):
        raise MemoryNotFound
    service_of(request).erased(agent, 1)


@router.get("/memories/{memory_id}/history", response_model=responses.HistoryAnswer)
def memory_history(agent: AgentInUse, memory_id: str) -> dict[str, Any]:
    """Return a memory with all that it superseded and all that superseded it, oldest first."""
    found = agent.memory.history(_existing(agent, memory_id).id)
    return {"memories": [responses.memory_object(agent.id, each) for each in found]}


@router.post(
    "/memories/{memory_id}/restore", response_model=responses.MemoryAnswer, responses={409: {}}
)
def restore_memory(agent: AgentInUse, memory_id: str) -> dict[str, Any]:
    """Bring back a superseded memory.

    The answer is 404 for a deleted one, which is gone, and 409 for one that is neither.
    """
    if _existing(agent, memory_id).superseded_by is None:
        raise ApiError(409, "Memory is not deleted or superseded")
    return responses.memory_object(agent.id, agent.memory.restore(stored_id(memory_id)))


def _existing(agent: OpenAgent, memory_id: str) -> Memory:
    found = agent.memory.get(stored_id(memory_id))
    if found is None:
        raise MemoryNotFound
    return found


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.json"'}
