"""Conversions between the public types and the records of a store. Pure functions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from langchain_core.documents import Document

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.messages import exchange_content
from langchain_kronvex.core.records import Match, Record, Scope, content_key
from langchain_kronvex.core.types import UNCHANGED, Memory, MemoryDraft, RecalledMemory, Unchanged
from langchain_kronvex.recall.order import confidence, frequency, recency
from langchain_kronvex.storage.record import DOCUMENT_KEY

CONSOLIDATION = "consolidation"  # in the metadata: why and by which model a memory was derived

_DAY = timedelta(days=1)
T = TypeVar("T")


def is_of_model(record: Record) -> bool:
    """Return whether a memory is as a model has derived it, and nobody has corrected it."""
    about = record.metadata.get(CONSOLIDATION)
    return bool(record.sources) and isinstance(about, dict) and not about.get("corrected")


def is_document(record: Record) -> bool:
    """Return whether a record is a document of `KronvexProfile`."""
    return record.kind == "memory" and record.key.startswith(DOCUMENT_KEY)


def memory_record(
    scope: Scope,
    content: str,
    now: datetime,
    *,
    memory_type: str = "episodic",
    search_text: str | None = None,
    expires_at: datetime | None = None,
    pinned: bool = False,
    metadata: Mapping[str, Any] | None = None,
    valid_from: datetime | None = None,
    supersedes: tuple[str, ...] = (),
) -> Record:
    """Return the record of a new memory."""
    return Record(
        kind="memory",
        id=uuid.uuid4().hex,
        scope=scope,
        key=content_key(memory_type, content),
        type=memory_type,
        content=content,
        search_text=search_text,
        metadata=metadata or {},
        created_at=now,
        expires_at=expires_at,
        pinned=pinned,
        valid_from=valid_from,
        supersedes=supersedes,
    )


def draft_records(drafts: Iterable[MemoryDraft], now: datetime) -> list[Record]:
    """Check drafts and return their records.

    Raises:
        InvalidInput: a value does not fit, or it is not a list.
    """
    return [draft_record(draft, now) for draft in checks.check_list(drafts, "drafts")]


def draft_record(draft: MemoryDraft, now: datetime) -> Record:
    """Check a draft and return its record.

    Raises:
        InvalidInput: a value does not fit.
    """
    if not isinstance(draft, MemoryDraft):
        raise InvalidInput(f"a draft must be a MemoryDraft, not {type(draft).__name__}.")
    created = now if draft.created_at is None else checks.check_time(draft.created_at, "created_at")
    replaced = () if draft.supersedes is None else draft.supersedes
    ids = [replaced] if isinstance(replaced, str) else checks.check_list(replaced, "supersedes")
    return memory_record(
        Scope.of(draft.user_id, draft.session_id),
        checks.check_content(draft.content),
        created,
        memory_type=checks.check_type(draft.memory_type),
        expires_at=checks.expiry(created, draft.ttl_days),
        pinned=checks.check_flag(draft.pinned, "pinned"),
        metadata=checks.check_metadata(draft.metadata),
        valid_from=checks.check_optional_time(draft.valid_from, "valid_from"),
        supersedes=tuple(checks.check_id(id_, "supersedes") for id_ in ids),
    )


def exchange_records(
    scope: Scope, user_message: str, assistant_message: str, ttl_days: float | None, now: datetime
) -> list[Record]:
    """Check an exchange and return its record, or two records if one would be too long.

    Raises:
        InvalidInput: a value does not fit.
    """
    said = checks.check_content(user_message, "user_message")
    answer = checks.check_content(assistant_message, "assistant_message")
    expires_at = checks.expiry(now, ttl_days)
    contents = [exchange_content(said, answer)]
    if len(contents[0]) > checks.MAX_CONTENT_CHARS:
        contents = [said, answer]
    return [
        memory_record(scope, content, now, search_text=said, expires_at=expires_at)
        for content in contents
    ]


def changed_record(
    record: Record,
    *,
    content: str | Unchanged,
    pinned: bool | Unchanged,
    memory_type: str | Unchanged,
    metadata: Mapping[str, Any] | Unchanged,
    ttl_days: float | Unchanged | None,
) -> Record:
    """Return a record with some values changed.

    Raises:
        InvalidInput: a value does not fit.
    """
    if is_document(record):
        raise InvalidInput(
            "This memory is a document of KronvexProfile; change it with its patch or set."
        )
    if content is not UNCHANGED:  # it is found by all of the new text
        record = replace(record, content=checks.check_content(content), search_text=None)
        if isinstance(about := record.metadata.get(CONSOLIDATION), dict):
            about = {**about, "corrected": True}
            record = replace(record, metadata={**record.metadata, CONSOLIDATION: about})
    if pinned is not UNCHANGED:
        record = replace(record, pinned=checks.check_flag(pinned, "pinned"))
    if memory_type is not UNCHANGED:
        record = replace(record, type=checks.check_type(memory_type))
    if content is not UNCHANGED or memory_type is not UNCHANGED:
        record = replace(record, key=record.usual_key())
    if metadata is not UNCHANGED:
        record = replace(record, metadata=checks.check_metadata(metadata))
    if ttl_days is not UNCHANGED:
        record = replace(record, expires_at=checks.expiry(record.created_at, ttl_days))
    return record


def restored_record(record: Record) -> Record:
    """Return a record as it was before another one superseded it."""
    current = replace(record, superseded_by=None, valid_until=None)
    return replace(current, key=current.usual_key()) if record.superseded_by else record


def _maker_of(type_: type[T]) -> Callable[..., T]:
    """Return what makes an object of a frozen dataclass with slots from all its values, in order.

    That takes half as long as calling the class, which sets each value through `object`.
    """
    setters = [getattr(type_, field.name).__set__ for field in fields(type_)]  # type: ignore[arg-type]

    def make(*values: Any) -> T:
        made = type_.__new__(type_)
        for set_value, value in zip(setters, values, strict=True):
            set_value(made, value)
        return made

    return make


_memory, _recalled = _maker_of(Memory), _maker_of(RecalledMemory)


def to_memory(record: Record) -> Memory:
    """Return a record as a memory for users."""
    return _memory(*_public(record, record.access_count), record.deduplicated)


def to_recalled(match: Match, uncounted: int, now: datetime) -> RecalledMemory:
    """Return a match as a recalled memory for users.

    Args:
        match: The record with its similarity and probability.
        uncounted: Accesses that are not in the record's own count yet.
        now: The moment at which recency is measured.
    """
    record, similarity = match.record, match.similarity
    accesses = record.access_count + uncounted
    age_days = (now - record.created_at) / _DAY
    certain = confidence(similarity, recency(record.type, age_days), frequency(accesses))
    return _recalled(*_public(record, accesses), False, similarity, certain, match.probability)


def _public(record: Record, access_count: int) -> tuple[Any, ...]:
    """Return what users see of a record, in the order of the fields of `Memory`."""
    scope = record.scope
    return (
        record.id, record.content, record.type, scope.user_id, scope.session_id,
        dict(record.metadata), record.created_at, record.expires_at, record.pinned, access_count,
        record.true_from, record.valid_until, record.superseded_by, record.sources,
    )  # fmt: skip


def to_document(memory: RecalledMemory) -> Document:
    """Return a recalled memory as a document."""
    return Document(
        id=memory.id,
        page_content=memory.content,
        metadata={
            **memory.metadata,
            "memory_type": memory.memory_type,
            "similarity": memory.similarity,
            "confidence": memory.confidence,
            "probability": memory.probability,
            "created_at": memory.created_at.isoformat(),
            "user_id": memory.user_id,
            "session_id": memory.session_id,
        },
    )
