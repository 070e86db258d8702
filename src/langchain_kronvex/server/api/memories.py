"""Memories one by one, listed, and a user's as a whole.

Paths with a fixed word come before those that end in an id. Everything erased is erased for good,
so `restore` finds nothing but memories that are still there.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.types import Memory, Scope
from langchain_kronvex.server import queries as engine
from langchain_kronvex.server.api.dialects import (
    as_listed,
    memory_object,
    page_keys,
    stored_id,
    whose,
    with_offset,
)
from langchain_kronvex.server.api.paging import Listing, Order, bounds, listed
from langchain_kronvex.server.api.requests import BulkDelete, MemoryChange, lifetime_days
from langchain_kronvex.server.api.responses import (
    Answer,
    DeletedAnswer,
    ListAnswer,
    MemoryAnswer,
    SessionsAnswer,
    UserEraseAnswer,
    UserExportAnswer,
)
from langchain_kronvex.server.api.router import guarded_router
from langchain_kronvex.server.http.errors import MEMORY_NOT_FOUND, Refused, invalid
from langchain_kronvex.server.service import Visit, service_of


class Anyone(Convertor[str]):
    """Any text in a path: ids of users may hold slashes and line breaks."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        """Take the text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Take the text as it is."""
        return value


register_url_convertor("anyone", Anyone())
router = guarded_router("memories")
_FAR = 1 << 53

Ids = Annotated[str | None, Query(max_length=255)]
GivenId = Annotated[str | None, Query(min_length=1, max_length=255)]
Position = Annotated[int | None, Query(ge=0, le=_FAR)]


def _names_one(request: Request) -> None:
    """Refuse an id that is given twice: others on the way may have looked at the other one.

    Raises:
        Refused: it is.
    """
    for name in ("session_id", "user_id"):
        if len(request.query_params.getlist(name)) > 1:
            raise Refused(422, [invalid("query", f"{name} is given more than once.")])


@router.get(
    "/agents/{agent_id}/memories", response_model=ListAnswer, dependencies=[Depends(_names_one)]
)
def list_memories(
    agent_id: str,
    request: Request,
    page: Annotated[int, Query(ge=1, le=_FAR)] = 1,
    per_page: Annotated[int | None, Query(ge=1, le=100)] = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
    offset: Position = None,
    session_id: Ids = None,
    user_id: Ids = None,
    memory_type: str | None = None,
    type: str | None = None,
    search: str | None = None,
    q: str | None = None,
    sort: Order = "recent",
) -> Answer:
    """List memories: of one session or user, or without ids of the whole agent."""
    size, start = bounds(page, per_page, limit, offset)
    wanted = Listing(
        scope=whose(session_id, user_id) or None,
        memory_type=checks.check_text(memory_type or type or "", "memory_type") or None,
        search=search or q or None,
        sort=sort,
        limit=size,
        offset=start,
    )
    with service_of(request).visit(request, agent_id) as visit:
        found, total = listed(visit.memory, wanted)
        memories = [memory_object(visit.agent.id, each) for each in found]
        return Answer({"memories": memories, **page_keys(total, size, start)})


async def _says_nothing_else(request: Request) -> None:
    """Refuse what was meant to narrow down what is erased, and would not.

    Raises:
        Refused: there is a body, or an unknown parameter.
    """
    if set(request.query_params) - {"session_id", "user_id"}:
        raise Refused(422, [invalid("query", "Only session_id and user_id are known here.")])
    if (await request.body()).strip() not in (b"", b"{}", b"null"):
        raise Refused(422, [invalid("body", "This takes no body; name ids as parameters.")])


@router.delete(
    "/agents/{agent_id}/memories",
    response_model=DeletedAnswer,
    dependencies=[Depends(_names_one), Depends(_says_nothing_else)],
)
def delete_memories(
    agent_id: str, request: Request, session_id: GivenId = None, user_id: GivenId = None
) -> Answer:
    """Erase every memory of the agent, or with ids those of one session or user, for good.

    An id that is empty is refused: only without both is it every memory.
    """
    with service_of(request).visit(request, agent_id) as visit:
        return _erased(visit, scope=whose(session_id, user_id) or None)


def _has_no_parameters(request: Request) -> None:
    if request.query_params:
        raise Refused(422, [invalid("query", "No parameters are known here; send a body.")])


@router.delete(
    "/agents/{agent_id}/memories/bulk-delete",
    response_model=DeletedAnswer,
    dependencies=[Depends(_has_no_parameters)],
)
def bulk_delete(agent_id: str, body: BulkDelete, request: Request) -> Answer:
    """Erase the memories that meet every condition given, for good."""
    with service_of(request).visit(request, agent_id) as visit:
        wanted = None if body.memory_ids is None else {stored_id(id_) for id_ in body.memory_ids}
        before = body.before_date
        if before is not None and before.utcoffset() is None:
            before = before.replace(tzinfo=service_of(request).now().tzinfo)
        found = engine.find(visit.memory, body.scope or None, body.memory_type)
        ids = [
            each.id
            for each in found
            if (wanted is None or each.id in wanted)
            and (before is None or each.created_at < before)
        ]
        return _erased(visit, ids=ids)


@router.get("/agents/{agent_id}/sessions", response_model=SessionsAnswer)
def list_sessions(agent_id: str, request: Request) -> Answer:
    """List the sessions, the last written to first.

    The ids of each, sent as parameters of a listing, list as many memories as it counts.
    """
    with service_of(request).visit(request, agent_id) as visit:
        sessions = as_listed(engine.sessions(visit.memory))
    listing = [
        {"session_id": each.session_id, "user_id": each.user_id, "count": each.memories}
        for each in sessions
    ]
    return Answer({"sessions": listing})


@router.get("/agents/{agent_id}/memories/user/{uid:anyone}/export", response_model=UserExportAnswer)
def export_user(agent_id: str, uid: str, request: Request) -> Answer:
    """Return every memory of one user, and the chats that this package's client keeps here."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        found = engine.find_user(visit.memory, uid)
        answer = {
            "user_id": uid,
            "agent_id": visit.agent.id,
            "exported_at": with_offset(service.now()),
            "gdpr_article": "Article 20",
            "memory_count": len(found),
            "memories": [_user_memory(each) for each in found],
        }
        return Answer(answer, headers=_as_file("user-export"))


