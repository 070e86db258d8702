"""What the page asks: one POST with a JSON body for each question and each action.

The REST API is not asked, because a path cannot hold every id, because a recall through it counts
as an access, and because it forgets a session without its chat. No response is longer than a page:
long texts are cut until a memory is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from langchain_kronvex.core import types
from langchain_kronvex.core.errors import ErasurePending, InvalidInput, MemoryNotFound
from langchain_kronvex.core.explanation import FEATURES, REASONS
from langchain_kronvex.core.types import Memory, RecalledMemory
from langchain_kronvex.memory.chat_log import read_all
from langchain_kronvex.server import queries
from langchain_kronvex.server.api.requests import Body
from langchain_kronvex.server.api.responses import VERSION, zulu
from langchain_kronvex.server.http.endpoint import Endpoint
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.inspector import bodies
from langchain_kronvex.server.inspector.growth import growth
from langchain_kronvex.server.service import OpenAgent, service_of
from langchain_kronvex.storage.backend import Page, Selection

PAGE = 50
_CUT = 1_000  # characters of a text in a list
_CUT_MESSAGE = 20_000
_MOST_CHAIN = 100
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
T = TypeVar("T")


class _FromThePage(Endpoint):
    """An endpoint that answers no page of another origin, whatever CORS allows of the API."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if Headers(scope=scope).get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            refusal = ApiError(403, "Only the inspector's own page may ask this.")
            await refusal.response()(scope, receive, guarded)
            return
        await super().handle(scope, receive, guarded)


router = APIRouter(prefix="/inspector/api", route_class=_FromThePage, include_in_schema=False)


@router.post("/agents")
def agents(request: Request, body: Body) -> dict[str, Any]:
    """Return the agents to choose from, and what may be done."""
    del body
    service = service_of(request)
    return {
        "agents": [{"id": id_, "name": name} for id_, name in service.listed(request)],
        "location": getattr(service, "location", None),
        "read_only": request.app.state.inspector_is_read_only,
        "version": VERSION,
    }


@router.post("/stats")
def stats(request: Request, body: bodies.OfAgent) -> dict[str, Any]:
    """Return how much an agent has stored, and the state of the background work."""
    with _opened(request, body) as agent:
        found = asdict(agent.memory.stats())
    del found["location"]
    return found


@router.post("/users")
def users(request: Request, body: bodies.UsersBody) -> dict[str, Any]:
    """Return a page of the users, the last written to first; and how many have no user."""
    with _opened(request, body) as agent:
        every, engine = agent.memory.users(), agent.memory.engine
        without = engine.backend.counts_by_day(types.Scope(), engine.clock())
    wanted = body.contains.casefold()
    found = [each for each in every if wanted in each.user_id.casefold()]
    return {
        "users": [
            {**asdict(each), "last_at": zulu(each.last_at)}
            for each in found[body.offset : body.offset + PAGE]
        ],
        "total": len(found),
        "agent_level": sum(without.values()),
    }


@router.post("/growth")
def grown(request: Request, body: bodies.GrowthBody) -> dict[str, Any]:
    """Return how many memories were made by day or week."""
    scope = None if body.all_users else types.Scope.of(body.user_id, None)
    with _opened(request, body) as agent:
        engine = agent.memory.engine
        now = engine.clock()
        return growth(engine.backend.counts_by_day(scope, now), now.date())


@router.post("/sessions")
def sessions(request: Request, body: bodies.OfUser) -> dict[str, Any]:
    """Return a page of a user's sessions, and the counts of all."""
    with _opened(request, body) as agent:
        every = agent.memory.sessions(user_id=body.user_id)
    found = [each for each in every if (each.user_id or each.session_id) == body.user_id]
    return {
        "sessions": [
            {**asdict(each), "last_at": zulu(each.last_at)}
            for each in found[body.offset : body.offset + PAGE]
        ],
        "total": len(found),
        "named": sum(each.session_id is not None for each in found),
        "memories": sum(each.memories for each in found),
        "messages": sum(each.messages for each in found),
        "last_at": zulu(found[0].last_at) if found else None,
    }


@router.post("/memories")
def timeline(request: Request, body: bodies.TimelineBody) -> dict[str, Any]:
    """Return a page of a user's memories, newest first."""
    with _opened(request, body) as agent:
        found = agent.memory.memories(
            user_id=body.user_id, session_id=body.session_id, memory_type=body.memory_type,
            limit=PAGE + 1, offset=body.offset, include_superseded=body.superseded,
        )  # fmt: skip
    return {"memories": list(map(_shown, found[:PAGE])), "has_more": len(found) > PAGE}


@router.post("/memory")
def memory(request: Request, body: bodies.OneMemory) -> dict[str, Any]:
    """Return one memory in full, what it has replaced and what replaced it, and its sources."""
    with _opened(request, body) as agent:
        found = _existing(agent, body.id)
        chain = agent.memory.history(found.id)
        sources = map(agent.memory.get, found.sources[:_MOST_CHAIN])
        return {
            "memory": {**_shown(found), "content": found.content, "metadata": found.metadata},
            "history": list(map(_shown, chain[-_MOST_CHAIN:])),
            "sources": [_shown(each) for each in sources if each is not None],
        }


@router.post("/recall")
def recall(request: Request, body: bodies.SearchBody) -> dict[str, Any]:
    """Return what a recall of a user finds, with the scores; it counts no access."""
    with _opened(request, body) as agent:
        recaller = agent.memory.engine.recaller
        asked = recaller.request(body.query, _searched(body), **body.conditions())
        found = recaller.recall(replace(asked, is_counted=False), "confidence")
    return {"memories": list(map(_recalled, found))}


