"""The data types of this package: scopes, memories, records, drafts, contexts, summaries."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.errors import InvalidInput, ScopeRequired
from langchain_kronvex.core.messages import answer_content
from langchain_kronvex.core.validation import (
    MemoryType,
    check_days,
    check_list,
    check_optional_count,
    check_optional_id,
    check_type,
)

Floats = NDArray[np.float32]
Kind = Literal["memory", "message", "item"]
KINDS: tuple[Kind, ...] = ("memory", "message", "item")
MemoryTypes = MemoryType | Collection[MemoryType] | None  # None for all types
Again = Literal["set_aside", "all"]  # which memories a consolidation looks at once more
OrderBy = Literal["confidence", "similarity"]
_BEFORE_ANSWER = f"\n{answer_content('')}"


class Unchanged(Enum):
    """The type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED  # leaves a value as it is in `update`, where None is a value


@dataclass(frozen=True, slots=True)
class Scope:
    """The owner of a memory: ids exactly as given, both optional; neither means agent level.

    A memory belongs to one owner: the user, or, without a `user_id`, the user whose name is the
    `session_id`. Writes and reads with the same ids always match, and leaving an id out never
    reveals the memories of another owner.
    """

    user_id: str | None = None
    session_id: str | None = None

    @classmethod
    def of(cls, user_id: object, session_id: object) -> "Scope":
        """Check both ids.

        Raises:
            InvalidInput: An id is blank, too long, or not a string.
        """
        return cls(
            check_optional_id(user_id, "user_id"), check_optional_id(session_id, "session_id")
        )

    @property
    def owner(self) -> str:
        """The user who owns everything in this scope; "" for the agent level."""
        return self.user_id or self.session_id or ""

    @property
    def only_session(self) -> str | None:
        """The one session to which reading is limited; None for all sessions of the owner."""
        return self.session_id if self.user_id else None

    def reading(self, this_session_only: bool) -> "Scope":
        """Return the part that adapters read: all sessions of the owner, or only this session.

        Raises:
            ScopeRequired: there is no session to which reading could be limited.
        """
        if this_session_only and self.session_id is None:
            raise ScopeRequired("this_session_only needs a session_id as well.")
        return Scope(self.owner, self.session_id if this_session_only else None)

    def __bool__(self) -> bool:
        return bool(self.owner)


@dataclass(slots=True, kw_only=True)  # not frozen: then it takes twice as long to make one
class Record:
    """One stored memory, chat message or item. It is never changed; see `dataclasses.replace`.

    Attributes:
        kind: Records of different kinds are never compared.
        id: Unique in the store.
        scope: The user and session it belongs to.
        key: Unique within kind, owner and session; the same key means the same record.
        type: The memory type, or the type of the message.
        content: The text.
        search_text: The text that recall searches, if it differs from the content.
        metadata: JSON values.
        created_at: When the content was last said; UTC.
        said_at: When the content was first said; it never changes. None for `created_at`.
        expires_at: UTC, or None; without effect while pinned.
        pinned: Whether the record never expires.
        access_count: How often recall returned the record.
        deduplicated: Whether `add` found the key in the store and renewed the older record.
        valid_from: Since when it is true; None for `said_at`.
        valid_until: Until when it was true; None if no memory has superseded it.
        superseded_by: The id of the memory that superseded it, or None.
        supersedes: The ids of memories that `add` makes this one supersede.
        sources: The ids of the memories that it was derived from; none if it is not derived.
        completes: Whether `add` only replaces the record with this id. If that record was erased
            meanwhile, nothing is stored.
        base: The record as it was read before it was changed. Values that others have changed
            since are kept, unless they were changed here too (see `rebased`).
        vector: The vector of the search text, for `add` to store. Among the verbs that read
            records, only `export_page` returns vectors.
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
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    superseded_by: str | None = None
    supersedes: tuple[str, ...] = field(default=(), compare=False)
    sources: tuple[str, ...] = ()
    completes: bool = False
    base: "Record | None" = field(default=None, compare=False, repr=False)
    vector: Floats | None = field(default=None, compare=False, repr=False)

    @property
    def found_by(self) -> str:
        """The text that recall searches and the vector is computed from."""
        return self.content if self.search_text is None else self.search_text

    @property
    def keeps_vector(self) -> bool:
        """Whether it completes a record that is found by the same text."""
        base = self.base if self.completes else None
        return base is not None and base.found_by == self.found_by

    @property
    def words_said(self) -> str:
        """The user's words in a memory of an exchange; the whole text of any other."""
        # A server sends an exchange as one text, of which the user's words come first.
        return self.found_by.partition(_BEFORE_ANSWER)[0]

    @property
    def true_from(self) -> datetime:
        """The moment from which it is true."""
        return self.valid_from or self.said_at or self.created_at


Records = Sequence[Record]


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
