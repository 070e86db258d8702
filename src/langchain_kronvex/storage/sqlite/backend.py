"""The embedded backend: records in one SQLite file, searched in RAM, one owner at a time.

Each verb opens a snapshot or a transaction of the file and calls the function that does the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.types import MemoryStats, Scope, SessionSummary
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import (
    Match,
    MemoryBackend,
    Page,
    Record,
    Selection,
    Unembedded,
)
from langchain_kronvex.storage.indexes import IndexCache
from langchain_kronvex.storage.sqlite import erasing, reading, recall, transfer, writing
from langchain_kronvex.storage.sqlite import vectors as stored_vectors
from langchain_kronvex.storage.sqlite.file import Schema, SqliteFile

_SHORT_WAIT_SECONDS = 0.2  # erasing in the background must not hold up writers
SCHEMA = Schema("langchain_kronvex.storage.sqlite", "records")


class SqliteBackend(MemoryBackend, ForkAware):
    """Records of one agent in a SQLite file.

    Args:
        path: The file, or None for a store in the memory of this process.
        agent_id: The agent; records of other agents in the same file are never touched.
        timeout: Seconds to wait for another process that is writing.
        cache_bytes: The most that the indexes in RAM may take.

    Attributes:
        page_rows: How many memories are read into an index at a time.
    """

    def __init__(
        self, path: Path | None, agent_id: str, *, timeout: float, cache_bytes: int
    ) -> None:
        self.file = SqliteFile(path, timeout, SCHEMA, agent_id)
        self.location = self.file.location
        self.is_erasing = self.file.is_erasing
        self.page_rows = 2000
        self._cache_bytes = cache_bytes
        self._cache = IndexCache(cache_bytes)
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start without indexes: another thread may have been changing one."""
        self._cache = IndexCache(self._cache_bytes)

    # -- writing -------------------------------------------------------------------------------

    def add(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """See `MemoryBackend.add`."""
        with self.file.transaction() as db:
            return writing.add(db, records, now, model)

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
        with self.file.transaction() as db:
            vacant = writing.put(db, records, now, model, expected=expected, deleted=deleted)
        self._cache.drop(*vacant or ())
        return vacant is not None

    def change(self, record: Record, now: datetime) -> None:
        """See `MemoryBackend.change`."""
        with self.file.transaction() as db:
            writing.change(db, record, now)

    def count_accesses(self, counts: Mapping[str, int]) -> None:
        """See `MemoryBackend.count_accesses`."""
        with self.file.transaction() as db:
            writing.count_accesses(db, counts)

    # -- reading -------------------------------------------------------------------------------

    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """See `MemoryBackend.find`."""
        with self.file.snapshot() as db:
            return reading.find(db, selection, page, now)

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`."""
        return recall.recall(self.file, self._cache, request, self.page_rows)

    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """See `MemoryBackend.sessions`."""
        with self.file.snapshot() as db:
            return reading.sessions(db, scope, now)

    def owners(self, beginning: str, now: datetime) -> list[str]:
        """See `MemoryBackend.owners`."""
        with self.file.snapshot() as db:
            return reading.owners(db, beginning, now)

    def stats(self, now: datetime) -> MemoryStats:
        """See `MemoryBackend.stats`."""
        with self.file.snapshot() as db:
            return reading.stats(db, now, self.file.size_bytes())

    def version(self) -> tuple[int, int] | None:
        """See `MemoryBackend.version`."""
        return self.file.version()

    # -- erasing -------------------------------------------------------------------------------

    def delete(self, selection: Selection, now: datetime) -> int:
        """See `MemoryBackend.delete`."""
        with self.file.transaction() as db:
            visible, owners = erasing.delete(db, selection, now)
        self._cache.drop(*owners)
        self.file.erase_freed()
        return visible

    def finish_erasing(self, now: datetime) -> None:
        """See `MemoryBackend.finish_erasing`."""
        with self.file.transaction() as db:
            erasing.purge_many(db, now)
        self.file.erase_freed(_SHORT_WAIT_SECONDS)

    def purge(self, now: datetime) -> int:
        """See `MemoryBackend.purge`."""
        with self.file.transaction() as db:
            return erasing.purge(db, now)

    # -- vectors -------------------------------------------------------------------------------

    def settle_embeddings(self, model: str, width: int | None) -> int | None:
        """See `MemoryBackend.settle_embeddings`."""
        with self.file.transaction() as db:
            return stored_vectors.settle(db, model, width)

    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """See `MemoryBackend.unembedded`."""
        with self.file.snapshot() as db:
            return stored_vectors.unembedded(db, limit, now, after=after, upcoming=upcoming)

    def embed(self, vectors: Mapping[str, Floats], model: str, *, upcoming: bool = False) -> None:
        """See `MemoryBackend.embed`."""
        with self.file.transaction() as db:
            stored_vectors.embed(db, vectors, model, upcoming=upcoming)

    def prepare_reindex(self, model: str, width: int) -> int:
        """See `MemoryBackend.prepare_reindex`."""
        with self.file.transaction() as db:
            return stored_vectors.prepare_reindex(db, model, width)

    def finish_reindex(self, model: str) -> int:
        """See `MemoryBackend.finish_reindex`."""
        with self.file.transaction() as db:
            return stored_vectors.finish_reindex(db, model)

    # -- export and import ---------------------------------------------------------------------

    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """See `MemoryBackend.export_page`."""
        with self.file.snapshot() as db:
            return transfer.export_page(db, owner, limit, now, after, model)

    def last_position(self) -> int:
        """See `MemoryBackend.last_position`."""
        return int(self.file.read("SELECT coalesce(max(seq), 0) FROM records")[0][0])

    def restore(self, records: Sequence[Record], now: datetime, model: str | None = None) -> int:
        """See `MemoryBackend.restore`."""
        with self.file.transaction() as db:
            return transfer.restore(db, records, now, model)

    def close(self) -> None:
        """See `MemoryBackend.close`."""
        self.file.close()
        self._cache = IndexCache(0)  # a closed memory that is still referred to holds no words
