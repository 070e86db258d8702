"""What the verbs of a store are given, and what they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from langchain_kronvex.core.types import KINDS, Kind, Record, Records, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selects records. Every given condition must hold; `scope` None means the whole agent.

    Without a `kind`, memories and messages are selected. Items are selected too if there is no
    condition at all: the owner of an item is not a user, but a user may have the same name.

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
        """Whether there is no condition at all."""
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

    `records` have their places in the order of writing. `revision` is that of the owner if there
    are no more of them, else 0.
    """

    records: list[tuple[int, Record]]
    revision: int


class LastUse(NamedTuple):
    """The id of a memory, and when it was last said or recalled, in microseconds since 1970."""

    id: str
    micros: int
