"""What the server answers: the union of the keys that all dialects of the API read."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from starlette.responses import Response

from langchain_kronvex.core import __version__
from langchain_kronvex.core.explanation import Explanation
from langchain_kronvex.core.types import Memory, RecalledMemory, SessionSummary

VERSION = __version__


class JsonResponse(Response):
    """JSON in UTF-8, in which a lone surrogate of a stored text becomes a question mark."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        text = json.dumps(
            content, ensure_ascii=False, separators=(",", ":"), default=BaseModel.model_dump
        )
        return text.encode("utf-8", "replace")


class Answer(BaseModel):
    """The keys of a response; those with a default have no other value in this server."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class AgentAnswer(Answer):
    """An agent."""

    id: str
    name: str
    description: str | None
    metadata: dict[str, Any]
    created_at: str
    memory_count: int


class MemoryAnswer(Answer):
    """A memory."""

    id: str
    agent_id: str
    content: str
    session_id: str | None
    memory_type: str
    type: str
    metadata: dict[str, Any]
    created_at: str
    access_count: int
    expires_at: str | None
    pinned: bool
    deduplicated: bool
    user_id: str | None
    agent_memory_count: int | None = None
    superseded: bool = False
    superseded_by: str | None = None
    valid_from: str
    valid_until: str | None = None
    conflict_detected: bool = False
    conflicts_resolved: int = 0
    is_meta: bool
    consolidation_count: int
    sources: list[str]


class Scores(Answer):
    """How well a memory fits, each from 0 to 1."""

    similarity: float
    confidence: float
    probability: float


class NestedResult(Scores):
    """A recalled memory as the open-source server nests it."""

    memory: MemoryAnswer


class FlatResult(MemoryAnswer, Scores):
    """A recalled memory as the SDKs read it; `score` is the similarity."""

    score: float


class ContextResult(FlatResult):
    """A recalled memory in both forms at once."""

    memory: MemoryAnswer


class RecallAnswer(Answer):
    """The memories found, in the default order, in both forms."""

    query: str
    total_found: int
    results: list[NestedResult]
    memories: list[FlatResult]


_explained: Any = {name: (kind, ...) for name, kind in get_type_hints(Explanation).items()}
ExplainAnswer = create_model(
    "ExplainAnswer",
    __base__=Answer,
    __doc__="Why a memory is recalled, or what keeps it out; `shares` add up to the relevance.",
    **_explained,
)


class ContextAnswer(Answer):
    """A text for a prompt, under the names of two dialects; "" when nothing was found."""

    context: str
    context_block: str
    memories_used: int
    memories: list[ContextResult]
    degraded: bool


class ListAnswer(Answer):
    """One page of memories, numbered in both ways."""

    memories: list[MemoryAnswer]
    total: int
    page: int
    per_page: int
    pages: int
    limit: int
    offset: int
    has_more: bool


class HistoryAnswer(Answer):
    """A memory with all that it superseded and all that superseded it, oldest first."""

    memories: list[MemoryAnswer]


class DeletedAnswer(Answer):
    """How many memories were erased."""

    deleted: int


class ImportAnswer(Answer):
    """How many memories were imported, and which were not."""

    imported: int
    failed: int
    errors: list[dict[str, Any]]


class ExportAnswer(Answer):
    """All memories of an agent, newest first."""

    agent_id: str
    total: int
    memories: list[MemoryAnswer]


class SessionAnswer(Answer):
    """A session; `user_id` is null when `session_id` names the user."""

    session_id: str
    user_id: str | None
    count: int
    memory_count: int
    last_at: str


class SessionsAnswer(Answer):
    """The sessions of an agent, the last written to first."""

    sessions: list[SessionAnswer]


class UserMemory(MemoryAnswer):
    """A memory in a user's export."""

    last_accessed_at: str | None = None


class UserExportAnswer(Answer):
    """Everything remembered about one user."""

    user_id: str
    agent_id: str
    exported_at: str
    memory_count: int
    memories: list[UserMemory]
    gdpr_article: str


class UserEraseAnswer(Answer):
    """How much of a user was erased for good."""

    erased: int
    user_id: str
    agent_id: str
    erased_at: str
    gdpr_article: str = "Article 17"


class AnalyticsAnswer(Answer):
    """Counts over the memories of one agent; `daily_memories` covers the last 14 days (UTC)."""

    agent_id: str
    total_memories: int
    pinned_memories: int
    top_memories: list[dict[str, Any]]
    by_type: dict[str, int]
    sessions: list[SessionAnswer]
    daily_memories: list[dict[str, Any]]


class UsageAnswer(Answer):
    """The key's calls of today, and its limits: none."""

    today: dict[str, int]
    limits: dict[str, int | None] = {"recalls_day": None, "stores_day": None}
    cost_estimate_today_eur: float = 0.0


class KeyAnswer(Answer):
    """An API key, without its secret."""

    id: str
    name: str
    key_prefix: str
    is_active: bool
    memories_used: int
    created_at: str
    is_demo: bool = False
    plan: str = "self-hosted"
    memory_limit: int | None = None
    agent_limit: int | None = None
    deleted_memories_count: int = 0
    last_used_at: str | None = None


