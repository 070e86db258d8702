"""The data types that users see: memories, drafts, contexts, summaries."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import (
    MemoryType,
    check_days,
    check_list,
    check_optional_count,
    check_type,
)

MemoryTypes = MemoryType | Collection[MemoryType] | None  # None for all types
Again = Literal["set_aside", "all"]  # which memories a consolidation looks at once more
OrderBy = Literal["confidence", "similarity"]


class Unchanged(Enum):
    """The type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED  # leaves a value as it is in `update`, where None is a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One stored memory.

    Attributes:
        id: Unique in the store; stays the same for the life of the memory.
        content: The text, exactly as it was given.
        memory_type: `episodic`, `semantic`, `procedural`, `fact`, `preference` or `context`.
        user_id: As given when it was stored, or None.
        session_id: As given when it was stored, or None.
        metadata: The caller's own JSON values.
        created_at: When it was said, or repeated last; UTC.
        expires_at: When it becomes invisible; None for never. A pinned memory never expires.
        pinned: Kept whatever its expiry says.
        access_count: How many times recall has returned it.
        valid_from: Since when it is true; `created_at` when it was first stored, unless given.
        valid_until: Until when it was true; None unless another memory has superseded it.
        superseded_by: The id of the memory that superseded it, or None.
        sources: The ids of the memories that it was derived from by consolidation; it is erased
            with the last of them that is forgotten. Empty for what was said or stored as it is.
        deduplicated: The text was stored already, and its dates were renewed instead. True only on
            results of `remember`, `remember_many` and `save_exchange`.
    """

    id: str
    content: str
    memory_type: MemoryType
    user_id: str | None
    session_id: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    expires_at: datetime | None
    pinned: bool
    access_count: int
    valid_from: datetime
    valid_until: datetime | None = None
    superseded_by: str | None = None
    sources: tuple[str, ...] = ()
    deduplicated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledMemory(Memory):
    """A memory found by `recall`. The three scores are numbers from 0 to 1.

    Attributes:
        similarity: How well it fits the query, on the same scale for every query.
        confidence: `0.6 * similarity + 0.2 * recency + 0.2 * frequency`.
        probability: How likely this memory answers the query; lower, the less of the query's words
            the owner's memories hold.
    """

    similarity: float
    confidence: float
    probability: float


@dataclass(frozen=True, slots=True)
class MemoryDraft:
    """A memory to be stored by `remember_many`; the fields are the arguments of `remember`."""

    content: str
    _: KW_ONLY
    memory_type: MemoryType = "episodic"
    user_id: str | None = None
    session_id: str | None = None
    ttl_days: float | None = None
    pinned: bool = False
    metadata: Mapping[str, Any] | None = None
    created_at: datetime | None = None
    valid_from: datetime | None = None
    supersedes: str | Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class MemoryContext:
    """The text for a prompt's `{memory_context}`, and its memories.

    Attributes:
        context: One line per memory, or "" without memories.
        memories: The memories in the text, in its order.
        degraded: Something failed, so memories may be missing.
    """

    context: str = ""
    memories: tuple[RecalledMemory, ...] = ()
    degraded: bool = False

    @property
    def context_block(self) -> str:
        """The same string as `context`, under the name the REST API also uses."""
        return self.context

    def __str__(self) -> str:
        return self.context


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """One session of one user: its size, and when it was last written to (UTC)."""

    user_id: str | None
    session_id: str | None
    memories: int
    messages: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSummary:
    """One user: how much is stored, in all sessions, and when it was last written to (UTC).

    `user_id` is the `session_id` of those whose memories have only that.
    """

    user_id: str
    memories: int
    messages: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Limits on the memories kept for each user; others are erased for good, as by `forget`.

    It limits each user on their own, and the agent level as one more user. Only memories go. The
    messages of chat histories stay, also those that a memory was made of.

    A memory was last used when it was last said (`created_at`) or last recalled, whichever was
    later. Recalls by version 0.1 do not count: it did not store when they were.

    These are exempt, and not counted: pinned memories (documents of `KronvexProfile` are pinned),
    those of `keep_types`, and those that supersede others, as long as one of the others is stored.
    A memory that was superseded is not exempt.

    Attributes:
        max_memories: Keep this many memories of a user, those used last; None for no limit.
        idle_days: Erase memories that were not used for this many days; None for no limit.
        keep_types: The type, or types, that are kept whatever their number and age.

    Raises:
        InvalidInput: a value does not fit, or there is neither `max_memories` nor `idle_days`.
    """

    max_memories: int | None = None
    idle_days: float | None = None
    keep_types: MemoryType | Collection[MemoryType] = ()

    def __post_init__(self) -> None:
        if self.max_memories is None and self.idle_days is None:
            raise InvalidInput("Retention needs max_memories, idle_days or both.")
        check_optional_count(self.max_memories, "max_memories", least=1)
        if self.idle_days is not None:
            check_days(self.idle_days, "idle_days", "memories of any age")
        kept = self.keep_types
        names = [kept] if isinstance(kept, str) else check_list(kept, "keep_types")
        object.__setattr__(self, "keep_types", tuple(map(check_type, names)))

    def used_since(self, now: datetime) -> datetime | None:
        """Return the moment since which memories that are kept were used; None if it is any."""
        return None if self.idle_days is None else now - timedelta(days=self.idle_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSummary:
    """The result of an export or import.

    Attributes:
        memories: How many memories.
        messages: How many chat messages.
        items: How many items, such as key-value pairs.
        stored: How many of them were new; for an export, all.
    """

    memories: int
    messages: int
    items: int
    stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """The size of the memory, and the state of its background work.

    Attributes:
        location: Where the memories are kept.
        memories: Memories of this agent that have not expired, superseded ones included.
        superseded: How many of them others have superseded; only history shows these.
        messages: Stored chat messages of this agent.
        users: Owners with at least one record.
        unembedded: Memories without a vector yet, which are found by their words only.
        pending: Background jobs not done yet.
        failed: Background jobs given up after all their tries, and texts that the embeddings
            rejected.
        degraded: Turns that went on with no memory, or part of it, because something failed.
        last_error: The latest of these errors, without any memory text.
        size_bytes: The size of the store on disk, or None if unknown.
    """

    location: str
    memories: int
    superseded: int = 0
    messages: int
    users: int
    unembedded: int
    pending: int = 0
    failed: int = 0
    degraded: int = 0
    last_error: str | None = None
    size_bytes: int | None = None
