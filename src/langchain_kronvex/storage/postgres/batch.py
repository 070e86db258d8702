"""The statements of one write to PostgreSQL, gathered so that each kind goes out at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_kronvex.storage.backend import Record
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.erasing import delete_rows
from langchain_kronvex.storage.postgres.statements import Statement

Place = tuple[str, str, str, str]  # owner, kind, session and key of a record

_INSERT = (
    "INSERT INTO langchain_kronvex.records (key, key_digest, type, content, search_text, metadata, "
    "created, expires, pinned, revision, scope, kind, id, user_id, session_id, said, vector) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
    "%s::real[]::pgvector.halfvec) ON CONFLICT (scope, id) DO NOTHING"  # it is ours, run again
)
_UPDATE = (
    "UPDATE langchain_kronvex.records SET key = %s, key_digest = %s, type = %s, content = %s, "
    "search_text = %s, metadata = %s, created = %s, expires = %s, pinned = %s, revision = %s "
    "WHERE scope = %s AND id = %s"
)
# A record that gave way to another: invisible from now on, purged later.
_RETIRE = (
    "UPDATE langchain_kronvex.records SET key = id, key_digest = decode(md5(id), 'hex'), "
    "expires = to_timestamp(0), pinned = false, revision = %s WHERE scope = %s AND id = %s"
)
_EMPTY = (
    "UPDATE langchain_kronvex.records SET content = '', search_text = NULL, metadata = '{}', "
    "vector = NULL, type = '' WHERE scope = %s AND id = %s"
)
_KEEP_VECTOR = (
    "UPDATE langchain_kronvex.records SET vector = coalesce(%s::real[]::pgvector.halfvec, "
    "CASE WHEN coalesce(search_text, content) = %s THEN vector END) WHERE scope = %s AND id = %s"
)
_ACCESSES = (
    "INSERT INTO langchain_kronvex.accesses (scope, seq, count) "
    "SELECT scope, seq, %s FROM langchain_kronvex.records WHERE scope = %s AND id = %s "
    "ON CONFLICT (scope, seq) DO NOTHING"
)


def place_of(record: Record) -> Place:
    """Return what makes a record the same as another one."""
    return (record.scope.owner, record.kind, record.scope.session_id or "", record.key)


@dataclass(slots=True)
class Batch:
    """The statements of one write, gathered so that each kind goes out at once."""

    agent_id: str
    revisions: dict[str, int]
    dropped: list[tuple[Any, ...]] = field(default_factory=list)
    emptied: list[tuple[Any, ...]] = field(default_factory=list)
    retired: list[tuple[Any, ...]] = field(default_factory=list)
    kept_vectors: list[tuple[Any, ...]] = field(default_factory=list)
    updated: list[tuple[Any, ...]] = field(default_factory=list)
    inserted: list[tuple[Any, ...]] = field(default_factory=list)
    accessed: list[tuple[Any, ...]] = field(default_factory=list)
    touched: set[str | Place] = field(default_factory=set)

    def _whose(self, record: Record) -> tuple[UUID, int]:
        owner = record.scope.owner
        return rows.scope_key(self.agent_id, owner), self.revisions[owner]

    def touches(self, *records: Record | None) -> bool:
        """Tell whether something is already to be done to one of these, or in its place."""
        return any(r is not None and {r.id, place_of(r)} & self.touched for r in records)

    def _touch(self, record: Record) -> None:
        self.touched |= {record.id, place_of(record)}

    def drop(self, record: Record) -> None:
        """Delete a record that has expired."""
        self.dropped.append((self._whose(record)[0], record.id))

    def retire(self, record: Record, *, emptied: bool = False) -> None:
        """Make a record invisible."""
        self._touch(record)
        scope, revision = self._whose(record)
        if emptied:
            self.emptied.append((scope, record.id))
        self.retired.append((revision, scope, record.id))

    def update(self, record: Record) -> None:
        """Write a record over the one with its id."""
        self._touch(record)
        scope, revision = self._whose(record)
        if record.completes:
            cells = rows.constant_cells(record)
            self.kept_vectors.append((cells[-1], record.found_by, scope, record.id))
        self.updated.append((*rows.mutable_cells(record), revision, scope, record.id))

    def insert(self, record: Record) -> None:
        """Write a new record."""
        self._touch(record)
        scope, revision = self._whose(record)
        cells = (*rows.mutable_cells(record), revision, scope, *rows.constant_cells(record))
        self.inserted.append(cells)
        if record.access_count:
            self.accessed.append((record.access_count, scope, record.id))

    def statements(self) -> list[Statement]:
        """Return what is to be sent, in an order in which no key is taken twice."""
        drop = delete_rows("r.scope = %s AND r.id = %s") + "SELECT count(*) FROM gone"
        each = (
            (drop, self.dropped),
            (_EMPTY, self.emptied),
            (_RETIRE, self.retired),
            (_KEEP_VECTOR, self.kept_vectors),
            (_UPDATE, self.updated),
            (_INSERT, self.inserted),
            (_ACCESSES, self.accessed),
        )
        return [
            Statement(sql, cells, many=True) if len(cells) > 1 else Statement(sql, cells[0])
            for sql, cells in each
            if cells
        ]
