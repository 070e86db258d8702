"""How the records of a SQLite store move house: out with their vectors, in as they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from langchain_kronvex.storage.backend import Record, moved_id, renewed
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.erasing import delete_rows
from langchain_kronvex.storage.sqlite.writing import SqliteWriting
from langchain_kronvex.storage.timestamps import to_micros

_PAGE_CHARS = 8 << 20  # of text, by which a page is cut short

# The + keeps SQLite to the order of writing, so that it stops at the limit.
_EXPORTED = (
    "+r.scope IN (SELECT scope FROM scopes WHERE agent_id = ? AND (? IS NULL OR owner = ?)) "
    f"AND (? IS NULL OR r.kind <> 'item') AND {rows.VISIBLE} AND r.seq > ?"
)
_WITH_ID = (
    "SELECT scope, kind, session_id, pinned OR expires IS NULL OR expires > ? FROM records "
    "WHERE id = ?"
)


class SqliteTransfer(SqliteWriting):
    """The verbs of a SQLite backend by which records move."""

    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """See `MemoryBackend.export_page`."""
        parameters = (self._agent_id, owner, owner, owner, to_micros(now), after)
        with self._file.snapshot():
            sizes = self._file.read(
                f"SELECT r.seq, length(r.content) FROM records AS r WHERE {_EXPORTED} "
                "ORDER BY r.seq LIMIT ?",
                (*parameters, limit),
            )
            with_vectors = model is not None and self._models_are(model)
            found = self._file.read(
                f"SELECT r.seq, {'r.vector' if with_vectors else 'NULL'}, {rows.RECORD_COLUMNS} "
                f"FROM {rows.RECORD_TABLES} WHERE {_EXPORTED} AND r.seq <= ? ORDER BY r.seq",
                (*parameters, _last_on_page(sizes)),
            )
        return [(row[0], _with_vector(rows.to_record(row[2:]), row[1])) for row in found]

    def last_position(self) -> int:
        """See `MemoryBackend.last_position`."""
        ((last,),) = self._file.read("SELECT coalesce(max(seq), 0) FROM records")
        return int(last)

    def restore(self, records: Sequence[Record], now: datetime, model: str | None = None) -> int:
        """See `MemoryBackend.restore`."""
        with self._file.transaction() as connection:
            records = self._fitting(connection, records, model)
            writes = self._next_revisions(connection, records)
            return sum(self._restore(connection, r, *writes[r.scope.owner], now) for r in records)

    def _restore(
        self,
        connection: sqlite3.Connection,
        record: Record,
        scope: int,
        revision: int,
        now: datetime,
    ) -> bool:
        place = (scope, record.kind, record.scope.session_id or "")
        while row := connection.execute(_WITH_ID, (to_micros(now), record.id)).fetchone():
            *other, visible = row
            if not visible:
                self._make_room(connection, record.id)
                break
            if tuple(other) == place:
                return False
            record = replace(record, id=moved_id(record, self._agent_id))
        older = self._same_key(connection, record, scope, now)
        if older and older.content == record.content:
            self._update(connection, renewed(older, record), scope, revision)
            return False
        if older and older.created_at >= record.created_at:
            return False
        if older:
            self._empty(connection, older.id, revision)
        self._insert(connection, record, scope, revision)
        if record.access_count:
            connection.execute(
                "INSERT INTO accesses (seq, count) SELECT seq, ? FROM records WHERE id = ?",
                (record.access_count, record.id),
            )
        return True

    def _make_room(self, connection: sqlite3.Connection, id_: str) -> None:
        """Remove an expired or emptied record at once, which indexes in RAM may still know."""
        connection.execute(
            "UPDATE scopes SET generation = generation + 1 "
            "WHERE scope = (SELECT scope FROM records WHERE id = ?)",
            (id_,),
        )
        self._file.mark(connection, "purged")
        delete_rows(connection, "id = ?", [id_])

    def _fitting(
        self, connection: sqlite3.Connection, records: Sequence[Record], model: str | None
    ) -> Sequence[Record]:
        """Return the records, without vectors that are not of the store's model and width."""
        width = next((len(r.vector) for r in records if r.vector is not None), None)
        if width is None:
            return records
        if model is not None and self._takes(connection, model, width):
            return records
        return [replace(record, vector=None) for record in records]


def _last_on_page(sizes: Sequence[tuple[Any, ...]]) -> int:
    """Return the position at which a page ends, so that its texts are not too much at once."""
    chars = 0
    for position, size in sizes:
        chars += size
        if chars > _PAGE_CHARS:
            return int(position)
    return int(sizes[-1][0]) if sizes else 0


def _with_vector(record: Record, blob: bytes | None) -> Record:
    if blob is None:
        return record
    return replace(record, vector=np.frombuffer(blob, "<f2").astype(np.float32))
