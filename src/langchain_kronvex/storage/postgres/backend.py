"""The store for PostgreSQL with pgvector: the same records, for many workers on many machines."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import TypeVar

from langchain_kronvex.core.config.settings import PostgresOptions, Settings
from langchain_kronvex.core.errors import EmbeddingMismatch, KronvexError
from langchain_kronvex.core.fork_safety import ForkAware
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
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.indexes import (
    CachedIndex,
    IndexCache,
    recall_in_store,
    weigh_in_store,
)
from langchain_kronvex.storage.postgres import (
    consolidating,
    erasing,
    reading,
    recall,
    rows,
    snapshots,
    transfer,
    writing,
)
from langchain_kronvex.storage.postgres import vectors as stored_vectors
from langchain_kronvex.storage.postgres.database import Database, Work, most_of_attempts
from langchain_kronvex.storage.postgres.migrations import has_tables, migrate, require_current
from langchain_kronvex.storage.postgres.row_level_security import secure
from langchain_kronvex.storage.snapshots import SnapshotKeeper

_RELEASING_SECONDS = 2.0
T = TypeVar("T")


class PostgresBackend(MemoryBackend, ForkAware):
    """Records of one agent in a PostgreSQL database.

    Args:
        conninfo: A connection string of libpq; "" with a pool of the user's.
        agent_id: The agent; records of other agents in the same tables are never touched.
        settings: How to use the database, how long to go on trying when the server is away or no
            connection is free, and the most RAM for indexes.

    Attributes:
        claim_seconds: After this time, other workers may embed what this one has claimed.
    """

    claim_seconds = 120.0

    def __init__(self, conninfo: str, agent_id: str, settings: Settings) -> None:
        options = settings.postgres or PostgresOptions()
        self._cache_bytes = settings.cache_megabytes << 20
        self.db = Database(conninfo, options, agent_id, settings.timeout_seconds)
        self.location, self.db.is_read_only = self.db.location, settings.read_only
        try:
            self.db.probe()
            if settings.read_only:
                self.db.is_limited = require_current(self.db)
            else:
                migrate(self.db)
                self.db.is_limited = secure(self.db, wanted=options.row_level_security)
        except BaseException:
            self.db.close()
            raise
        self.clock = self.db.clock.now
        save = None
        if not settings.read_only:
            snapshots.tidy(self.db)
            save = partial(snapshots.save, self.db)
        self._keeper = SnapshotKeeper(agent_id, save, self._renew, spare=False)
        self.after_fork_in_child()
        self.watch_forks()

    @staticmethod
    def exists(conninfo: str, options: PostgresOptions, *, timeout: float) -> bool:
        """Return whether a database has the tables of a store; creates nothing."""
        with contextlib.closing(Database(conninfo, options, "", timeout)) as db:
            db.probe()
            return has_tables(db)

    def after_fork_in_child(self) -> None:
        """Start without indexes, which another thread may have been changing, and claims."""
        self._cache = IndexCache(self._cache_bytes)
        self._consult = partial(recall.consult, self.db, self._cache, self._keeper)
        self._worker = uuid.uuid4()
        self._may_hold_claims = False

    def renew_soon(self, owner: str) -> None:
        """See `MemoryBackend.renew_soon`."""
        self._keeper.renew_soon(owner, self._cache)

    def _renew(self, owner: str, entry: CachedIndex) -> None:
        with entry.loading:
            recall.add_new_rows(self.db, entry, owner)

    # -- writing -------------------------------------------------------------------------------

    def add(self, records: Records, now: datetime, model: str | None = None) -> list[Record]:
        """See `MemoryBackend.add`."""
        scopes = [record.scope for record in records]
        return self._write(scopes, lambda tx: writing.add(tx, records, now, model))

    def put(self, wanted: Replacement, now: datetime) -> bool:
        """See `MemoryBackend.put`."""
        scopes = [record.scope for record in wanted.records]
        scopes += [selection.scope for selection in wanted.deleted if selection.scope is not None]
        return self._write(scopes, lambda tx: writing.put(tx, wanted, now))

    def change(self, record: Record, now: datetime, model: str | None = None) -> None:
        """See `MemoryBackend.change`."""
        self._write([record.scope], lambda tx: writing.change(tx, record, now, model))

    def _write(self, scopes: Iterable[Scope], work: Work[T]) -> T:
        """Do work on the records of the owners of these scopes; each statement has a time limit."""
        return self.db.run(work, self.db.reach_of(scopes), is_quick=True)

    def count_accesses(self, counts: Mapping[str, int], now: datetime) -> None:
        """See `MemoryBackend.count_accesses`."""
        self.db.run(lambda tx: writing.count_accesses(tx, counts, now))

    # -- reading -------------------------------------------------------------------------------

    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """See `MemoryBackend.find`."""
        return self.db.run(
            lambda tx: reading.find(tx, selection, page, now),
            rows.scopes_of(selection, self.db.agent_id),
            reads=selection.scope is not None or selection.ids is not None,
        )

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`."""
        return recall_in_store(request, self._consult)

    def weigh(self, request: RecallRequest, record: Record) -> Weighed | None:
        """See `MemoryBackend.weigh`."""
        owner = record.scope.owner
        reach = self.db.reach_of([Scope(owner or None)])
        seq = self.db.run(lambda tx: recall.position(tx, record), reach, reads=True)
        return None if seq is None else weigh_in_store(request, owner, seq, self._consult)

    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """See `MemoryBackend.sessions`."""
        reach = None if scope is None else self.db.reach_of([scope])
        return self.db.run(lambda tx: reading.sessions(tx, scope, now), reach)

    def owners(self, beginning: str, now: datetime) -> list[str]:
        """See `MemoryBackend.owners`."""
        return self.db.run(lambda tx: reading.owners(tx, beginning, now))

    def counts_by_day(self, scope: Scope | None, now: datetime) -> dict[date, int]:
        """See `MemoryBackend.counts_by_day`."""
        reach = None if scope is None else self.db.reach_of([scope])
        return self.db.run(lambda tx: reading.counts_by_day(tx, scope, now), reach)

    def stats(self, now: datetime) -> MemoryStats:
        """See `MemoryBackend.stats`."""
        stats = self.db.run(lambda tx: reading.stats(tx, now))
        if stats.unembedded:
            self.db.on_unembedded()
        return stats

    # -- erasing -------------------------------------------------------------------------------

    def delete(self, selection: Selection, now: datetime) -> int:
        """See `MemoryBackend.delete`."""
        work = most_of_attempts(lambda tx: erasing.delete(tx, selection, now))
        visible, owners = self.db.run(work, rows.scopes_of(selection, self.db.agent_id))
        self._cache.drop(*owners)
        return visible

    def purge(self, now: datetime) -> int:
        """See `MemoryBackend.purge`."""
        return self.db.run(lambda tx: erasing.purge(tx, now))

    def unused(self, owner: str, retention: Retention, now: datetime) -> list[LastUse]:
        """See `MemoryBackend.unused`."""
        reach = self.db.reach_of([Scope(owner or None)])
        return self.db.run(lambda tx: erasing.unused(tx, owner, retention, now), reach)

    def take(
        self, owner: str, chosen: Sequence[LastUse], retention: Retention, now: datetime
    ) -> list[Record]:
        """See `MemoryBackend.take`."""
        work = partial(erasing.take, owner=owner, chosen=chosen, retention=retention, now=now)
        return self._write([Scope(owner or None)], most_of_attempts(work, len))

    # -- consolidation -------------------------------------------------------------------------

    def waiting(self, now: datetime) -> list[str]:
        """See `MemoryBackend.waiting`."""
        return self.db.run(lambda tx: consolidating.waiting(tx, now))

    def claim(self, owner: str, worker: str, now: datetime, seconds: float) -> bool:
        """See `MemoryBackend.claim`."""
        scopes = [Scope(owner or None)]
        return self._write(scopes, lambda tx: consolidating.claim(tx, owner, worker, now, seconds))

    def unconsolidated(
        self, owner: str, limit: int, now: datetime, *, after: int = 0, again: Again | None = None
    ) -> Unconsolidated:
        """See `MemoryBackend.unconsolidated`."""
        reach = self.db.reach_of([Scope(owner or None)])
        return self.db.run(
            lambda tx: consolidating.unconsolidated(tx, owner, limit, now, after, again),
            reach,
            reads=True,
        )

    def consolidate(self, wanted: Consolidated, now: datetime) -> list[Record] | None:
        """See `MemoryBackend.consolidate`."""
        scopes = [Scope(wanted.owner or None)]
        return self._write(scopes, lambda tx: consolidating.consolidate(tx, wanted, now))

    # -- vectors -------------------------------------------------------------------------------

    def condition(self, now: datetime) -> StoreCondition:
        """See `MemoryBackend.condition`."""
        return self.db.run(lambda tx: reading.condition(tx, now))

    def start(self, report: Callable[[Exception], None], on_unembedded: Callable[[], None]) -> None:
        """See `MemoryBackend.start`."""
        self.db.report, self.db.on_unembedded = report, on_unembedded

    def settle_embeddings(self, model: str, width: int | None) -> int | None:
        """See `MemoryBackend.settle_embeddings`."""
        return self.db.run(lambda tx: stored_vectors.settle(tx, model, width))

    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """See `MemoryBackend.unembedded`; without `upcoming`, they are claimed for this worker."""
        if upcoming:
            return self.db.run(lambda tx: stored_vectors.without_upcoming(tx, limit, now, after))
        self._may_hold_claims = True
        worker, seconds = self._worker, self.claim_seconds
        return self.db.run(lambda tx: stored_vectors.claim(tx, worker, limit, now, after, seconds))

    def embed(
        self, vectors: Sequence[tuple[Unembedded, Floats]], model: str, *, upcoming: bool = False
    ) -> None:
        """See `MemoryBackend.embed`."""
        try:
            self.db.run(lambda tx: stored_vectors.embed(tx, vectors, model, upcoming=upcoming))
        except EmbeddingMismatch:
            self.db.run(lambda tx: stored_vectors.release(tx, self._worker))
            raise

    def embedded_elsewhere(self) -> float | None:
        """See `MemoryBackend.embedded_elsewhere`."""
        return self.db.run(lambda tx: stored_vectors.claimed_by_others(tx, self._worker))

    def prepare_reindex(self, model: str, width: int) -> int:
        """See `MemoryBackend.prepare_reindex`."""
        return self.db.run(lambda tx: stored_vectors.prepare_reindex(tx, model, width))

    def finish_reindex(self, model: str) -> int:
        """See `MemoryBackend.finish_reindex`."""
        return self.db.run(lambda tx: stored_vectors.finish_reindex(tx, model))

    # -- export and import ---------------------------------------------------------------------

    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """See `MemoryBackend.export_page`."""
        return self.db.run(lambda tx: transfer.export_page(tx, owner, limit, now, after, model))

    def last_position(self) -> int:
        """See `MemoryBackend.last_position`."""
        return self.db.run(reading.last_position)

    def restore(self, records: Records, now: datetime, model: str | None = None) -> int:
        """See `MemoryBackend.restore`."""
        return self.db.run(most_of_attempts(lambda tx: transfer.restore(tx, records, now, model)))

    def flush(self, timeout: float | None = None) -> bool:
        """See `MemoryBackend.flush`."""
        return self._keeper.flush(timeout)

    def close(self) -> None:
        """See `MemoryBackend.close`."""
        self._keeper.close()
        if self._may_hold_claims:
            self._may_hold_claims = False
            with contextlib.suppress(KronvexError):  # the claims run out later
                self.db.patience_seconds = _RELEASING_SECONDS
                self.db.run(lambda tx: stored_vectors.release(tx, self._worker))
        self.db.close()
        self._cache = IndexCache(0)  # a closed memory that is still referred to holds no texts
