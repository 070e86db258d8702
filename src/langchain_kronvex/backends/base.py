"""The seam between the memory and where it is kept: one kind of record and a few verbs.

Memories and chat messages are records, and so are items, in which parts of this package keep what
is neither; no verb shows an item to users. A backend is done when `tests/contract` passes with
it added to one list. Sync is the base colour: a backend that is not natively asynchronous gets
the `a…` twins from here, which run the verb in a worker thread.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

from langchain_kronvex.ranking import Floats
from langchain_kronvex.types import MemoryStats, Scope, SessionSummary

Kind = Literal["memory", "message", "item"]
KINDS: tuple[Kind, ...] = ("memory", "message", "item")
T = TypeVar("T")


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
        vector: Of the search text, for `add` to store; records that are read carry none.
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
    vector: Floats | None = field(default=None, compare=False, repr=False)

    @property
    def found_by(self) -> str:
        """The text that recall searches, and that the vector is of."""
        return self.content if self.search_text is None else self.search_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records. Every condition given must hold; `scope` None means the whole agent.

    Without a `kind` it is memories and messages, and items too when there is no condition at all:
    what owns an item is no user, and a user may have the same name.
    """

    kind: Kind | None
    scope: Scope | None
    include_shared: bool = False
    ids: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    type: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether there is no condition at all."""
        conditions = (self.kind, self.scope, self.ids, self.keys, self.type)
        return all(condition is None for condition in conditions)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that may be selected."""
        if self.kind is not None:
            return (self.kind,)
        return KINDS if self.is_everything else ("memory", "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of the selected records, in which order.

    `written` is the order of writing, `created` the order of `created_at`.
    """

    by: Literal["written", "created"] = "written"
    newest_first: bool = False
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A question to the memories of one scope; `model` names the maker of its vector."""

    query: str
    vector: Floats | None
    model: str | None
    scope: Scope
    include_shared: bool
    memory_type: str | None
    limit: int
    threshold: float
    now: datetime


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


class MemoryBackend(ABC):
    """A place where the records of one agent are kept. All verbs may be called by any thread.

    Expired records are invisible to every verb from the moment `now` that the caller names.

    Attributes:
        location: The place, as a URL.
        is_service: It is a server, which embeds the memories and counts the accesses itself.
    """

    location: str
    is_service: bool = False

    def start(self, report: Callable[[Exception], None]) -> None:
        """Begin with background work of its own; called once, when the memory is open.

        Args:
            report: Told of failures that nobody waits for.
        """
        del report

    @abstractmethod
    def add(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """Store all records or none, durably, in their order; return them as stored.

        A record whose key is there already renews that one (see `renewed`). A record that
        `completes` takes the place of the one with its id. The id of any other record is new.
        The vectors of the records are the `model`'s; they are left out when the store's are of
        another model by now.
        """

    @abstractmethod
    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        model: str | None = None,
        *,
        expected: Sequence[str | None] | None = None,
    ) -> bool:
        """Store records in the place of those with their keys: all or none, durably.

        A record that takes the place of a visible one keeps the `said_at` of that one.

        Args:
            records: Each with an id that is new.
            now: The moment of writing.
            model: As for `add`.
            expected: The content that each is to replace, None for no visible record.

        Returns:
            False when something else was there than expected; then nothing was stored.
        """

    @abstractmethod
    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """Return the selected records in the order of the page."""

    @abstractmethod
    def recall(self, search: Search) -> list[Match]:
        """Return the best matches, most similar first, at most `search.limit`.

        Raises:
            EmbeddingMismatch: the search has a vector of another model than the memories'.
        """

    @abstractmethod
    def change(self, record: Record, now: datetime) -> None:
        """Write type, key, metadata, expiry and pin of an existing record.

        Raises:
            MemoryNotFound: the record is gone.
            InvalidInput: another visible record of the same scope has this key.
        """

    @abstractmethod
    def delete(self, selection: Selection, now: datetime) -> int:
        """Erase the selected records, also the expired ones, so that no byte of them is left.

        Returns:
            How many of them were visible.
        """

    @abstractmethod
    def purge(self, now: datetime) -> int:
        """Remove what expired before `now`; return how many."""

    @abstractmethod
    def count_accesses(self, counts: Mapping[str, int]) -> None:
        """Add to the access counts of records, by id; unknown ids are passed over."""

    @abstractmethod
    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """Return the sessions of one owner, or of all, the last written to first."""

    @abstractmethod
    def stats(self, now: datetime) -> MemoryStats:
        """Return what is stored."""

    @abstractmethod
    def settle_embeddings(self, model: str, width: int | None) -> int | None:
        """Make sure that the vectors are this model's, and remember it; return their width.

        Raises:
            EmbeddingMismatch: the stored vectors come from another model or have another width.
        """

    @abstractmethod
    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """Return memories without a vector that were written after a position, oldest first.

        With `upcoming`: those without a vector of the model that is being prepared.
        """

    @abstractmethod
    def embed(self, vectors: Mapping[str, Floats], model: str, *, upcoming: bool = False) -> None:
        """Store a model's unit vectors by record id; unknown ids are passed over.

        With `upcoming`: keep them aside until `finish_reindex`.

        Raises:
            EmbeddingMismatch: the store's vectors, or the upcoming ones, are of another model.
        """

    @abstractmethod
    def prepare_reindex(self, model: str, width: int) -> int:
        """Make a model the upcoming one; return how many vectors of it are there already.

        What had been computed for it before is kept, what had been for another model is not.
        """

    @abstractmethod
    def finish_reindex(self, model: str) -> int:
        """Put the upcoming vectors in the place of the others, for every process, at once.

        Returns:
            How many there are.

        Raises:
            EmbeddingMismatch: this model is not the upcoming one (any more).
        """

    def flush(self, timeout: float | None = None) -> bool:
        """Wait for background work of its own; False when `timeout` seconds were not enough."""
        del timeout
        return True

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; called once."""

    async def aadd(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """Twin of `add`."""
        return await asyncio.to_thread(self.add, records, now, model)

    async def aput(
        self,
        records: Sequence[Record],
        now: datetime,
        model: str | None = None,
        *,
        expected: Sequence[str | None] | None = None,
    ) -> bool:
        """Twin of `put`."""
        return await asyncio.to_thread(self.put, records, now, model, expected=expected)

    async def afind(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """Twin of `find`."""
        return await asyncio.to_thread(self.find, selection, page, now)

    async def arecall(self, search: Search) -> list[Match]:
        """Twin of `recall`."""
        return await asyncio.to_thread(self.recall, search)

    async def achange(self, record: Record, now: datetime) -> None:
        """Twin of `change`."""
        await asyncio.to_thread(self.change, record, now)

    async def adelete(self, selection: Selection, now: datetime) -> int:
        """Twin of `delete`."""
        return await asyncio.to_thread(self.delete, selection, now)

    async def asessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """Twin of `sessions`."""
        return await asyncio.to_thread(self.sessions, scope, now)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Twin of `flush`."""
        return await asyncio.to_thread(self.flush, timeout)

    async def astats(self, now: datetime) -> MemoryStats:
        """Twin of `stats`."""
        return await asyncio.to_thread(self.stats, now)