def _user_memory(memory: Memory) -> dict[str, Any]:
    return {
        "id": memory.id,
        "content": memory.content,
        "memory_type": memory.memory_type,
        "session_id": memory.session_id or memory.user_id,
        "user_id": memory.user_id,
        "metadata": dict(memory.metadata),
        "created_at": with_offset(memory.created_at),
        "last_accessed_at": None,
        "access_count": memory.access_count,
        "pinned": memory.pinned,
    }


@router.delete("/agents/{agent_id}/memories/user/{uid:anyone}", response_model=UserEraseAnswer)
def erase_user(agent_id: str, uid: str, request: Request) -> Answer:
    """Erase everything of one user, chat messages included, from the store's files too."""
    service = service_of(request)
    with service.visit(request, agent_id) as visit:
        erased = engine.erase_user(visit.memory, uid)
        visit.opened.removed()
        return Answer(
            {
                "erased": erased,
                "user_id": uid,
                "agent_id": visit.agent.id,
                "erased_at": with_offset(service.now()),
                "gdpr_article": "Article 17",
            }
        )


@router.get("/agents/{agent_id}/memories/{memory_id}", response_model=MemoryAnswer)
def get_memory(agent_id: str, memory_id: str, request: Request) -> Answer:
    """Return one memory."""
    with service_of(request).visit(request, agent_id) as visit:
        return Answer(memory_object(visit.agent.id, _existing(visit, memory_id)))


@router.patch("/agents/{agent_id}/memories/{memory_id}", response_model=MemoryAnswer)
def change_memory(agent_id: str, memory_id: str, body: MemoryChange, request: Request) -> Answer:
    """Change what is given. Pinning a memory takes its expiry away."""
    given = body.model_dump(include={"pinned", "memory_type", "metadata"}, exclude_unset=True)
    if body.model_fields_set & {"ttl_days", "ttl_seconds"}:
        given["ttl_days"] = lifetime_days(body.ttl_days, body.ttl_seconds)
    elif given.get("pinned"):
        given["ttl_days"] = None
    with service_of(request).visit(request, agent_id) as visit:
        changed = visit.memory.update(_existing(visit, memory_id).id, **given)
        return Answer(memory_object(visit.agent.id, changed))


@router.delete("/agents/{agent_id}/memories/{memory_id}", status_code=204, response_class=Response)
def delete_memory(agent_id: str, memory_id: str, request: Request) -> Response:
    """Erase one memory, for good."""
    with service_of(request).visit(request, agent_id) as visit:
        if not visit.memory.forget(id=_existing(visit, memory_id).id):
            raise Refused(404, MEMORY_NOT_FOUND)
        visit.opened.removed()
        return Response(status_code=204)


@router.post("/agents/{agent_id}/memories/{memory_id}/restore", responses={409: {}})
def restore_memory(agent_id: str, memory_id: str, request: Request) -> Answer:
    """Answer 404, since what is deleted is gone, or 409 for a memory that is not deleted."""
    with service_of(request).visit(request, agent_id) as visit:
        _existing(visit, memory_id)
    raise Refused(409, "Memory is not deleted")


def _existing(visit: Visit, memory_id: str) -> Memory:
    found = visit.memory.get(stored_id(memory_id))
    if found is None:
        raise Refused(404, MEMORY_NOT_FOUND)
    return found


def _erased(visit: Visit, *, scope: Scope | None = None, ids: list[str] | None = None) -> Answer:
    deleted = engine.erase(visit.memory, scope, ids) if ids != [] else 0
    visit.opened.removed()
    return Answer({"deleted": deleted})


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.json"'}
