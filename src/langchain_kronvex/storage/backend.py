"""The seam between the memory and where it is kept: one kind of record and a few verbs.

Memories and chat messages are records, and so are items, in which parts of this package keep what
is neither; no verb shows an item to users. A backend is done when `tests/contract` passes with
it added to one list. All verbs are synchronous: async callers run them in a thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Literal, NamedTuple

from langchain_kronvex.core.types import MemoryStats, Scope, SessionSummary
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.record import KINDS, Kind, Record, content_key, moved_id, renewed

__all__ = [
    "KINDS", "Kind", "Match", "MemoryBackend", "Page", "Record", "Selection",
    "Unembedded", "content_key", "moved_id", "renewed",
]  # fmt: skip


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


class MemoryBackend(ABC):
    """A place where the records of one agent are kept. All verbs may be called by any thread.

    Expired records are invisible to every verb from the moment `now` that the caller names.

    Attributes:
        location: The place, as a URL.
        is_remote: Whether it is a server, which embeds memories and counts accesses itself.
        clock: Returns the current time, which all processes share, as an aware datetime.
    """

    location: str
    is_remote: bool = False
    clock: Callable[[], datetime] = partial(datetime.now, timezone.utc)

    def version(self) -> object | None:
        """Return a value that changes whenever anybody writes; None when only asking can tell."""
        return None

    def start(self, report: Callable[[Exception], None]) -> None:
        """Begin with background work of its own; called once, when the memory is open.

        Args:
            report: Told of failures that nobody waits for.
        """
        del report

    def when_unembedded(self, tell: Callable[[], None]) -> None:
        """Have somebody told, now and then, of memories without a vector that others wrote.

        Args:
            tell: Comes back at once, and may be called again and again for the same memories.
        """
        del tell

    @abstractmethod
    def add(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """Store all records or none, durably, in their order; return them as stored.

        A record whose key is there already renews that one (see `renewed`). A record that
        `completes` takes the place of the one with its id, in the order of writing too, or is not
        stored when that one was erased. The id of any other record is new.
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
        deleted: Sequence[Selection] = (),
    ) -> bool:
        """Store records in the place of those with their keys: all or none, durably.

        A record that takes the place of a visible one keeps the `said_at` of that one.

        Args:
            records: Each with an id that is new.
            now: The moment of writing.
            model: As for `add`.
            expected: The content that each is to replace, None for no visible record.
            deleted: What goes in the same step, before the records come; each of one scope.
                Nobody sees it from then on; `finish_erasing` leaves no byte of it.

        Returns:
            False when something else was there than expected; then nothing was stored.
        """

    @abstractmethod
    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """Return the selected records in the order of the page."""

    @abstractmethod
    def recall(self, request: RecallRequest) -> list[Match]:
        """Return the best matches, most similar first, at most `request.top_k`.

        Raises:
            EmbeddingMismatch: the request has a vector of another model than the memories'.
        """

    @abstractmethod
    def change(self, record: Record, now: datetime) -> None:
        """Write type, key, metadata, expiry and pin of an existing record.

        Raises:
            MemoryNotFound: the record is gone, expired or replaced.
            InvalidInput: another visible record of the same scope has this key.
        """

    @abstractmethod
    def delete(self, selection: Selection, now: datetime) -> int:
        """Erase the selected records, also the expired ones, so that no byte of them is left.

        Returns:
            How many of them were visible.
        """

    def finish_erasing(self, now: datetime) -> None:
        """Erase what `put` has deleted, so that no byte of it is left.

        It may take long. What a crash kept from it is erased when the place is opened again.
        """
        del now

    @abstractmethod
    def purge(self, now: datetime) -> int:
        """Remove what expired before `now`; return how many."""

    @abstractmethod
    def count_accesses(self, counts: Mapping[str, int]) -> None:
        """Add to the access counts of records, by id; unknown ids are passed over."""

    @abstractmethod
    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """Return the sessions of one owner, or of all, the last written to first."""

    def owners(self, beginning: str, now: datetime) -> list[str]:
        """Return the owners of memories whose names begin with a text, in no order.

        This asks `sessions`; a backend that can be quicker overrides it.
        """
        found = {s.user_id or s.session_id or "" for s in self.sessions(None, now) if s.memories}
        return [owner for owner in found if owner.startswith(beginning)]

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

    def embedded_elsewhere(self) -> float | None:
        """Return after how many seconds to look again for what another worker is embedding.

        None when no other is. A worker that died has embedded nothing by then.
        """
        return None

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

    @abstractmethod
    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """Return visible records in the order of writing, each with its position in that order.

        Args:
            owner: Whose memories and messages; None for everything of the agent, items too.
            limit: At most so many; fewer when they are large. Only an empty list is the end. A
                backend that can read but all at once may return more.
            now: The moment of reading.
            after: Only those written after this position; 0 for all. No position is below 1.
            model: With the vectors of this model; without vectors when it is None, or when the
                store's are another's.
        """

    def last_position(self) -> int:
        """Return a position after which nothing is written yet, at which an export may end.

        Without one, as here, it ends with an empty page, which takes long while others write.
        """
        return 1 << 62

    @abstractmethod
    def restore(self, records: Sequence[Record], now: datetime, model: str | None = None) -> int:
        """Store what was exported as it was: all or none, durably, in its order.

        Access counts and `said_at` are stored as they are. Restoring again changes nothing:

        1. A record whose id is there, visible, of its kind and in its owner's session (whatever
           the `user_id`), is left alone. Where the id stands for anything else that is visible,
           in any scope of any agent, that is not touched: go on with the `moved_id` of the record
           in the place of its id, from here.
        2. A record whose key is visible there: with the same content it renews the older one (see
           `renewed`; id, access count and vector stay). With another content the one with the
           later `created_at` holds, the older one when they are equal; a new one takes its place
           as `put` does, with its own `said_at`.
        3. All others are stored as new. What is there and has expired makes room.

        Args:
            records: None of them expired; with any ids, keys and scopes.
            now: The moment of writing.
            model: As for `add`; the vectors are all of one width, and left out as well when the
                store's have another. When theirs is not known yet, it is now.

        Returns:
            How many were stored as new, those of 2 that took a place among them.
        """

    def flush(self, timeout: float | None = None) -> bool:
        """Wait for background work of its own; False when `timeout` seconds were not enough."""
        del timeout
        return True

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; called once."""
