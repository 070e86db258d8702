"""What a place keeps: records of three kinds, their keys, and what becomes of two of one key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS
from langchain_kronvex.recall.ranking import Floats

Kind = Literal["memory", "message", "item"]
KINDS: tuple[Kind, ...] = ("memory", "message", "item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One stored thing.

    Attributes:
        kind: What it is; records of different kinds never meet.
        id: Unique in the store.
        scope: Whose it is.
        key: Unique within kind, owner and session; the same key means the same record.
        type: The memory type, or the type of the message.
        content: The text.
        search_text: What it is found by, when that is not the content.
        metadata: JSON values.
        created_at: When it was last said; UTC.
        said_at: When it was first said, which never changes; None for `created_at`.
        expires_at: UTC, or None; without effect while pinned.
        pinned: Never expires.
        access_count: How often recall returned it.
        deduplicated: `add` found the key there and renewed the older record.
        completes: `add` stores it only in the place of the record with its id; when that one was
            erased meanwhile, it does not come back.
        base: What it was read as before it was changed. What others have changed since stays as
            they left it, where it was not changed here (`rebased`).
        vector: Of the search text, for `add` to store; of records that are read, those of
            `export_page` alone carry one.
    """

    kind: Kind
    id: str
    scope: Scope
    key: str
    type: str
    content: str
    created_at: datetime
    said_at: datetime | None = None
    search_text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    pinned: bool = False
    access_count: int = 0
    deduplicated: bool = False
    completes: bool = False
    base: Record | None = field(default=None, compare=False, repr=False)
    vector: Floats | None = field(default=None, compare=False, repr=False)

    @property
    def found_by(self) -> str:
        """The text that recall searches, and that the vector is of."""
        return self.content if self.search_text is None else self.search_text


def content_key(memory_type: str, content: str) -> str:
    """Return the key of a memory: the same text of the same type has the same key."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{memory_type}\0{content}".encode())
    return digest.hexdigest()


def renewed(old: Record, new: Record) -> Record:
    """Return what is kept when `new` says again what `old` says.

    The later date and the later expiry win, a pin stays, new metadata is laid over the old.
    """
    expiries = (old.expires_at, new.expires_at)
    latest = max((e for e in expiries if e), default=None) if None not in expiries else None
    return replace(
        old,
        created_at=max(old.created_at, new.created_at),
        expires_at=latest,
        pinned=old.pinned or new.pinned,
        metadata={**old.metadata, **new.metadata},
        deduplicated=True,
    )


_CHANGING = (
    "type", "content", "search_text", "metadata", "created_at", "expires_at", "pinned", "key",
)  # fmt: skip


def rebased(record: Record, stored: Record) -> Record:
    """Return a changed record as if it had been read just now, as what is stored."""
    base = record.base
    if base is None:
        return record
    theirs = {
        name: getattr(stored, name)
        for name in _CHANGING
        if getattr(record, name) == getattr(base, name)
    }
    merged = replace(record, base=None, **theirs)
    if "content" not in theirs and record.content.startswith(base.content):  # it goes on
        content = stored.content + record.content[len(base.content) :]
        merged = replace(merged, content=content[:MAX_CONTENT_CHARS])
    if merged.key != stored.key:
        merged = replace(merged, key=content_key(merged.type, merged.content))
    return merged


def moved_id(record: Record, agent_id: str) -> str:
    """Return the id of a record that is restored where its own id stands for another one.

    It depends on where the record goes, so that restoring it again finds it there.
    """
    place = (agent_id, record.kind, record.scope.owner, record.scope.session_id or "", record.id)
    return hashlib.blake2b("\0".join(place).encode(), digest_size=16).hexdigest()
