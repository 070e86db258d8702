"""The interface between a memory and its store: one kind of record and a few verbs.

Memories and chat messages are records. So are items, in which parts of this package keep other
data; no verb shows an item to users. A backend is complete when `tests/contract` passes with it
added to one list. All verbs are synchronous: async callers run them in a thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timezone
from functools import partial

from langchain_kronvex.core.errors import NotSupported
from langchain_kronvex.core.records import (
    Consolidated,
    Floats,
    LastUse,
    Match,
    Page,
    Record,
    Records,
    Replacement,
    Scope,
    Selection,
    StoreCondition,
    Unconsolidated,
    Unembedded,
)
from langchain_kronvex.core.types import Again, MemoryStats, Retention, SessionSummary
from langchain_kronvex.recall.explanation import Weighed
from langchain_kronvex.recall.request import RecallRequest


class MemoryBackend(ABC):
    """A store of the records of one agent. Any thread may call any verb.

    Records that have expired at `now`, which the caller passes, are invisible to every verb.

    Attributes:
        location: Its URL.
        is_remote: Whether it is a server that embeds memories and counts accesses itself.
        is_read_only: Whether nothing is to be written.
        max_top_k: The most matches it finds without reading all memories; None for no limit.
        is_erasing: Whether `finish_erasing` is to finish what could not be erased at opening.
        clock: Returns the current time, which all processes share, as an aware datetime.
    """

    location: str
    is_remote: bool = False
    is_read_only: bool = False
    max_top_k: int | None = None
    is_erasing: bool = False
    clock: Callable[[], datetime] = staticmethod(partial(datetime.now, timezone.utc))

    def version(self) -> object | None:
        """Return a value that changes with every write by any process; None if there is none."""
        return None

    def start(self, report: Callable[[Exception], None], on_unembedded: Callable[[], None]) -> None:
        """Start background work; called once, when the memory is open.

        Args:
            report: Called with the errors of the background work.
            on_unembedded: Called from time to time if others wrote memories without a vector. It
                must return at once, and may be called repeatedly for the same memories.
        """
        del report, on_unembedded

    @abstractmethod
    def add(self, records: Records, now: datetime, model: str | None = None) -> list[Record]:
        """Store all records or none, durably, in their order; return them as stored.

        If a key is stored already, the older record is renewed (see `renewed`). A record that
        `completes` replaces the record with its id and keeps its position in the order of writing;
        if that record was erased, nothing is stored. The id of any other record is new.
        The vectors come from `model`. They are left out if the store's vectors now come from
        another model.

        A memory that `supersedes` others supersedes, in the same step, the memories of the same
        owner that they have become: of each chain the last one that still exists.

        Raises:
            MemoryNotFound: the owner has no visible memory with one of the superseded ids.
        """

    @abstractmethod
    def put(self, wanted: Replacement, now: datetime) -> bool:
        """Store records, replacing those with the same keys: all or none, durably.

        A record that replaces a visible one keeps its `said_at`.

        Returns:
            False if the content was not the expected one; then nothing was stored.
        """

    @abstractmethod
    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """Return the selected records in the order of the page."""

    @abstractmethod
    def recall(self, request: RecallRequest) -> list[Match]:
        """Return the best matches, most similar first, at most `request.top_k`.

        Raises:
            EmbeddingMismatch: the request's vector comes from another model than the memories'.
        """

    def recall_among(self, owners: Sequence[str], request: RecallRequest) -> list[Match] | None:
        """Return the best matches among the memories of many owners, most similar first.

        The words and vectors of all of them together decide how much a word counts. The scope of
        the request is not an owner: it names the group, whose index is kept.

        Returns:
            None if the store has no such index, or if the owners have too many memories for one:
            then each is to be searched alone.

        Raises:
            EmbeddingMismatch: as for `recall`.
        """
        del owners, request
        return None

    @abstractmethod
    def weigh(self, request: RecallRequest, record: Record) -> Weighed | None:
        """Return how `recall` weighs a visible memory of one of its owners; None if it is gone.

        Raises:
            NotSupported: the store cannot tell.
            EmbeddingMismatch: as for `recall`.
        """

    @abstractmethod
    def change(self, record: Record, now: datetime, model: str | None = None) -> None:
        """Write the values of an existing record that may change, also its text.

        No byte of a former text is left. The vector is of the new text, from `model`, as for `add`.

        Raises:
            MemoryNotFound: the record was deleted, has expired or was replaced.
            InvalidInput: another visible record of the same scope has this key.
            ErasurePending: it is changed; `finish_erasing` removes the bytes of the former text.
        """

    @abstractmethod
    def delete(self, selection: Selection, now: datetime) -> int:
        """Erase the selected records, also expired ones, so that no byte of them is left.

        Returns:
            How many of them were visible.

        Raises:
            ErasurePending: they are deleted; `finish_erasing` removes their bytes.
        """

    def finish_erasing(self, now: datetime) -> None:
        """Erase the records that were deleted, so that no byte of them is left.

        It may take long. After a crash, they are erased when the store is next opened.

        Raises:
            ErasurePending: others use the store; call it again.
        """
        del now

    @abstractmethod
    def purge(self, now: datetime) -> int:
        """Remove the records that expired before `now`; return how many."""

    def unused(self, owner: str, retention: Retention, now: datetime) -> list[LastUse]:
        """Return the memories of an owner that do not pass a retention, the first to go first.

        Raises:
            NotSupported: the store does not know when memories were recalled.
        """
        raise NotSupported("This store does not know when memories were recalled.")

    def take(
        self, owner: str, chosen: Sequence[LastUse], retention: Retention, now: datetime
    ) -> list[Record]:
        """Delete memories that `unused` has returned; return those that were deleted by this call.

        Those that are exempt by now, or have been used since, stay. The others are invisible from
        now on, and `finish_erasing` removes every byte of them.
        """
        raise NotSupported("This store does not know when memories were recalled.")

    def waiting(self, now: datetime) -> list[str]:
        """Return the owners with memories to consolidate that no worker has claimed, in no order.

        Some of them may turn out to have none.

        Raises:
            NotSupported: the store does not know.
        """
        raise no_consolidation()

    def claim(self, owner: str, worker: str, now: datetime, seconds: float) -> bool:
        """Claim an owner for a worker, or renew its claim; False if another worker has claimed it.

        Until `seconds` from now no other worker can claim it. With 0, the claim ends.
        """
        raise no_consolidation()

    def unconsolidated(
        self, owner: str, limit: int, now: datetime, *, after: int = 0, again: Again | None = None
    ) -> Unconsolidated:
        """Return episodic memories of an owner that are to be consolidated, at most `limit`.

        These are the visible ones that were not looked at or whose text has changed since; also
        those that were set aside, or all of them, if they are to be looked at `again`. Superseded
        ones are left out, and those written before the position `after`, or at it.
        """
        raise no_consolidation()

    def consolidate(self, wanted: Consolidated, now: datetime) -> list[Record] | None:
        """Store what was made of memories, and that they were looked at: all or nothing, durably.

        Returns:
            The added records as stored. None if the claim was lost, or a memory is not
            `unchanged`; then nothing was stored.

        Raises:
            MemoryNotFound: a memory to change or supersede is gone; nothing was stored.
        """
        raise no_consolidation()

    @abstractmethod
    def count_accesses(self, counts: Mapping[str, int], now: datetime) -> None:
        """Add to the access counts of records, by id; unknown ids are ignored."""

    @abstractmethod
    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """Return the sessions of one owner, or of all; the one written to last comes first."""

    def owners(self, beginning: str, now: datetime) -> list[str]:
        """Return the owners of memories whose names begin with a text, in no order.

        This one calls `sessions`; faster backends override it.
        """
        found = {s.user_id or s.session_id or "" for s in self.sessions(None, now) if s.memories}
        return [owner for owner in found if owner.startswith(beginning)]

    def counts_by_day(self, scope: Scope | None, now: datetime) -> dict[date, int]:
        """Return how many memories of one owner, or of all, were created on each day (UTC).

        This one reads them all; faster backends override it.
        """
        found = self.find(Selection(kind="memory", scope=scope), Page(), now)
        return Counter(each.created_at.date() for each in found)

    @abstractmethod
    def stats(self, now: datetime) -> MemoryStats:
        """Return how much is stored."""

    def condition(self, now: datetime) -> StoreCondition:
        """Return what an operator should know besides; changes nothing."""
        del now
        return StoreCondition()

    @abstractmethod
    def settle_embeddings(self, model: str, width: int | None) -> int | None:
        """Check that the vectors come from this model, and note the model; return their width.

        Raises:
            EmbeddingMismatch: the stored vectors come from another model or have another width.
        """

    @abstractmethod
    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """Return memories without a vector that were written after a position, oldest first.

        With `upcoming`: those without a vector of the upcoming model.
        """

    def embedded_elsewhere(self) -> float | None:
        """Return the seconds after which to look again for memories that another worker embeds.

        None if no other worker embeds any. If that worker has died, they have no vector then.
        """
        return None

    @abstractmethod
    def embed(
        self, vectors: Sequence[tuple[Unembedded, Floats]], model: str, *, upcoming: bool = False
    ) -> None:
        """Store a model's unit vectors; memories that are gone or have another text are ignored.

        With `upcoming`: they are not used until `finish_reindex`.

        Raises:
            EmbeddingMismatch: the store's vectors, or the upcoming ones, come from another model.
        """

    @abstractmethod
    def prepare_reindex(self, model: str, width: int) -> int:
        """Make a model the upcoming one; return how many of its vectors are stored already.

        Vectors computed for it before are kept; those of another upcoming model are deleted.
        """

    @abstractmethod
    def finish_reindex(self, model: str) -> int:
        """Replace the vectors by the upcoming ones, at once and for every process.

        Returns:
            How many there are.

        Raises:
            EmbeddingMismatch: this model is not, or no longer, the upcoming one.
        """

    @abstractmethod
    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """Return visible records in the order of writing, each with its position in that order.

        Args:
            owner: The owner of the memories and messages; None for all records of the agent, items
                too.
            limit: At most this many, fewer if they are large. Only an empty list is the end. A
                backend that can only read everything at once may return more.
            now: The moment of reading.
            after: Only records written after this position; 0 for all. Positions start at 1.
            model: Records have the vectors of this model. They have none if it is None, or if the
                store's vectors come from another model.
        """

    def last_position(self) -> int:
        """Return the position of the record written last, at which an export may end.

        A backend without one returns a number that no position reaches. Then an export ends with
        an empty page, which may take long while others write.
        """
        return 1 << 62

    @abstractmethod
    def restore(self, records: Records, now: datetime, model: str | None = None) -> int:
        """Store exported records unchanged: all or none, durably, in their order.

        Access counts and `said_at` are stored as given. Restoring again changes nothing:

        1. If the id is stored already, visible, with the same kind, owner and session (whatever
           the `user_id`), that record is left as it is. If the id belongs to any other visible
           record, in any scope of any agent, that one is left as it is too, and these rules apply
           to the record with its `moved_id` as its id.
        2. If the key is stored already, visible, and the content is the same, the older record is
           renewed (see `renewed`; id, access count and vector stay). If the content differs, the
           record with the later `created_at` wins, and the older one if they are equal; a new one
           replaces it as in `put`, but with its own `said_at`.
        3. All other records are stored as new, and replace expired ones.

        Args:
            records: None of them has expired; ids, keys and scopes may be any.
            now: The moment of writing.
            model: As for `add`. All vectors have one width; they are also left out if the store's
                have another. A width that was unknown is known from now on.

        Returns:
            How many were stored as new, including those that replaced another record by rule 2.
        """

    def renew_soon(self, owner: str) -> None:  # noqa: B027 - for stores with an index in RAM
        """Take what was written into an owner's index in the background, if it is in RAM."""

    def flush(self, timeout: float | None = None) -> bool:
        """Wait for the background work; return False if `timeout` seconds were not enough."""
        del timeout
        return True

    @abstractmethod
    def close(self) -> None:
        """Close the store; called once."""


def no_consolidation() -> NotSupported:
    """Return the error for a store that cannot keep what was consolidated."""
    return NotSupported(
        "A Kronvex server cannot store consolidated memories in one step. Consolidate where the "
        "store is: langchain-kronvex serve --consolidate MODEL, or langchain-kronvex consolidate."
    )
