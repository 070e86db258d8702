"""What the server answers: the union of what all dialects read, and how it is written as JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

EXAMPLE_MEMORY: dict[str, Any] = {
    "id": "5c1e3b6a0c3f4c0f9d0e6d8f7a1b2c3d",
    "agent_id": "9f2c1a34-5b6d-4e7f-8a9b-0c1d2e3f4a5b",
    "content": "User prefers concise answers",
    "session_id": "user-42",
    "memory_type": "semantic",
    "type": "semantic",
    "metadata": {},
    "created_at": "2026-01-05T10:00:00.000000Z",
    "access_count": 0,
    "expires_at": None,
    "pinned": False,
    "agent_memory_count": 1,
    "deduplicated": False,
    "superseded": False,
    "superseded_by": None,
    "conflict_detected": False,
    "conflicts_resolved": 0,
    "is_meta": False,
    "consolidation_count": 0,
    "user_id": None,
}


class Answer(Response):
    """JSON, written so that no stored text can make it fail."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write JSON as UTF-8."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )


class AgentAnswer(BaseModel):
    """An agent."""

    id: str
    name: str
    description: str | None
    metadata: dict[str, Any]
    created_at: str
    memory_count: int


class MemoryAnswer(BaseModel):
    """A memory."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_MEMORY]})
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
    agent_memory_count: int | None
    deduplicated: bool
    superseded: bool
    superseded_by: str | None
    conflict_detected: bool
    conflicts_resolved: int
    is_meta: bool
    consolidation_count: int
    user_id: str | None


class Scores(BaseModel):
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
    """Both forms at once."""

    memory: MemoryAnswer


class RecallAnswer(BaseModel):
    """What was found, the most confident first, in both forms."""

    query: str
    total_found: int
    results: list[NestedResult]
    memories: list[FlatResult]


class ContextAnswer(BaseModel):
    """A text for a prompt; "" when nothing was found."""

    context: str
    context_block: str
    memories_used: int
    memories: list[ContextResult]
    degraded: bool


class ListAnswer(BaseModel):
    """One page of memories, counted in both ways."""

    memories: list[MemoryAnswer]
    total: int
    page: int
    per_page: int
    pages: int
    limit: int
    offset: int
    has_more: bool


class DeletedAnswer(BaseModel):
    """How many memories were erased."""

    deleted: int


class ImportAnswer(BaseModel):
    """What became of an import."""

    imported: int
    failed: int
    errors: list[dict[str, Any]]


class ExportAnswer(BaseModel):
    """All memories of an agent, newest first."""

    agent_id: str
    total: int
    memories: list[MemoryAnswer]


class SessionAnswer(BaseModel):
    """A session; `user_id` when it is one of several of a user."""

    session_id: str
    user_id: str | None
    count: int


class SessionsAnswer(BaseModel):
    """The sessions of an agent, the last written to first."""

    sessions: list[SessionAnswer]


class UserMemory(BaseModel):
    """A memory in a user's export."""

    id: str
    content: str
    memory_type: str
    session_id: str | None
    user_id: str | None
    metadata: dict[str, Any]
    created_at: str
    last_accessed_at: str | None
    access_count: int
    pinned: bool


class UserExportAnswer(BaseModel):
    """Everything remembered about one user."""

    user_id: str
    agent_id: str
    exported_at: str
    gdpr_article: str
    memory_count: int
    memories: list[UserMemory]


class UserEraseAnswer(BaseModel):
    """What was erased of a user, for good."""

    erased: int
    user_id: str
    agent_id: str
    erased_at: str
    gdpr_article: str


class DayCount(BaseModel):
    """Memories of one day (UTC)."""

    date: str
    count: int


class AnalyticsAnswer(BaseModel):
    """Counts over the memories of one agent."""

    agent_id: str
    total_memories: int
    pinned_memories: int
    top_memories: list[dict[str, Any]]
    by_type: dict[str, int]
    sessions: list[dict[str, Any]]
    daily_memories: list[DayCount]


class UsageAnswer(BaseModel):
    """What the key asked for today, and its limits: none."""

    today: dict[str, int]
    limits: dict[str, int | None]
    cost_estimate_today_eur: float


class KeyAnswer(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    key_prefix: str
    is_active: bool
    is_demo: bool
    plan: str
    memory_limit: int | None
    agent_limit: int | None
    memories_used: int
    deleted_memories_count: int
    created_at: str
    last_used_at: str | None


class ServiceAnswer(BaseModel):
    """The server is there."""

    status: str
    service: str
    version: str


class VersionAnswer(BaseModel):
    """Which server this is."""

    version: str
    api: str
    env: str


class Problem(BaseModel):
    """What went wrong."""

    detail: Any
