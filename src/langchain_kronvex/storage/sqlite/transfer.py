"""Export and import of the SQLite store: records with their vectors, stored unchanged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from langchain_kronvex.core.records import Record
from langchain_kronvex.storage.model_check import sound_vector
from langchain_kronvex.storage.record import (
    from_cells,
    moved_id,
    moved_ids,
    pointing_to,
    related_ids,
    renewed,
    to_micros,
)
from langchain_kronvex.storage.sqlite import erasing, rows, vectors, writing
from langchain_kronvex.storage.sqlite.file import AgentConnection

_PAGE_CHARS = 8 << 20  # of text, after which a page ends

# The + keeps SQLite to the order of writing, so that it stops at the limit.
_PAGE = (
    "SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM ("
    "SELECT r.seq, length(r.content) AS size FROM records AS r WHERE "
    f"+r.scope IN ({rows.OF_AGENT} AND (? IS NULL OR owner = ?)) "
    f"AND (? IS NULL OR r.kind <> 'item') AND {rows.VISIBLE} AND r.seq > ? "
    "ORDER BY r.seq LIMIT ?)"
)

# What a restored record superseded was superseded by the older one with its text.
_REPOINT = "UPDATE records SET superseded_by = ? WHERE scope = ? AND superseded_by = ?"


def export_page(
    db: AgentConnection, owner: str | None, limit: int, now: datetime, after: int, model: str | None
) -> list[tuple[int, Record]]:
    """Return visible records in the order of writing, each with its position in that order."""
    known = vectors.model_of(db)
    with_vectors = model is not None and known is not None and known[0] == model
    found = db.execute(
        f"SELECT r.seq, {'r.vector' if with_vectors else 'NULL'}, {rows.RECORD_COLUMNS} "
        f"FROM {rows.RECORD_TABLES} JOIN ({_PAGE}) AS page ON page.seq = r.seq "
        "WHERE page.before <= ? ORDER BY page.seq",
        (db.agent_id, owner, owner, owner, to_micros(now), after, limit, _PAGE_CHARS),
    ).fetchall()
    return [
        (seq, from_cells(cells, sound_vector(rows.to_vector(cell), known)))
        for seq, cell, *cells in found
    ]


def restore(
    db: AgentConnection, records: Sequence[Record], now: datetime, model: str | None = None
) -> int:
    """Store exported records unchanged; return how many were stored as new."""
    records = writing.usable(db, records, model)
    writes = writing.number_writes(db, records)
    moved: dict[str, str] = {}
    return sum(_restore(db, record, writes[record.scope.owner], now, moved) for record in records)


def _restore(
    db: AgentConnection, record: Record, write: writing.Write, now: datetime, moved: dict[str, str]
) -> bool:
    if not related_ids(record) and writing.insert_new(db, record, write):
        return _counted(db, record, now)
    free = _with_free_id(db, pointing_to(record, moved), write.scope, now)
    if free is None:
        return False
    older = writing.same_key(db, free, write.scope, now)
    if older:
        if older.content == free.content:
            writing.update(db, renewed(older, free), write)
            db.execute(_REPOINT, (older.id, write.scope, free.id))
            moved[free.id] = older.id
        if older.content == free.content or older.created_at >= free.created_at:
            return False
        erasing.empty(db, "id = ?", [older.id])
    writing.insert(db, free, write)
    return _counted(db, free, now)


def _counted(db: AgentConnection, record: Record, now: datetime) -> bool:
    """Store the access count of a new record; return True."""
    if record.access_count:
        writing.count_accesses(db, {record.id: record.access_count}, now)
    return True


def _with_free_id(db: AgentConnection, record: Record, scope: int, now: datetime) -> Record | None:
    """Return the record with an id that is not in use; None when it is stored already."""
    _, kind, session, _ = record.place
    if related := related_ids(record):
        elsewhere = (
            "SELECT id FROM records AS r WHERE id IN (SELECT value FROM json_each(?)) "
            f"AND (scope, kind) <> (?, ?) AND {rows.VISIBLE}"
        )
        found = db.execute(elsewhere, (json.dumps(related), scope, kind, to_micros(now)))
        taken = [id_ for (id_,) in found.fetchall()]
        record = pointing_to(record, moved_ids(record, taken, db.agent_id))
    with_id = f"SELECT scope, kind, session_id, {rows.VISIBLE} FROM records AS r WHERE id = ?"
    while row := db.execute(with_id, (to_micros(now), record.id)).fetchone():
        *other, visible = row
        if not visible:  # make room at once
            db.mark("purged")
            erasing.remove(db, "id = ?", [record.id])
            break
        if other == [scope, kind, session]:
            return None
        record = replace(record, id=moved_id(record, db.agent_id))
    return record
