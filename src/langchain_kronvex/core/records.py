"""Records: whose they are, what they hold, how they are selected, stored and found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.errors import ScopeRequired
from langchain_kronvex.core.messages import answer_content
from langchain_kronvex.core.validation import check_optional_id

Floats = NDArray[np.float32]
Kind = Literal["memory", "message", "item"]
KINDS: tuple[Kind, ...] = ("memory", "message", "item")
_BEFORE_ANSWER = f"\n{answer_content('')}"


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
    def of(cls, user_id: object, session_id: object) -> Scope:
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

    def reading(self, this_session_only: bool) -> Scope:
        """Return the part that adapters read: all sessions of the owner, or only this session.

        Raises:
            ScopeRequired: `this_session_only` without a `session_id`.
        """
        if this_session_only and self.session_id is None:
            raise ScopeRequired("this_session_only needs a session_id as well.")
        return Scope(self.owner, self.session_id if this_session_only else None)

    def __bool__(self) -> bool:
        return bool(self.owner)


class Place(NamedTuple):
    """Identifies a record: no two visible records of an agent have the same place."""

    owner: str
    kind: Kind
    session: str
    key: str


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
    base: Record | None = field(default=None, compare=False, repr=False)
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

    @property
    def place(self) -> Place:
        """Its place, by which a store finds it."""
        return Place(self.scope.owner, self.kind, self.scope.session_id or "", self.key)

    def usual_key(self, content: str | None = None) -> str:
        """Return the key of a memory: of its text, or another one, unless it was superseded.

        A superseded memory keeps no key of its text, which may be said again and then is stored
        anew.
        """
        if self.superseded_by:
            return self.id
        return content_key(self.type, self.content if content is None else content)

    def is_visible(self, now: datetime) -> bool:
        """Return whether it has not expired."""
        return self.pinned or self.expires_at is None or self.expires_at > now


Records = Sequence[Record]


def content_key(memory_type: str, content: str) -> str:
    """Return the key of a memory: the same text of the same type has the same key."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{memory_type}\0{content}".encode())
    return digest.hexdigest()


# -- what the verbs of a store are given, and what they find ---------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selects records. Every given condition must hold; `scope` None means the whole agent.

    Without a `kind`, memories and messages are selected; without any condition, items as well. The
    owner of an item is not a user, but a user may have the same name.

    Attributes:
        since, until: The first moment of `created_at`, and the first one after it.
        is_current: Only records that no other has superseded.
        as_of: Only those that were true at this moment, superseded or not.
        superseded_by: Only those that one of these ids superseded.
        sources: Only those that were derived from one of these ids.
    """

    kind: Kind | None
    scope: Scope | None
    include_shared: bool = False
    ids: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_current: bool = False
    as_of: datetime | None = None
    superseded_by: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    pinned: bool | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it selects every record."""
        return self == Selection(kind=None, scope=None)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that may be selected."""
        if self.kind is not None:
            return (self.kind,)
        return KINDS if self.is_everything else ("memory", "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of the selected records, in an order.

    `written` is the order of writing, `created` the order of `created_at`.
    """

    by: Literal["written", "created"] = "written"
    newest_first: bool = False
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Replacement:
    """Records to store in the place of those with the same keys, in one step.

    Attributes:
        records: Each has a new id.
        model: The model of their vectors, as for `MemoryBackend.add`.
        expected: The content that each record should replace, None for no visible record.
        deleted: The records to delete in the same step, before the others are stored; each
            selection names a scope. They are invisible from then on, and `finish_erasing` removes
            every byte of them.
    """

    records: Sequence[Record]
    model: str | None = None
    expected: Sequence[str | None] | None = None
    deleted: Sequence[Selection] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidated:
    """What a consolidator made of some memories of an owner, to be stored in one step.

    Attributes:
        owner: Whose memories.
        worker: Who looked at them; it must still have the owner claimed.
        positions: The memories that were looked at, by their places in the order of writing.
        set_aside: Those of them that are kept for another look.
        revision: As `Unconsolidated` has it.
        unchanged: Memories that must still be as they were read: current, with the same text, and
            derived or not.
        added: Derived memories, stored as by `add`.
        changed: Derived memories with other sources, stored as by `change`.
        removed: The ids of derived memories to erase, before the others are stored.
        model: Of the vectors, as for `add`.
    """

    owner: str
    worker: str
    positions: Sequence[int] = ()
    set_aside: Sequence[int] = ()
    revision: int = 0
    unchanged: Records = ()
    added: Records = ()
    changed: Records = ()
    removed: Sequence[str] = ()
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCondition:
    """What an operator should know of a store besides its figures; None where it cannot tell.

    Attributes:
        schema: The version of its tables.
        model: The embeddings that the agent's vectors come from.
        upcoming: The embeddings of a reindexing that was not finished.
        expired: Records that have expired, and are still stored.
        is_erasing: Whether bytes of forgotten records are still to be erased.
        set_aside: Exchanges of the agent that consolidation has given up on.
        is_writable: Whether the database lets this role write.
        agents: The agents with memories, and how many each has.
    """

    schema: int | None = None
    model: str | None = None
    upcoming: str | None = None
    expired: int = 0
    is_erasing: bool = False
    set_aside: int = 0
    is_writable: bool = True
    agents: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """A found record with its scores, both from 0 to 1."""

    record: Record
    similarity: float
    probability: float


class Unembedded(NamedTuple):
    """A memory without a vector: its place in the order of writing, its id and search text."""

    position: int
    id: str
    text: str


class Unconsolidated(NamedTuple):
    """Memories of one owner that a consolidator has not looked at, the first written first.

    `records` have their places in the order of writing. `revision` is that of the owner if these
    are all of them, else 0.
    """

    records: list[tuple[int, Record]]
    revision: int


class LastUse(NamedTuple):
    """The id of a memory, and when it was last said or recalled, in microseconds since 1970."""

    id: str
    micros: int
