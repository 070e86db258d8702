"""The backend for PostgreSQL with pgvector: the same records, for many workers on many machines.

Every verb is a job that the database runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.types import MemoryStats, Scope, SessionSummary
from langchain_kronvex.storage.backend import Page, Record, Selection
from langchain_kronvex.storage.index_cache import IndexCache
from langchain_kronvex.storage.postgres import erasing, reading, rows, transfer, writing
from langchain_kronvex.storage.postgres import migrations as schema
from langchain_kronvex.storage.postgres.connections import connections_to, location_of
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.options import PostgresOptions
from langchain_kronvex.storage.postgres.recall import PostgresRecall
from langchain_kronvex.storage.postgres.statements import (
    Job,
    Work,
    telling_retries,
    telling_the_most,
)
from langchain_kronvex.storage.postgres.vector_verbs import PostgresEmbedding


class PostgresBackend(PostgresRecall, PostgresEmbedding, ForkAware):
    """Records of one agent in a PostgreSQL database.

    Args:
        conninfo: A URL, as libpq reads it.
        agent_id: Whose records these are; other agents in the same tables are never touched.
        options: How the database is spoken to.
        timeout: Seconds to go on trying when the server is away, or no connection free.
        cache_bytes: Bound of the indexes kept in RAM.
    """

    def __init__(
        self,
        conninfo: str,
        agent_id: str,
        options: PostgresOptions,
        *,
        timeout: float,
        cache_bytes: int,
    ) -> None:
        self.location = location_of(conninfo, options)
        self._agent_id = agent_id
        self._cache_bytes = cache_bytes
        connections = connections_to(conninfo, options, timeout)
        self._db = Database(connections, options, self.location, timeout)
        try:
            connections.probe(self.location)
            schema.prepare(self._db, options.schema, self.location)
            if schema.secure(self._db, self.location, wanted=options.row_level_security):
                self._db.limit_reach()
        except BaseException:
            self._db.close()
            raise
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start without indexes: another thread may have been changing one."""
        self._cache = IndexCache(self._cache_bytes)
        self._worker = uuid.uuid4()
        self._may_hold_claims = False  # those are the parent's

    def now(self) -> datetime:
        """Return the server's time, which all workers share."""
        return self._db.now()

    def _reach_of(self, selection: Selection) -> tuple[str, ...] | None:
        scopes = rows.scopes_of(selection, self._agent_id)
        return None if scopes is None else tuple(map(str, scopes))

    # -- writing -------------------------------------------------------------------------------

    def _adding(
        self, records: Sequence[Record], now: datetime, model: str | None
    ) -> Job[list[Record]]:
        reach = rows.reach(self._agent_id, *{record.scope.owner for record in records})
        return Job(
            lambda: writing.adding(self._agent_id, records, now, model), reach, is_quick=True
        )

    def add(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """See `MemoryBackend.add`."""
        return self._db.run(self._adding(records, now, model))

    def _putting(
        self,
        records: Sequence[Record],
        now: datetime,
        model: str | None,
        expected: Sequence[str | None] | None,
        deleted: Sequence[Selection],
    ) -> Job[bool]:
        scopes = [r.scope for r in records] + [s.scope for s in deleted if s.scope is not None]
        reach = rows.reach(self._agent_id, *{scope.owner for scope in scopes})

        def work(retried: bool) -> Work[bool]:
            return writing.putting(
                self._agent_id, records, now, model, expected, deleted=deleted, retried=retried
            )

        return Job(telling_retries(work), reach, is_quick=True)

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        model: str | None = None,
        *,
        expected: Sequence[str | None] | None = None,
        deleted: Sequence[Selection] = (),
    ) -> bool:
        """See `MemoryBackend.put`."""
        return self._db.run(self._putting(records, now, model, expected, deleted))

    def _changing(self, record: Record, now: datetime) -> Job[None]:
        reach = rows.reach(self._agent_id, record.scope.owner)
        return Job(lambda: writing.changing(self._agent_id, record, now), reach, is_quick=True)

    def change(self, record: Record, now: datetime) -> None:
        """See `MemoryBackend.change`."""
        self._db.run(self._changing(record, now))

    def count_accesses(self, counts: Mapping[str, int]) -> None:
        """See `MemoryBackend.count_accesses`."""
        self._db.run(Job(lambda: writing.counting_accesses(self._agent_id, counts)))

    # -- erasing -------------------------------------------------------------------------------

    def _erasing(self, selection: Selection, now: datetime) -> Job[erasing.Erased]:
        def work() -> Work[erasing.Erased]:
            return erasing.erasing(self._agent_id, selection, now)

        return Job(telling_the_most(work, lambda erased: erased[0]), self._reach_of(selection))

    def delete(self, selection: Selection, now: datetime) -> int:
        """See `MemoryBackend.delete`."""
        return self._erased(self._db.run(self._erasing(selection, now)))

    def _erased(self, erased: erasing.Erased) -> int:
        for owner in erased.owners:
            self._cache.drop(owner)
        return erased.visible

    def purge(self, now: datetime) -> int:
        """See `MemoryBackend.purge`."""
        return self._db.run(Job(lambda: erasing.purging(now)))

    # -- reading -------------------------------------------------------------------------------

    def _finding(self, selection: Selection, page: Page, now: datetime) -> Job[list[Record]]:
        return Job(
            lambda: reading.finding(self._agent_id, selection, page, now),
            self._reach_of(selection),
            reads_once=True,
            is_quick=selection.scope is not None or selection.ids is not None,
        )

    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """See `MemoryBackend.find`."""
        return self._db.run(self._finding(selection, page, now))

    def _summing_up(self, scope: Scope | None, now: datetime) -> Job[list[SessionSummary]]:
        reach = None if scope is None else rows.reach(self._agent_id, scope.owner)
        return Job(lambda: reading.summing_up(self._agent_id, scope, now), reach, reads_once=True)

    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """See `MemoryBackend.sessions`."""
        return self._db.run(self._summing_up(scope, now))

    def _owning(self, beginning: str, now: datetime) -> Job[list[str]]:
        return Job(lambda: reading.owning(self._agent_id, beginning, now), reads_once=True)

    def owners(self, beginning: str, now: datetime) -> list[str]:
        """See `MemoryBackend.owners`."""
        return self._db.run(self._owning(beginning, now))

    def _counting(self, now: datetime) -> Job[MemoryStats]:
        return Job(lambda: reading.counting(self._agent_id, self.location, now), reads_once=True)

    def stats(self, now: datetime) -> MemoryStats:
        """See `MemoryBackend.stats`."""
        return self._counted(self._db.run(self._counting(now)))

    def _counted(self, stats: MemoryStats) -> MemoryStats:
        if stats.unembedded:
            self._tell_of_unembedded()
        return stats

    # -- moving --------------------------------------------------------------------------------

    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """See `MemoryBackend.export_page`."""
        return self._db.run(
            Job(lambda: transfer.exporting(self._agent_id, owner, limit, now, after, model))
        )

    def last_position(self) -> int:
        """See `MemoryBackend.last_position`."""
        return self._db.run(Job(transfer.last_position, reads_once=True))

    def restore(self, records: Sequence[Record], now: datetime, model: str | None = None) -> int:
        """See `MemoryBackend.restore`."""

        def work() -> Work[int]:
            return transfer.restoring(self._agent_id, records, now, model)

        return self._db.run(Job(telling_the_most(work, int)))

    def close(self) -> None:
        """See `MemoryBackend.close`."""
        self.release()
        self._db.close()
        self._cache = IndexCache(0)  # a closed memory that is still referred to holds no words
