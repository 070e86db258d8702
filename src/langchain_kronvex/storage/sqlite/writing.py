"""The steps of writing to the SQLite store: look a key up, number the write, store a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from langchain_kronvex.storage.backend import Record
from langchain_kronvex.storage.record import rebased
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.erasing import SqliteErasing, delete_rows

_INSERT = (
    "INSERT INTO records (key, type, content, search_text, metadata, created, expires, pinned, "
    "revision, scope, kind, id, user_id, session_id, said, vector) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
UPDATE = (
    "UPDATE records SET key = ?, type = ?, content = ?, search_text = ?, metadata = ?, "
    "created = ?, expires = ?, pinned = ?, revision = ? WHERE id = ? AND scope = ?"
)
_BY_ID = f"SELECT {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} WHERE r.id = ? AND r.scope = ?"
_SAME_KEY = (
    f"SELECT {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
    "WHERE r.scope = ? AND r.kind = ? AND r.session_id = ? AND r.key = ?"
)


class SqliteWriting(SqliteErasing):
    """The steps of which the writing verbs of a SQLite backend are made."""

    def _insert(
        self, connection: sqlite3.Connection, record: Record, scope: int, revision: int
    ) -> None:
        cells = (*rows.mutable_cells(record), revision, scope, *rows.constant_cells(record))
        connection.execute(_INSERT, cells)

    def _update(
        self, connection: sqlite3.Connection, record: Record, scope: int, revision: int
    ) -> None:
        cells = (*rows.mutable_cells(record), revision, record.id, scope)
        connection.execute(UPDATE, cells)

    def _rebased(self, connection: sqlite3.Connection, record: Record, scope: int) -> Record:
        """Return a record with what others have changed since it was read."""
        if record.base is None:
            return record
        row = connection.execute(_BY_ID, (record.id, scope)).fetchone()
        return rebased(record, rows.to_record(row)) if row else record

    def _same_key(
        self, connection: sqlite3.Connection, record: Record, scope: int, now: datetime
    ) -> Record | None:
        """Return the visible record with the key of this one; an expired one makes room."""
        place = (scope, record.kind, record.scope.session_id or "", record.key)
        row = connection.execute(_SAME_KEY, place).fetchone()
        older = rows.to_record(row) if row else None
        if older and not (older.pinned or older.expires_at is None or older.expires_at > now):
            delete_rows(connection, "id = ?", [older.id])
            return None
        return older

    def _next_revisions(
        self, connection: sqlite3.Connection, records: Sequence[Record]
    ) -> dict[str, tuple[int, int]]:
        """Return scope and number of this write, by owner."""
        owners = {record.scope.owner for record in records}
        writes = (
            "INSERT INTO scopes (agent_id, owner, revision) VALUES (?, ?, 1) "
            "ON CONFLICT (agent_id, owner) DO UPDATE SET revision = revision + 1 "
            "RETURNING scope, revision"
        )
        return {
            owner: connection.execute(writes, (self._agent_id, owner)).fetchone()
            for owner in owners
        }
