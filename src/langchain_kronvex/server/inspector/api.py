"""What the page asks: one POST with a JSON body for each question and each action.

The REST API is not asked, because a path cannot hold every id, because a recall through it counts
as an access, and because it forgets a session without its chat. No response is longer than a page:
long texts are cut until a memory is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from langchain_kronvex.core import records
from langchain_kronvex.core.errors import ErasurePending, InvalidInput, MemoryNotFound
from langchain_kronvex.core.explanation import FEATURES, REASONS
from langchain_kronvex.core.records import Page, Selection
from langchain_kronvex.core.types import Memory, RecalledMemory
from langchain_kronvex.memory.chat_log import read_all
from langchain_kronvex.server import queries
from langchain_kronvex.server.api.requests import Body
from langchain_kronvex.server.api.responses import VERSION, zulu
from langchain_kronvex.server.http.endpoint import Endpoint
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.inspector import bodies
from langchain_kronvex.server.inspector.growth import growth
from langchain_kronvex.server.service import AgentInUse, OpenAgent, service_of

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

    changes = False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if Headers(scope=scope).get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            refusal = ApiError(403, "Only the inspector's own page may ask this.")
        elif self.changes and scope["app"].state.inspector_is_read_only:
            refusal = ApiError(403, "The inspector is read-only.")
        else:
            await super().handle(scope, receive, guarded)
            return
        await refusal.response()(scope, receive, guarded)


class _Change(_FromThePage):
    """An endpoint that changes something, unless the inspector is read-only."""

    changes = True


_of_page: Any = {"prefix": "/inspector/api", "include_in_schema": False}
router = APIRouter(route_class=_FromThePage, **_of_page)
changes = APIRouter(route_class=_Change, **_of_page)


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
def stats(agent: AgentInUse, body: bodies.OfAgent) -> dict[str, Any]:
    """Return how much an agent has stored, and the state of the background work."""
    found = asdict(agent.memory.stats())
    del found["location"]
    return found


@router.post("/users")
def users(agent: AgentInUse, body: bodies.UsersBody) -> dict[str, Any]:
    """Return a page of the users, the last written to first; and how many have no user."""
    every, engine = agent.memory.users(), agent.memory.engine
    without = engine.backend.counts_by_day(records.Scope(), engine.clock())
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
def grown(agent: AgentInUse, body: bodies.GrowthBody) -> dict[str, Any]:
    """Return how many memories were made by day or week."""
    scope = None if body.all_users else records.Scope.of(body.user_id, None)
    engine = agent.memory.engine
    now = engine.clock()
    return growth(engine.backend.counts_by_day(scope, now), now.date())


@router.post("/sessions")
def sessions(agent: AgentInUse, body: bodies.OfUser) -> dict[str, Any]:
    """Return a page of a user's sessions, and the counts of all."""
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
def timeline(agent: AgentInUse, body: bodies.TimelineBody) -> dict[str, Any]:
    """Return a page of a user's memories, newest first."""
    found = agent.memory.memories(
        user_id=body.user_id, session_id=body.session_id, memory_type=body.memory_type,
        limit=PAGE + 1, offset=body.offset, include_superseded=body.superseded,
    )  # fmt: skip
    return {"memories": list(map(_shown, found[:PAGE])), "has_more": len(found) > PAGE}


@router.post("/memory")
def memory(agent: AgentInUse, body: bodies.OneMemory) -> dict[str, Any]:
    """Return one memory in full, what it has replaced and what replaced it, and its sources."""
    found = _existing(agent, body.id)
    chain = agent.memory.history(found.id)
    sources = map(agent.memory.get, found.sources[:_MOST_CHAIN])
    return {
        "memory": {**_shown(found), "content": found.content, "metadata": found.metadata},
        "history": list(map(_shown, chain[-_MOST_CHAIN:])),
        "sources": [_shown(each) for each in sources if each is not None],
    }


@router.post("/recall")
def recall(agent: AgentInUse, body: bodies.SearchBody) -> dict[str, Any]:
    """Return what a recall of a user finds, with the scores; it counts no access."""
    recaller = agent.memory.engine.recaller
    asked = recaller.request(body.query, _searched(body), **body.conditions())
    found = recaller.recall(replace(asked, is_counted=False), "confidence")
    return {"memories": list(map(_recalled, found))}


@router.post("/explain")
def explain(agent: AgentInUse, body: bodies.SearchBody) -> dict[str, Any]:
    """Return what the scores of a memory are made of, or what keeps it out."""
    recaller = agent.memory.engine.recaller
    asked = recaller.request(body.query, _searched(body), **body.conditions())
    found = recaller.explain(asked, body.memory_id or "", "confidence")
    named = {FEATURES[name]: share for name, share in found.shares.items()}
    reasons = [REASONS.get(each, each.replace("_", " ")) for each in found.kept_out]
    return {**asdict(found), "shares": named, "kept_out": reasons}


@router.post("/messages")
def messages(agent: AgentInUse, body: bodies.OfUser) -> dict[str, Any]:
    """Return a page of the messages of a session, newest first."""
    page = Page(newest_first=True, limit=PAGE + 1, offset=body.offset)
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


@changes.post("/correct")
def correct(agent: AgentInUse, body: bodies.CorrectBody) -> dict[str, Any]:
    """Correct the text of a memory in place, or pin or unpin it."""
    given: Any = body.model_dump(include={"content", "pinned"}, exclude_unset=True)
    id_ = _existing(agent, body.id).id
    _, is_erasing = _erasing(lambda: agent.memory.update(id_, **given))
    changed = _existing(agent, id_)
    agent.consolidate([changed])
    return {"memory": _shown(changed), "is_erasing": is_erasing}


@changes.post("/supersede")
def supersede(agent: AgentInUse, body: bodies.SupersedeBody) -> dict[str, Any]:
    """Store what replaces a memory, in the same scope and of the same type; the old one is kept."""
    old = _existing(agent, body.id)
    new = agent.memory.remember(
        body.content, memory_type=old.memory_type, user_id=old.user_id,
        session_id=old.session_id, pinned=old.pinned, supersedes=old.id,
    )  # fmt: skip
    agent.removed()  # it may have been there: count anew
    agent.consolidate([new])
    return {"memory": _shown(new)}


@changes.post("/restore")
def restore(agent: AgentInUse, body: bodies.OneMemory) -> dict[str, Any]:
    """Bring back a memory that another one has replaced."""
    return {"memory": _shown(agent.memory.restore(body.id))}


@changes.post("/forget")
def forget(agent: AgentInUse, body: bodies.ForgetBody) -> dict[str, Any]:
    """Erase one memory, one session or a user, with the chat messages, for good."""
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


def _searched(body: bodies.SearchBody) -> records.Scope:
    return records.Scope.of(body.user_id, body.session_id)


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