@router.post("/explain")
def explain(request: Request, body: bodies.SearchBody) -> dict[str, Any]:
    """Return what the scores of a memory are made of, or what keeps it out."""
    with _opened(request, body) as agent:
        recaller = agent.memory.engine.recaller
        asked = recaller.request(body.query, _searched(body), **body.conditions())
        found = recaller.explain(asked, body.memory_id or "", "confidence")
    named = {FEATURES[name]: share for name, share in found.shares.items()}
    reasons = [REASONS.get(each, each.replace("_", " ")) for each in found.kept_out]
    return {**asdict(found), "shares": named, "kept_out": reasons}


@router.post("/messages")
def messages(request: Request, body: bodies.OfUser) -> dict[str, Any]:
    """Return a page of the messages of a session, newest first."""
    page = Page(newest_first=True, limit=PAGE + 1, offset=body.offset)
    with _opened(request, body) as agent:
        found = agent.memory.engine.find(Selection(kind="message", scope=body.scope), page)
    read = [
        {
            "type": message.type,
            "text": str(message.text)[:_CUT_MESSAGE],
            "characters": len(message.text),
            "calls": [call["name"] for call in getattr(message, "tool_calls", ())],
            "at": zulu(record.created_at),
        }
        for record, message in read_all(found[:PAGE])
    ]
    return {"messages": read, "has_more": len(found) > PAGE}


# -- actions -----------------------------------------------------------------------------------


@router.post("/correct")
def correct(request: Request, body: bodies.CorrectBody) -> dict[str, Any]:
    """Correct the text of a memory in place, or pin or unpin it."""
    given: Any = body.model_dump(include={"content", "pinned"}, exclude_unset=True)
    with _opened(request, body, to_write=True) as agent:
        id_ = _existing(agent, body.id).id
        _, is_erasing = _erasing(lambda: agent.memory.update(id_, **given))
        changed = _existing(agent, id_)
        agent.consolidate([changed])
    return {"memory": _shown(changed), "is_erasing": is_erasing}


@router.post("/supersede")
def supersede(request: Request, body: bodies.SupersedeBody) -> dict[str, Any]:
    """Store what replaces a memory, in the same scope and of the same type; the old one is kept."""
    with _opened(request, body, to_write=True) as agent:
        old = _existing(agent, body.id)
        new = agent.memory.remember(
            body.content, memory_type=old.memory_type, user_id=old.user_id,
            session_id=old.session_id, pinned=old.pinned, supersedes=old.id,
        )  # fmt: skip
        agent.removed()  # it may have been there: count anew
        agent.consolidate([new])
    return {"memory": _shown(new)}


@router.post("/restore")
def restore(request: Request, body: bodies.OneMemory) -> dict[str, Any]:
    """Bring back a memory that another one has replaced."""
    with _opened(request, body, to_write=True) as agent:
        return {"memory": _shown(agent.memory.restore(body.id))}


@router.post("/forget")
def forget(request: Request, body: bodies.ForgetBody) -> dict[str, Any]:
    """Erase one memory, one session or a user, with the chat messages, for good."""
    with _opened(request, body, to_write=True) as agent:
        mine, user, session = agent.memory, body.user_id, body.session_id
        if session is not None and user is None:
            raise InvalidInput("A session is forgotten with its user: pass user_id as well.")
        if user is not None and session is None and body.id is None:
            count, is_erasing = _erasing(lambda: queries.erase_user(mine, user))
        else:
            count, is_erasing = _erasing(
                lambda: mine.forget(id=body.id, user_id=user, session_id=session)
            )
        agent.removed()
    if not count and not is_erasing:
        raise MemoryNotFound
    return {"forgotten": count, "is_erasing": is_erasing}


# -- parts of answers --------------------------------------------------------------------------


@contextmanager
def _opened(
    request: Request, body: bodies.OfAgent | bodies.SearchBody, *, to_write: bool = False
) -> Iterator[OpenAgent]:
    """Keep the agent of a request open.

    Raises:
        ApiError: it does not exist or belongs to another key; or nothing may be changed.
    """
    if to_write and request.app.state.inspector_is_read_only:
        raise ApiError(403, "The inspector is read-only.")
    with service_of(request).use(request, body.agent_id) as agent:
        yield agent


def _erasing(work: Callable[[], T]) -> tuple[T | None, bool]:
    """Return the result, and whether bytes are still erased in the background."""
    try:
        return work(), False
    except ErasurePending:
        return None, True


def _existing(agent: OpenAgent, id_: str) -> Memory:
    found = agent.memory.get(id_)
    if found is None:
        raise MemoryNotFound
    return found


def _searched(body: bodies.SearchBody) -> types.Scope:
    return types.Scope.of(body.user_id, body.session_id)


def _shown(memory: Memory) -> dict[str, Any]:
    """Return a memory as lists show it: its text cut, and without metadata."""
    same = ("id", "memory_type", "user_id", "session_id", "pinned", "access_count", "superseded_by")
    times = ("created_at", "expires_at", "valid_from", "valid_until")
    moments = {name: getattr(memory, name) for name in times}
    return {
        **{name: getattr(memory, name) for name in same},
        **{name: moment and zulu(moment) for name, moment in moments.items()},
        "content": memory.content[:_CUT],
        "characters": len(memory.content),
        "sources": len(memory.sources),
    }


def _recalled(memory: RecalledMemory) -> dict[str, Any]:
    scores = {name: getattr(memory, name) for name in ("similarity", "confidence", "probability")}
    return {**_shown(memory), **scores}
