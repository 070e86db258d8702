"""The embedded backend: records in one SQLite file, searched in RAM, one owner at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import nlargest
from pathlib import Path

from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.types import MemoryStats, Scope, SessionSummary
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits, search
from langchain_kronvex.storage.backend import Match, Page, Record, Selection, renewed
from langchain_kronvex.storage.index_cache import CachedIndex, IndexCache
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.erasing import delete_rows
from langchain_kronvex.storage.sqlite.file import SqliteFile
from langchain_kronvex.storage.sqlite.transfer import SqliteTransfer
from langchain_kronvex.storage.sqlite.writing import UPDATE
from langchain_kronvex.storage.timestamps import from_micros, to_micros

_CONTENT = (
    "SELECT content FROM records AS r "
    "WHERE scope = (SELECT scope FROM scopes WHERE agent_id = ? AND owner = ?) "
    f"AND kind = ? AND session_id = ? AND key = ? AND {rows.VISIBLE}"
)
_EXPIRED_KEY = (
    "scope = ? AND kind = ? AND session_id = ? AND key = ? AND expires <= ? AND NOT pinned"
)
_LOAD_ROWS = 2000
_MOST_LOOKS = 20  # of a recall at what is being written meanwhile


class SqliteBackend(SqliteTransfer, ForkAware):
    """Records of one agent in a SQLite file.

    Args:
        path: The file, or None for a store in this process's memory.
        agent_id: Whose records these are; other agents in the same file are never touched.
        timeout: Seconds to wait for another process that is writing.
        cache_bytes: Bound of the indexes kept in RAM.
    """

    def __init__(
        self, path: Path | None, agent_id: str, *, timeout: float, cache_bytes: int
    ) -> None:
        self.location = f"sqlite:///{path}" if path else "sqlite://"
        self._agent_id = agent_id
        self._file = SqliteFile(path, timeout)
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
        with self._file.transaction() as connection:
            records = self._comparable(connection, records, model)
            writes = self._next_revisions(connection, records)
            return [self._add(connection, r, *writes[r.scope.owner], now) for r in records]

    def _add(
        self,
        connection: sqlite3.Connection,
        record: Record,
        scope: int,
        revision: int,
        now: datetime,
    ) -> Record:
        record = self._rebased(connection, record, scope)
        older = self._same_key(connection, record, scope, now) if record.key != record.id else None
        if older and older.id != record.id:
            self._retire(connection, record.id, revision)
            record = renewed(older, record)
        if record.completes:
            self._renew_vector(connection, record)
        if older or record.completes:
            self._update(connection, record, scope, revision)
        else:
            self._insert(connection, record, scope, revision)
        return record

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
        with self._file.transaction() as connection:
            if expected is not None and self._contents(connection, records, now) != list(expected):
                return False
            for selection in deleted:
                self._leave(connection, selection)
            records = self._comparable(connection, records, model)
            writes = self._next_revisions(connection, records)
            for record in records:
                scope, revision = writes[record.scope.owner]
                older = self._same_key(connection, record, scope, now)
                if older:
                    self._empty(connection, older.id, revision)
                    record = replace(record, said_at=older.said_at)
                self._insert(connection, record, scope, revision)
            if records:
                self._sweep(connection, len(records), now)
            vacant = self._vacate(connection, deleted, now)
        for owner in vacant:
            self._cache.drop(owner)
        return True

    def _contents(
        self, connection: sqlite3.Connection, records: Sequence[Record], now: datetime
    ) -> list[str | None]:
        """Return what the visible records with the keys of these hold."""
        found = (
            connection.execute(_CONTENT, (self._agent_id, *_place(record), to_micros(now)))
            for record in records
        )
        return [row[0] if row else None for row in (cursor.fetchone() for cursor in found)]

    def _comparable(
        self, connection: sqlite3.Connection, records: Sequence[Record], model: str | None
    ) -> Sequence[Record]:
        """Return the records, without vectors that are not of the store's model."""
        if all(r.vector is None for r in records) or self._is_current(connection, model):
            return records
        return [replace(record, vector=None) for record in records]

    def change(self, record: Record, now: datetime) -> None:
        """See `MemoryBackend.change`."""
        with self._file.transaction() as connection:
            # A new type may be found by another formula: then the index is read anew.
            row = connection.execute(
                "UPDATE scopes SET revision = revision + 1, generation = generation + "
                "(SELECT type <> ? FROM records WHERE id = ?) WHERE scope = "
                f"(SELECT r.scope FROM records AS r WHERE r.id = ? AND {rows.VISIBLE}) "
                "RETURNING scope, revision",
                (record.type, record.id, record.id, to_micros(now)),
            ).fetchone()
            if row is None:
                raise MemoryNotFound()
            scope, revision = row
            record = self._rebased(connection, record, scope)
            place = (scope, record.kind, record.scope.session_id or "", record.key)
            delete_rows(connection, _EXPIRED_KEY, [*place, to_micros(now)])
            cells = (*rows.mutable_cells(record), revision, record.id, scope)
            try:
                connection.execute(UPDATE, cells)
            except sqlite3.IntegrityError as error:
                raise InvalidInput(
                    "A memory with this text and type exists in the same scope already; "
                    "forget one of the two."
                ) from error

    def count_accesses(self, counts: Mapping[str, int]) -> None:
        """See `MemoryBackend.count_accesses`."""
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO accesses (seq, count) SELECT seq, ? FROM records WHERE id = ? "
                "ON CONFLICT (seq) DO UPDATE SET count = count + excluded.count",
                [(count, id_) for id_, count in counts.items()],
            )

    # -- reading -------------------------------------------------------------------------------

    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """See `MemoryBackend.find`."""
        condition, parameters = rows.where(selection, self._agent_id)
        order, bounds = rows.order(page, selection)
        found = self._file.read(
            f"SELECT {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
            f"WHERE {condition} AND {rows.VISIBLE} {order}",
            [*parameters, to_micros(now), *bounds],
        )
        return [rows.to_record(row) for row in found]

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`."""
        requests = request.by_owner()
        matches = [match for each in requests for match in self._recall(each)]
        if len(requests) == 1:
            return matches
        return nlargest(request.top_k, matches, key=lambda match: match.similarity)

    def _recall(self, request: RecallRequest) -> list[Match]:
        for _ in range(_MOST_LOOKS):
            scope, hits = self._ask(request)
            matches = self._matches(scope, hits, request.now)
            if len(matches) == len(hits.seqs):
                break  # otherwise some gave way to others since, which are looked for anew
        return matches

    def _ask(self, request: RecallRequest) -> tuple[int, Hits]:
        """Return the number of an owner's scope and what its index, up to date, finds."""
        owner = request.scope.owner
        entry = self._cache.entry(owner)
        with entry.lock:
            checked = (self._file.version(), request.model)
            if entry.checked != checked or checked[0] is None:
                self._bring_up_to_date(entry, owner)
                self._check_model(request)  # last: the index holds no vectors of a later model
                entry.checked = checked
            return entry.state[0], search(entry.index, request)

    def _matches(self, scope: int, hits: Hits, now: datetime) -> list[Match]:
        """Read the chosen records; scope and expiry are asked again of the store itself."""
        if not hits.seqs:
            return []
        # The + keeps SQLite to the few rows of these numbers, not to all of the scope.
        found = self._file.read(
            f"SELECT r.seq, {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
            f"WHERE r.seq IN (SELECT value FROM json_each(?)) AND +r.scope = ? AND {rows.VISIBLE}",
            (json.dumps(hits.seqs), scope, to_micros(now)),
        )
        record_of = {row[0]: rows.to_record(row[1:]) for row in found}
        scored = zip(hits.seqs, hits.similarity, hits.probability, strict=True)
        return [Match(record_of[seq], sim, prob) for seq, sim, prob in scored if seq in record_of]

    def _bring_up_to_date(self, entry: CachedIndex, owner: str) -> None:
        looks = 0
        while looks < _MOST_LOOKS and (state := self._state(owner)) != entry.state:
            if entry.state[:2] != state[:2]:
                entry.state, entry.index = (*state[:2], 0), ScopeIndex()
            if self._take_in(entry, owner):
                entry.state = state
                looks += 1  # once more: of what gave way meanwhile, the other is still to come
        self._cache.shrink(owner)

    def _state(self, owner: str) -> tuple[int, int, int]:
        """Return scope, generation and revision of an owner, zeros for one without records."""
        state = self._file.read(
            "SELECT scope, generation, revision FROM scopes WHERE agent_id = ? AND owner = ?",
            (self._agent_id, owner),
        )
        scope, generation, revision = state[0] if state else (0, 0, 0)
        return scope, generation, revision

    def _take_in(self, entry: CachedIndex, owner: str) -> bool:
        """Add what was written since, some rows at a time; False when rows vanished meanwhile."""
        scope, generation, revision = entry.state
        numbers = self._file.read(
            "SELECT seq FROM records WHERE scope = ? AND kind = 'memory' AND revision > ? "
            "ORDER BY seq",
            (scope, revision),
        )
        for start in range(0, len(numbers), _LOAD_ROWS):
            page = json.dumps([seq for (seq,) in numbers[start : start + _LOAD_ROWS]])
            with self._file.snapshot():
                if self._state(owner)[:2] != (scope, generation):
                    return False
                changed = self._file.read(
                    f"SELECT {rows.INDEX_COLUMNS} FROM records "
                    "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
                    (page,),
                )
            entry.index.apply(map(rows.to_index_row, changed))
        return True

    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """See `MemoryBackend.sessions`."""
        condition, parameters = rows.where(Selection(kind=None, scope=scope), self._agent_id)
        found = self._file.read(
            "SELECT user_id, session_id, sum(kind = 'memory'), sum(kind = 'message'), max(created) "
            f"FROM records AS r WHERE {condition} AND r.kind <> 'item' AND {rows.VISIBLE} "
            "GROUP BY scope, user_id, session_id ORDER BY max(created) DESC, max(seq) DESC",
            [*parameters, to_micros(now)],
        )
        return [
            SessionSummary(
                user_id=user or None,
                session_id=session or None,
                memories=memories,
                messages=messages,
                last_at=from_micros(last),
            )
            for user, session, memories, messages, last in found
        ]

    def owners(self, beginning: str, now: datetime) -> list[str]:
        """See `MemoryBackend.owners`."""
        found = self._file.read(
            # The first condition makes use of the index, the second is exact.
            "SELECT owner FROM scopes AS s WHERE agent_id = ? AND owner BETWEEN ? AND ? "
            "AND substr(owner, 1, ?) = ? AND EXISTS (SELECT 1 FROM records AS r "
            f"WHERE r.scope = s.scope AND r.kind = 'memory' AND {rows.VISIBLE})",
            (
                *(self._agent_id, beginning, beginning + chr(0x10FFFF) * 256),
                *(len(beginning), beginning, to_micros(now)),
            ),
        )
        return [owner for (owner,) in found]

    def stats(self, now: datetime) -> MemoryStats:
        """See `MemoryBackend.stats`."""
        memories, messages, users, unembedded = self._file.read(
            "SELECT coalesce(sum(kind = 'memory'), 0), coalesce(sum(kind = 'message'), 0), "
            "count(DISTINCT scope), coalesce(sum(kind = 'memory' AND vector IS NULL), 0) "
            "FROM records AS r WHERE scope IN (SELECT scope FROM scopes WHERE agent_id = ?) "
            f"AND kind <> 'item' AND {rows.VISIBLE}",
            (self._agent_id, to_micros(now)),
        )[0]
        return MemoryStats(
            location=self.location,
            memories=memories,
            messages=messages,
            users=users,
            unembedded=unembedded,
            size_bytes=self._file.size_bytes(),
        )

    def close(self) -> None:
        """See `MemoryBackend.close`."""
        self._file.close()
        self._cache = IndexCache(0)  # a closed memory that is still referred to holds no words


def _place(record: Record) -> tuple[str, ...]:
    """Return what, with the agent, makes a record's key unique, and the key."""
    return (record.scope.owner, record.kind, record.scope.session_id or "", record.key)
