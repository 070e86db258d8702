"""The server's operations on a memory beyond its verbs: listing a whole agent, erasing by ids.

This package's own client adds an envelope to the fields of the API: `metadata.langchain_kronvex`.
With it, the server finds an exchange by the user's words, dates a memory by when it was said, and
stores a memory once that was sent twice because the first response was lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel

from langchain_kronvex.consolidation import KronvexConsolidator
from langchain_kronvex.consolidation.report import ConsolidationReport
from langchain_kronvex.core.config.settings import Settings
from langchain_kronvex.core.config.urls import is_remote
from langchain_kronvex.core.errors import ConfigurationError, InvalidInput
from langchain_kronvex.core.records import Page, Record, Scope, Selection
from langchain_kronvex.core.types import Memory, MemoryDraft, RecalledMemory, SessionSummary
from langchain_kronvex.memory.conversions import draft_record, to_memory
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server.api.requests import NewMemory, Question
from langchain_kronvex.storage import client_envelope as envelopes
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.client_envelope import VersionedRecord, wire_session
from langchain_kronvex.storage.opening import open_backend

_NEWEST = Page(by="created", newest_first=True)
_COMPANION = ".langgraph"  # ends the id of the agent that keeps another one's LangGraph items


def is_in_ram(memory: KronvexMemory) -> bool:
    """Return whether closing a memory loses it."""
    return memory.location == "sqlite://"


def check_servable(memory: KronvexMemory) -> None:
    """Check that it is a memory, and not kept by a server itself.

    Raises:
        InvalidInput: it is something else, such as a URL.
        ConfigurationError: a server keeps it.
    """
    if not isinstance(memory, KronvexMemory):
        raise InvalidInput(
            "create_app serves an open memory: create_app(KronvexMemory('sqlite:///memory.db')), "
            f"not {type(memory).__name__}."
        )
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
    is_own = agent_id == memory.agent_id
    if is_in_ram(memory) and not is_own:
        return False  # only this server can have put anything there
    engine = memory.engine
    with nullcontext(engine.backend) if is_own else closing(open_store(memory, agent_id)) as store:
        return bool(store.export_page(None, 1, engine.clock(), after=0, model=None))


def with_companion(agent_id: str) -> tuple[str, str]:
    """Return an agent's id and the id of its companion, which has the same owner.

    The companion keeps the agent's LangGraph items.
    """
    main = agent_id.removesuffix(_COMPANION)
    return agent_id, main if main != agent_id else agent_id + _COMPANION


def open_agent(memory: KronvexMemory, agent_id: str, cache_megabytes: int) -> KronvexMemory:
    """Open another agent in the place of a memory; no retention limits LangGraph items."""
    changes = {"retention": None} if agent_id.endswith(_COMPANION) else {}
    return memory.for_agent(agent_id, cache_megabytes=cache_megabytes, **changes)


def consolidating(
    model: BaseChatModel,
    on_report: Callable[[ConsolidationReport], None] | None,
    memory: KronvexMemory,
) -> KronvexConsolidator:
    """Consolidate a memory from now on."""
    consolidator = KronvexConsolidator(memory, model, on_report=on_report)
    consolidator.start()
    return consolidator


def find(
    memory: KronvexMemory, scope: Scope | None, memory_type: str | None = None, page: Page = _NEWEST
) -> list[Memory]:
    """List memories of one scope, or of the whole agent for None, newest first unless paged.

    Their access counts include accesses that the store does not know yet.
    """
    types = None if memory_type is None else (memory_type,)
    chosen = Selection(kind="memory", scope=scope, types=types)
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
    user, engine = Scope(user_id), memory.engine
    chats = wire_session("message", user).rpartition(":")[0] + ":"  # how all of them begin
    names = {wire_session("memory", user), *engine.backend.owners(chats, engine.clock())}
    names.discard(user_id)
    return [each for owner in sorted(names) for each in find(memory, Scope.of(owner, None))]


def remember(memory: KronvexMemory, draft: MemoryDraft, told: VersionedRecord | None) -> Memory:
    """Store a memory with its envelope; a memory that was sent before is not changed.

    Raises:
        InvalidInput: a value does not fit.
    """
    now, before_save = memory.engine.clock(), memory.engine.before_save
    record = draft_record(draft, now)
    if told is None:
        record = before_save.memory(record)
    else:
        before_save.check_unchanged(told.record)
        record = understood(record, told, memory.agent_id)
        chosen = Selection(kind="memory", scope=record.scope, ids=(record.id,))
        if there := memory.engine.find(chosen):
            return to_memory(there[0])
    [stored] = memory.engine.add([record], now)
    return to_memory(stored)


def recall_everywhere(memory: KronvexMemory, text: str, question: Question) -> list[RecalledMemory]:
    """Recall from every scope of the agent: the most similar of all, by confidence."""
    owners = {session.user_id or session.session_id for session in sessions(memory)}
    asked: Any = question.conditions()
    asked.pop("max_tokens", None)
    found = [one for owner in owners for one in memory.recall(text, user_id=owner, **asked)]
    chosen = sorted(found, key=lambda recalled: -recalled.similarity)[: question.top_k]
    return sorted(chosen, key=lambda recalled: -recalled.confidence)


# -- the envelope, in which this package's own client adds data to the fields of the API -------


def envelope_of(body: NewMemory) -> VersionedRecord | None:
    """Return the record in the envelope of a new memory; None without an envelope."""
    if body.scope.user_id:  # the client gives both ids the same name
        return None
    session = body.session_id or body.user_id
    return envelopes.record_in_envelope(body.metadata, content=body.content, session=session)


def understood(record: Record, told: VersionedRecord, agent_id: str) -> Record:
    """Return the record of a memory, completed from its envelope.

    Its id is a hash of its scope and of what stays the same when the client sends it again, so
    that no client can name the id of a memory in another scope. Its key is the id, not the text:
    the client has already looked for memories of the same text, and knows by its own clock which
    of them have expired.
    """
    scope, sent = record.scope, told.record
    owner = (agent_id, scope.user_id or "", scope.session_id or "")
    parts = (*owner, sent.kind, sent.id, str(told.version))
    named = "".join(f"{len(part)}:{part}" for part in parts).encode()
    id_ = hashlib.blake2b(named, digest_size=16).hexdigest()
    found_by, created = sent.search_text, sent.created_at
    return replace(
        record, id=id_, key=id_, search_text=found_by, created_at=created,
        valid_from=sent.valid_from, valid_until=sent.valid_until, superseded_by=sent.superseded_by,
    )  # fmt: skip