class ServiceAnswer(Answer):
    """The server can read its store."""

    status: str = "ok"
    service: str = "kronvex"
    version: str = VERSION


class VersionAnswer(Answer):
    """The version of the server."""

    version: str = VERSION
    api: str = "v1"
    env: str = "self-hosted"


class Problem(Answer):
    """The reason why a request was rejected."""

    detail: Any


_SAME = ("id", "content", "memory_type", "access_count", "pinned", "deduplicated", "user_id")
_SCORES = ("similarity", "confidence", "probability")
_SessionIds = tuple[str | None, str | None]
_fields = MemoryAnswer.model_fields.items()
_CONSTANT = {name: field.default for name, field in _fields if not field.is_required()}


def memory_object(agent_id: str, memory: Memory) -> dict[str, Any]:
    """Return a memory with the keys of all dialects.

    `user_id` and `session_id` are those it was stored with. Only when it has no session,
    `session_id` repeats the user, because the API's clients look for the user there.
    """
    return {
        **{name: getattr(memory, name) for name in _SAME},
        "agent_id": agent_id,
        "session_id": memory.session_id or memory.user_id,
        "type": memory.memory_type,
        "metadata": dict(memory.metadata),
        "created_at": zulu(memory.created_at),
        "expires_at": None if memory.pinned or not memory.expires_at else zulu(memory.expires_at),
        **_CONSTANT,
        "superseded": memory.superseded_by is not None,
        "superseded_by": memory.superseded_by,
        "valid_from": zulu(memory.valid_from),
        "valid_until": None if memory.valid_until is None else zulu(memory.valid_until),
        "is_meta": bool(memory.sources),
        "consolidation_count": len(memory.sources),
        "sources": list(memory.sources),
    }


def report_object(agent_id: str, memory: Memory) -> dict[str, Any]:
    """Return a memory as reports hold it: with the other form of the time."""
    return {**memory_object(agent_id, memory), "created_at": with_offset(memory.created_at)}


def recall_answer(query: str, agent_id: str, found: Sequence[RecalledMemory]) -> dict[str, Any]:
    """Return found memories nested, as in the open-source server, and flat, as in the SDKs."""
    each = [(memory_object(agent_id, memory), _scores(memory)) for memory in found]
    return {
        "query": query,
        "total_found": len(found),
        "results": [{"memory": memory, **scores} for memory, scores in each],
        "memories": [_flat(memory, scores) for memory, scores in each],
    }


def context_answer(
    context: str, agent_id: str, found: Sequence[RecalledMemory], *, degraded: bool
) -> dict[str, Any]:
    """Return a context with its memories, for every dialect at once."""
    each = [(memory_object(agent_id, memory), _scores(memory)) for memory in found]
    return {
        "context": context,
        "context_block": context,
        "memories_used": len(found),
        "memories": [{**_flat(memory, scores), "memory": memory} for memory, scores in each],
        "degraded": degraded,
    }


def page_keys(total: int, limit: int, offset: int) -> Mapping[str, Any]:
    """Return the position of a page in a list, in both ways of counting."""
    by_page = {"page": offset // limit + 1, "per_page": limit, "pages": math.ceil(total / limit)}
    by_offset = {"limit": limit, "offset": offset, "has_more": offset + limit < total}
    return {"total": total, **by_page, **by_offset}


def session_objects(stored: Sequence[SessionSummary]) -> list[dict[str, Any]]:
    """Return sessions under the ids that list them, each with the number that such a list has.

    The ids are those of the session and its user. For records stored under one name alone, they
    are that name and null: a request with that id means everything of the user of that name, and
    so does the number.

    Args:
        stored: The sessions of an agent, the last written to first.
    """
    counts: Counter[_SessionIds] = Counter()
    last_at: dict[_SessionIds, datetime] = {}
    listed: dict[_SessionIds, None] = {}
    for each in stored:
        user = each.user_id or each.session_id, None
        ids = user if each.session_id in user else (each.session_id, each.user_id)
        for counted in {user, ids}:
            counts[counted] += each.memories
            last_at.setdefault(counted, each.last_at)
        if ids[0]:
            listed[ids] = None
    cells = [(*ids, counts[ids], counts[ids], with_offset(last_at[ids])) for ids in listed]
    return [dict(zip(SessionAnswer.model_fields, each, strict=True)) for each in cells]


def zulu(moment: datetime) -> str:
    """Return a time as memories and agents carry it: microseconds, UTC, `Z`."""
    return with_offset(moment).replace("+00:00", "Z")


def with_offset(moment: datetime) -> str:
    """Return a time as reports carry it: microseconds, UTC, `+00:00`."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _flat(memory: dict[str, Any], scores: dict[str, float]) -> dict[str, Any]:
    return {**memory, "score": scores["similarity"], **scores}


def _scores(found: RecalledMemory) -> dict[str, float]:
    """Return the scores unrounded: a rounded one could seem to miss the threshold it reached."""
    return {name: getattr(found, name) for name in _SCORES}
