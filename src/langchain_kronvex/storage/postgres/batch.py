"""The changes of one write to PostgreSQL, gathered so that each kind is sent at once."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from langchain_kronvex.storage.backend import Record
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.database import Statement, Transaction
from langchain_kronvex.storage.postgres.erasing import delete_rows
from langchain_kronvex.storage.record import Place, place_of

_DROP = delete_rows("r.scope = %s AND r.id = %s") + "SELECT count(*) FROM gone"
_EMPTY = (
    "UPDATE langchain_kronvex.records SET content = '', search_text = NULL, metadata = '{}', "
    "vector = NULL, type = '' WHERE scope = %s AND id = %s"
)
# A record that was replaced by another one: invisible from now on, purged later.
_RETIRE = (
    "UPDATE langchain_kronvex.records SET key = id, key_digest = decode(md5(id), 'hex'), "
    "expires = to_timestamp(0), pinned = false, revision = %s WHERE scope = %s AND id = %s"
)
_KEEP_VECTOR = (
    "UPDATE langchain_kronvex.records SET vector = coalesce(%s::real[]::pgvector.halfvec, "
    "CASE WHEN coalesce(search_text, content) = %s THEN vector END) WHERE scope = %s AND id = %s"
)
_UPDATE = (
    "UPDATE langchain_kronvex.records SET key = %s, key_digest = %s, type = %s, content = %s, "
    "search_text = %s, metadata = %s, created = %s, expires = %s, pinned = %s, revision = %s "
    "WHERE scope = %s AND id = %s"
)
_INSERT = (
    "INSERT INTO langchain_kronvex.records (key, key_digest, type, content, search_text, metadata, "
    "created, expires, pinned, revision, scope, kind, id, user_id, session_id, said, vector) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
    "%s::real[]::pgvector.halfvec) ON CONFLICT (scope, id) DO NOTHING"  # from an earlier attempt
)
_ACCESSES = (
    "INSERT INTO langchain_kronvex.accesses (scope, seq, count) "
    "SELECT scope, seq, %s FROM langchain_kronvex.records WHERE scope = %s AND id = %s "
    "ON CONFLICT (scope, seq) DO NOTHING"
)
# In this order no key is taken twice.
_ORDER = (_DROP, _EMPTY, _RETIRE, _KEEP_VECTOR, _UPDATE, _INSERT, _ACCESSES)


class Batch:
    """The changes of one write, until they are sent.

    Args:
        tx: The transaction that writes.
        revisions: The number of this write for each owner, who is locked.
    """

    def __init__(self, tx: Transaction, revisions: dict[str, int]) -> None:
        self.revisions = revisions
        self._tx = tx
        self._cells: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._touched: set[str | Place] = set()

    def touches(self, *records: Record | None) -> bool:
        """Return whether one of these records, or its place, is already changed."""
        return any(r is not None and {r.id, place_of(r)} & self._touched for r in records)

    def drop(self, record: Record) -> None:
        """Delete a record that has expired."""
        self._cells[_DROP].append((self._tx.scope(record.scope.owner), record.id))

    def retire(self, record: Record, *, emptied: bool = False) -> None:
        """Make a record invisible."""
        scope, revision = self._touch(record)
        if emptied:
            self._cells[_EMPTY].append((scope, record.id))
        self._cells[_RETIRE].append((revision, scope, record.id))

    def update(self, record: Record) -> None:
        """Write a record over the one with its id."""
        scope, revision = self._touch(record)
        if record.completes:
            vector = rows.constant_cells(record)[-1]
            self._cells[_KEEP_VECTOR].append((vector, record.found_by, scope, record.id))
        self._cells[_UPDATE].append((*rows.mutable_cells(record), revision, scope, record.id))

    def insert(self, record: Record) -> None:
        """Write a new record."""
        scope, revision = self._touch(record)
        cells = (*rows.mutable_cells(record), revision, scope, *rows.constant_cells(record))
        self._cells[_INSERT].append(cells)
        if record.access_count:
            self._cells[_ACCESSES].append((record.access_count, scope, record.id))

    def send(self) -> None:
        """Send the changes; then the batch is empty."""
        statements = [
            Statement(sql, cells, many=True) if len(cells) > 1 else Statement(sql, cells[0])
            for sql in _ORDER
            if (cells := self._cells.pop(sql, []))
        ]
        self._touched.clear()
        if statements:
            self._tx.execute_all(statements)

    def _touch(self, record: Record) -> tuple[UUID, int]:
        """Note that a record is changed; return its scope and the number of this write."""
        self._touched |= {record.id, place_of(record)}
        owner = record.scope.owner
        return self._tx.scope(owner), self.revisions[owner]
