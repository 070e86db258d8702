"""The embedded backend: records in one SQLite file, searched in RAM, one owner at a time.

Each verb opens a snapshot or a transaction of the file and calls the function that does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from langchain_kronvex.core.config.settings import Settings
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.records import LastUse, Match, Record, Replacement, Selection
from langchain_kronvex.core.types import MemoryStats, Retention
from langchain_kronvex.recall.explanation import Weighed
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.indexes import (
    CachedIndex,
    H,
    IndexCache,
    Look,
    recall_in_store,
    weigh_in_store,
)
from langchain_kronvex.storage.model_check import damaged
from langchain_kronvex.storage.snapshots import SnapshotKeeper
from langchain_kronvex.storage.sqlite import (
    among,
    consolidating,
    erasing,
    reading,
    recall,
    snapshots,
    transfer,
    vectors,
    writing,
)
from langchain_kronvex.storage.sqlite.file import AgentConnection, Schema, SqliteFile

_SHORT_WAIT_SECONDS = 0.2  # erasing in the background must not hold up writers
SCHEMA = Schema("langchain_kronvex.storage.sqlite", "records", snapshots.tie)
P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[AgentConnection, P], T]
Verb = Callable[Concatenate["SqliteBackend", P], T]


def _reading(work: Work[P, T]) -> Verb[P, T]:
    """Return the verb that does this work in a snapshot."""
    return lambda self, /, *args, **kwargs: self.file.in_snapshot(
        lambda db: work(db, *args, **kwargs)
    )


def _writing(work: Work[P, T]) -> Verb[P, T]:
    """Return the verb that does this work in a transaction."""
    return lambda self, /, *args, **kwargs: self.file.in_transaction(
        lambda db: work(db, *args, **kwargs)
    )


class SqliteBackend(MemoryBackend, ForkAware):
    """Records of one agent in a SQLite file.

    Args:
        path: The file, or None for a store in the memory of this process.
        agent_id: The agent; records of other agents in the same file are never touched.
        settings: How long to wait for another process that is writing, and the most that the
            indexes in RAM may take.

    Attributes:
        page_rows: How many memories are read into an index at a time.
    """

    def __init__(self, path: Path | None, agent_id: str, settings: Settings) -> None:
        read_only = settings.read_only
        self.file = SqliteFile(
            path, settings.timeout_seconds, SCHEMA, agent_id, read_only=read_only
        )
        self.location = self.file.location
        self.is_erasing = self.file.is_erasing
        self.page_rows = 2000
        self._cache_bytes = settings.cache_megabytes << 20
        self._cache = IndexCache(self._cache_bytes)
        snapshots.tidy(self.file)
        save = None
        if path is not None and not read_only:
            save = partial(snapshots.save, self.file, snapshots.folder_of(path))
        self._keeper = SnapshotKeeper(agent_id, save, self._renew, spare=True)
        self._report: Callable[[Exception], None] = lambda _: None
        self._tell_unembedded: Callable[[], None] = lambda: None
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start without indexes: another thread may have been changing one."""
        self._cache = IndexCache(self._cache_bytes)

    add = _writing(writing.add)
    count_accesses = _writing(writing.count_accesses)
    find = _reading(reading.find)
    sessions = _reading(reading.sessions)
    owners = _reading(reading.owners)
    counts_by_day = _reading(reading.counts_by_day)
    last_position = _reading(reading.last_position)
    condition = _reading(reading.condition)
    purge = _writing(erasing.purge)
    unused = _reading(erasing.unused)
    waiting = _reading(consolidating.waiting)
    claim = _writing(consolidating.claim)
    unconsolidated = _reading(consolidating.unconsolidated)
    consolidate = _writing(consolidating.consolidate)
    settle_embeddings = _writing(vectors.settle)
    unembedded = _reading(vectors.unembedded)
    embed = _writing(vectors.embed)
    prepare_reindex = _writing(vectors.prepare_reindex)
    finish_reindex = _writing(vectors.finish_reindex)
    export_page = _reading(transfer.export_page)
    restore = _writing(transfer.restore)

    def put(self, wanted: Replacement, now: datetime) -> bool:
        """See `MemoryBackend.put`."""
        vacant = self.file.in_transaction(lambda db: writing.put(db, wanted, now))
        self._cache.drop(*vacant or ())
        return vacant is not None

    def change(self, record: Record, now: datetime, model: str | None = None) -> None:
        """See `MemoryBackend.change`."""
        if self.file.in_transaction(lambda db: writing.change(db, record, now, model)):
            self.file.erase_freed()

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`."""
        return recall_in_store(request, self._consult)

    def recall_among(self, owners: Sequence[str], request: RecallRequest) -> list[Match] | None:
        """See `MemoryBackend.recall_among`."""
        return among.recall(self.file, self._cache, self.page_rows, owners, request)

    def weigh(self, request: RecallRequest, record: Record) -> Weighed | None:
        """See `MemoryBackend.weigh`."""
        seq = self.file.in_snapshot(lambda db: recall.position(db, record))
        owner = record.scope.owner
        return None if seq is None else weigh_in_store(request, owner, seq, self._consult)

    def _consult(self, request: RecallRequest, look: Look[H]) -> tuple[H, Mapping[int, Record]]:
        parts = (self.file, self._cache, self.page_rows, self._forget_vectors, self._keeper)
        return recall.consult(*parts, request, look)

    def renew_soon(self, owner: str) -> None:
        """See `MemoryBackend.renew_soon`."""
        self._keeper.renew_soon(owner, self._cache)

    def _renew(self, owner: str, entry: CachedIndex) -> None:
        with entry.lock:
            recall.bring_up_to_date(self.file, entry, owner, self.page_rows)

    def start(self, report: Callable[[Exception], None], on_unembedded: Callable[[], None]) -> None:
        """See `MemoryBackend.start`."""
        self._report, self._tell_unembedded = report, on_unembedded

    def _forget_vectors(self, seqs: Sequence[int]) -> None:
        self._report(damaged(self.location, len(seqs)))
        if self.is_read_only:
            return
        self.file.in_transaction(lambda db: vectors.forget(db, seqs))
        self._tell_unembedded()

    def stats(self, now: datetime) -> MemoryStats:
        """See `MemoryBackend.stats`."""
        size_bytes = self.file.size_bytes()
        return self.file.in_snapshot(lambda db: reading.stats(db, now, size_bytes))

    def version(self) -> tuple[int, int] | None:
        """See `MemoryBackend.version`."""
        return self.file.version()

    def delete(self, selection: Selection, now: datetime) -> int:
        """See `MemoryBackend.delete`."""
        visible, owners = self.file.in_transaction(lambda db: erasing.delete(db, selection, now))
        self._cache.drop(*owners)
        self.file.erase_freed()
        return visible

    def take(
        self, owner: str, chosen: Sequence[LastUse], retention: Retention, now: datetime
    ) -> list[Record]:
        """See `MemoryBackend.take`."""
        taken, vacant = self.file.in_transaction(
            lambda db: erasing.take(db, owner, chosen, retention, now)
        )
        self._cache.drop(*vacant)
        return taken

    def finish_erasing(self, now: datetime) -> None:
        """See `MemoryBackend.finish_erasing`."""
        self.file.in_transaction(lambda db: erasing.purge_many(db, now))
        self.file.erase_freed(_SHORT_WAIT_SECONDS)

    def flush(self, timeout: float | None = None) -> bool:
        """See `MemoryBackend.flush`."""
        return self._keeper.flush(timeout)

    def close(self) -> None:
        """See `MemoryBackend.close`."""
        self._keeper.close()
        self.file.close()
        self._cache = IndexCache(0)  # a closed memory that is still referred to holds no words
