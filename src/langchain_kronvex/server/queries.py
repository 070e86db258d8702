"""What the API asks of a memory beyond its verbs: agent-wide listing, erasure by any condition.

This module reaches into `KronvexMemory` and its backend; the rest of the server does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.types import Memory, MemoryDraft, RecalledMemory, Scope, SessionSummary
from langchain_kronvex.memory.conversions import draft_record, to_memory
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server.client_envelope import owners_of, understood
from langchain_kronvex.server.registry.shelf import SERVER_AGENT
from langchain_kronvex.storage.backend import MemoryBackend, Page, Record, Selection
from langchain_kronvex.storage.client_envelope import VersionedRecord
from langchain_kronvex.storage.postgres.options import PostgresOptions
from langchain_kronvex.storage.urls import open_backend

_IN_RAM = "sqlite://"
_COMPANION = ".langgraph"  # ends the id of the agent that keeps an agent's LangGraph items


def clock_of(memory: KronvexMemory) -> Any:
    """Return the clock of a memory."""
    return memory.engine.clock


def is_in_ram(memory: KronvexMemory) -> bool:
    """Tell whether closing a memory loses it."""
    return memory.location == _IN_RAM


def only_computes(memory: KronvexMemory) -> bool:
    """Tell whether a memory waits for nobody: no database server, no provider of embeddings."""
    model = memory.engine.model.current
    return memory.location.startswith("sqlite:") and (model is None or model.is_local)


def check_servable(memory: KronvexMemory) -> None:
    """Refuse a memory that is itself kept by a server.

    Raises:
        ConfigurationError: it is.
    """
    if memory.location.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"The memory is kept by {memory.location}, which serves the API already. "
            "Serve a memory with a store of its own, such as sqlite:///memory.db."
        )


def open_shelves(url: str, postgres: PostgresOptions | None = None) -> MemoryBackend:
    """Open the place where the server keeps agents and keys, beside the memories."""
    return open_backend(url, SERVER_AGENT, timeout=30.0, cache_bytes=0, postgres=postgres)


def shelves_beside(memory: KronvexMemory) -> MemoryBackend:
    """Open the shelves in the place of a memory."""
    return open_shelves(memory.engine.url, memory.engine.settings.postgres)


def beside(memory: KronvexMemory, agent_id: str, cache_megabytes: int) -> KronvexMemory:
    """Open the memory of another agent in the same place, with the same embeddings."""
    return memory.for_agent(agent_id, cache_megabytes=cache_megabytes)


def holds_anything(memory: KronvexMemory, agent_id: str) -> bool:
    """Tell whether an agent in the place of a memory has anything: also items, which no verb shows.

    It asks past the agents that requests have open, and so waits for none of them.
    """
    if agent_id == memory.agent_id:
        return _has_records(memory.engine.backend, memory)
    if is_in_ram(memory):
        return False  # nobody but this server can have put anything there
    place, postgres = memory.engine.url, memory.engine.settings.postgres
    backend = open_backend(place, agent_id, timeout=30.0, cache_bytes=0, postgres=postgres)
    try:
        return _has_records(backend, memory)
    finally:
        backend.close()


def _has_records(backend: MemoryBackend, memory: KronvexMemory) -> bool:
    return bool(backend.export_page(None, 1, memory.engine.clock(), after=0, model=None))


def of_one_owner(agent_id: str) -> tuple[str, str]:
    """Return an agent's id and that of the other one that its owner has as well.

    An agent's LangGraph items are kept by an agent of their own beside it.
    """
    if agent_id.endswith(_COMPANION):
        return agent_id, agent_id[: -len(_COMPANION)]
    return agent_id, agent_id + _COMPANION


def find(
    memory: KronvexMemory,
    scope: Scope | None,
    memory_type: str | None = None,
    *,
    oldest_first: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> list[Memory]:
    """List memories of one scope, or of the whole agent for None, by their dates.

    Their access counts are those of this moment, also where the store does not know them yet.
    """
    chosen = Selection(kind="memory", scope=scope, type=memory_type)
    page = Page(by="created", newest_first=not oldest_first, limit=limit, offset=offset)
    found: list[Record] = memory.engine.backend.find(chosen, page, memory.engine.clock())
    accesses = memory.engine.recaller.accesses
    return [
        replace(each, access_count=each.access_count + accesses.uncounted(each.id))
        for each in map(to_memory, found)
    ]


def sessions(memory: KronvexMemory, scope: Scope | None = None) -> list[SessionSummary]:
    """List the sessions of one scope, or of the whole agent, the last written to first."""
    found = memory.engine.backend.sessions(scope, memory.engine.clock())
    return [session for session in found if session.memories]


def erase(
    memory: KronvexMemory, scope: Scope | None = None, ids: Sequence[str] | None = None
) -> int:
    """Erase memories for good, in one rewriting of the store; return how many."""
    chosen = Selection(kind="memory", scope=scope, ids=None if ids is None else tuple(ids))
    return memory.engine.erase(chosen)


def find_user(memory: KronvexMemory, user_id: str) -> list[Memory]:
    """List the memories of a user, newest first, with what this package's client keeps apart."""
    found = find(memory, Scope.of(user_id, None)) + _kept_apart(memory, user_id)
    return sorted(found, key=lambda each: each.created_at, reverse=True)


def erase_user(memory: KronvexMemory, user_id: str) -> int:
    """Erase everything of a user for good, chat messages too; return how much it was."""
    user = Scope.of(user_id, None)
    apart = [each.id for each in _kept_apart(memory, user_id)]
    erased = erase(memory, ids=apart) if apart else 0
    return erased + memory.forget(user_id=user.user_id)


def _kept_apart(memory: KronvexMemory, user_id: str) -> list[Memory]:
    """List what this package's client keeps of a user under other names, such as its chats."""
    name, beginning = owners_of(user_id)
    names = {name, *memory.engine.backend.owners(beginning, memory.engine.clock())} - {user_id}
    return [each for owner in sorted(names) for each in find(memory, Scope.of(owner, None))]


def remember(memory: KronvexMemory, draft: MemoryDraft, told: VersionedRecord | None) -> Memory:
    """Store a memory, with what its client says of it; one that was sent before is left as it is.

    Raises:
        InvalidInput: a value does not fit.
    """
    now = memory.engine.clock()
    record = draft_record(draft, now)
    if told is not None:
        record = understood(record, told, memory.agent_id)
        chosen = Selection(kind="memory", scope=record.scope, ids=(record.id,))
        there = memory.engine.backend.find(chosen, Page(), now)
        if there:
            return to_memory(there[0])
    [stored] = memory.engine.add([record], now)
    return to_memory(stored)


def recall_everywhere(
    memory: KronvexMemory, query: str, *, top_k: int, memory_type: str | None, threshold: float
) -> list[RecalledMemory]:
    """Recall from every scope of the agent: the most similar of all, the most confident first."""
    owners = {(s.user_id or s.session_id) for s in sessions(memory)}
    found = [
        recalled
        for owner in owners
        for recalled in memory.recall(
            query, user_id=owner, top_k=top_k, memory_type=memory_type, threshold=threshold
        )
    ]
    chosen = sorted(found, key=lambda recalled: -recalled.similarity)[:top_k]
    return sorted(chosen, key=lambda recalled: -recalled.confidence)
