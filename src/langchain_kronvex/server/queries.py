"""The server's operations on a memory beyond its verbs: listing a whole agent, erasing by ids."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.types import Memory, MemoryDraft, RecalledMemory, Scope, SessionSummary
from langchain_kronvex.memory.conversions import draft_record, to_memory
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server.api.requests import Question
from langchain_kronvex.server.client_envelope import owners_of, understood
from langchain_kronvex.storage.backend import MemoryBackend, Page, Selection
from langchain_kronvex.storage.client_envelope import VersionedRecord
from langchain_kronvex.storage.options import Settings
from langchain_kronvex.storage.urls import is_remote, open_backend

_NEWEST_FIRST = Page(by="created", newest_first=True)
_COMPANION = ".langgraph"  # ends the id of the agent that keeps another one's LangGraph items


def is_in_ram(memory: KronvexMemory) -> bool:
    """Return whether closing a memory loses it."""
    return memory.location == "sqlite://"


def check_servable(memory: KronvexMemory) -> None:
    """Check that a memory is not kept by a server itself.

    Raises:
        ConfigurationError: a server keeps it.
    """
    if is_remote(memory.location):
        raise ConfigurationError(
            f"{memory.location} keeps the memory, and serves the API already. "
            "Serve a memory with a store of its own, such as sqlite:///memory.db."
        )


def open_store(memory: KronvexMemory, agent_id: str) -> MemoryBackend:
    """Open the records of another agent in the place of a memory, for lookups."""
    url, postgres = memory.engine.url, memory.engine.settings.postgres
    return open_backend(url, agent_id, Settings(cache_megabytes=0, postgres=postgres))


def holds_anything(memory: KronvexMemory, agent_id: str) -> bool:
    """Return whether an agent in the place of a memory has any record, items included.

    It opens a backend of its own, and so does not wait for the agents that requests have open.
    """
    if agent_id == memory.agent_id:
        return _has_records(memory.engine.backend, memory)
    if is_in_ram(memory):
        return False  # only this server can have put anything there
    with closing(open_store(memory, agent_id)) as backend:
        return _has_records(backend, memory)


def _has_records(backend: MemoryBackend, memory: KronvexMemory) -> bool:
    return bool(backend.export_page(None, 1, memory.engine.clock(), after=0, model=None))


def with_companion(agent_id: str) -> tuple[str, str]:
    """Return an agent's id and the id of its companion, which has the same owner.

    The companion keeps the agent's LangGraph items.
    """
    if agent_id.endswith(_COMPANION):
        return agent_id, agent_id[: -len(_COMPANION)]
    return agent_id, agent_id + _COMPANION


def find(
    memory: KronvexMemory,
    scope: Scope | None,
    memory_type: str | None = None,
    page: Page = _NEWEST_FIRST,
) -> list[Memory]:
    """List memories of one scope, or of the whole agent for None, newest first unless paged.

    Their access counts include accesses that the store does not know yet.
    """
    chosen = Selection(kind="memory", scope=scope, type=memory_type)
    uncounted = memory.engine.accesses.uncounted
    return [
        replace(each, access_count=each.access_count + uncounted(each.id))
        for each in map(to_memory, memory.engine.find(chosen, page))
    ]


def sessions(memory: KronvexMemory, scope: Scope | None = None) -> list[SessionSummary]:
    """List the sessions of one scope, or of the whole agent, the last written to first."""
    found = memory.engine.backend.sessions(scope, memory.engine.clock())
    return [session for session in found if session.memories]


def erase(
    memory: KronvexMemory, scope: Scope | None = None, ids: Sequence[str] | None = None
) -> int:
    """Erase memories for good, rewriting the store once; return how many."""
    chosen = Selection(kind="memory", scope=scope, ids=None if ids is None else tuple(ids))
    return memory.engine.erase(chosen)


def find_user(memory: KronvexMemory, user_id: str) -> list[Memory]:
    """List the memories of a user, newest first, with those that this package's client adds."""
    found = find(memory, Scope.of(user_id, None)) + _kept_apart(memory, user_id)
    return sorted(found, key=lambda each: each.created_at, reverse=True)


def erase_user(memory: KronvexMemory, user_id: str) -> int:
    """Erase everything of a user for good, chat messages too; return how many records."""
    user = Scope.of(user_id, None)
    apart = [each.id for each in _kept_apart(memory, user_id)]
    erased = erase(memory, ids=apart) if apart else 0
    return erased + memory.forget(user_id=user.user_id)


def _kept_apart(memory: KronvexMemory, user_id: str) -> list[Memory]:
    """List records that this package's client keeps of a user under other names, such as chats."""
    name, beginning = owners_of(user_id)
    names = {name, *memory.engine.backend.owners(beginning, memory.engine.clock())} - {user_id}
    return [each for owner in sorted(names) for each in find(memory, Scope.of(owner, None))]


def remember(memory: KronvexMemory, draft: MemoryDraft, told: VersionedRecord | None) -> Memory:
    """Store a memory with its envelope; a memory that was sent before is not changed.

    Raises:
        InvalidInput: a value does not fit.
    """
    now = memory.engine.clock()
    record = draft_record(draft, now)
    if told is not None:
        record = understood(record, told, memory.agent_id)
        chosen = Selection(kind="memory", scope=record.scope, ids=(record.id,))
        if there := memory.engine.find(chosen):
            return to_memory(there[0])
    [stored] = memory.engine.add([record], now)
    return to_memory(stored)


def recall_everywhere(memory: KronvexMemory, text: str, question: Question) -> list[RecalledMemory]:
    """Recall from every scope of the agent: the most similar of all, the most confident first."""
    found = [
        recalled
        for owner in {session.user_id or session.session_id for session in sessions(memory)}
        for recalled in memory.recall(
            text,
            user_id=owner,
            top_k=question.top_k,
            memory_type=question.memory_type,
            threshold=question.threshold,
        )
    ]
    chosen = sorted(found, key=lambda recalled: -recalled.similarity)[: question.top_k]
    return sorted(chosen, key=lambda recalled: -recalled.confidence)
