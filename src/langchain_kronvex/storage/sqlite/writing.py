"""The verbs of the SQLite store that store, replace and change records, and their steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from langchain_kronvex.core.errors import MemoryNotFound
from langchain_kronvex.core.records import Kind, Record, Replacement
from langchain_kronvex.storage import record as stored
from langchain_kronvex.storage.model_check import fits
from langchain_kronvex.storage.record import (
    from_cells,
    literal_conditions,
    optional_micros,
    rebased,
    to_micros,
)
from langchain_kronvex.storage.sqlite import erasing, rows
from langchain_kronvex.storage.sqlite.file import AgentConnection

_MUTABLE = (
    "key, type, content, search_text, metadata, created, expires, pinned, valid_until, "
    "superseded_by, sources, revision"
)
_CONSTANT = "scope, kind, id, user_id, session_id, said, valid_from, vector"
_MARKS = {names: ",".join("?" * (names.count(",") + 1)) for names in (_MUTABLE, _CONSTANT)}
_INSERT = (
    f"INSERT INTO records ({_MUTABLE}, {_CONSTANT}) VALUES ({_MARKS[_MUTABLE]},{_MARKS[_CONSTANT]})"
)
# The statement that finds a record of the same place would cost more than this one.
_INSERT_NEW = f"{_INSERT} ON CONFLICT DO NOTHING"
_UPDATE = f"UPDATE records SET ({_MUTABLE}) = ({_MARKS[_MUTABLE]}) WHERE id = ? AND scope = ?"
_NUMBER = (
    "INSERT INTO scopes (agent_id, owner, revision) VALUES (?, ?, 1) "
    "ON CONFLICT (agent_id, owner) DO UPDATE SET revision = revision + 1 RETURNING scope, revision"
)
# Only the text of a memory that was looked at makes another look necessary.
_LOOK_AGAIN = (
    "INSERT OR REPLACE INTO second_looks (seq, set_aside) SELECT r.seq, 0 FROM records AS r "
    "JOIN consolidations AS c ON c.scope = r.scope WHERE r.id = ? AND r.content <> ? "
    "AND r.kind = 'memory' AND r.seq <= c.seq"
)
_SELECT = f"SELECT {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} WHERE"


class Write(NamedTuple):
    """The scope of an owner, and the number of a write to it."""

    scope: int
    revision: int


def add(
    db: AgentConnection, records: Sequence[Record], now: datetime, model: str | None = None
) -> list[Record]:
    """Store records, those with a known key by renewing the older record."""
    records = usable(db, records, model)
    writes = number_writes(db, records)
    kept = []
    for record in records:
        write = writes[record.scope.owner]
        kept.append(_add(db, record, write, now))
        for id_ in record.supersedes:
            older = _last_of_chain(db, id_, write.scope, now)
            if older.id != kept[-1].id:
                update(db, stored.superseded(older, kept[-1]), write)
    return kept


def _last_of_chain(db: AgentConnection, id_: str, scope: int, now: datetime) -> Record:
    """Return the memory that a memory of this owner has become: itself, or the last successor."""
    one = f"{_SELECT} r.id = ? AND r.scope = ? AND r.kind = 'memory' AND {rows.VISIBLE}"

    def find(each: str) -> Record | None:
        row = db.execute(one, (each, scope, to_micros(now))).fetchone()
        return from_cells(row) if row else None

    return stored.last_of_chain(id_, find)


def _add(db: AgentConnection, record: Record, write: Write, now: datetime) -> Record:
    record = _rebased(db, record, write.scope)
    if not record.completes and insert_new(db, record, write):
        return record
    older = same_key(db, record, write.scope, now) if record.key != record.id else None
    if older and older.id != record.id:
        erasing.empty(db, "id = ?", [record.id])
        record = stored.renewed(older, record)
    if record.completes:
        _renew_vectors(db, record)
        db.execute(_LOOK_AGAIN, (record.id, record.content))
        if record.kind == "message":
            db.mark("purged")  # the former words are in the file until the next erasure
    if older or record.completes:
        update(db, record, write)
    else:
        insert(db, record, write)
    return record


def put(db: AgentConnection, wanted: Replacement, now: datetime) -> list[str] | None:
    """Store records, replacing those with the same keys.

    Returns:
        The owners without any record left; None if the contents were not the expected ones.
    """
    there = (_content_at_place(db, record, now) for record in wanted.records)
    if wanted.expected is not None and list(there) != list(wanted.expected):
        return None
    erasing.leave(db, wanted.deleted, now)
    records = usable(db, wanted.records, wanted.model)
    writes = number_writes(db, records)
    for record in records:
        write = writes[record.scope.owner]
        if insert_new(db, record, write):
            continue
        older = same_key(db, record, write.scope, now)
        if older:
            erasing.empty(db, "id = ?", [older.id])
            record = replace(record, said_at=older.said_at)
        insert(db, record, write)
    if records:
        erasing.sweep(db, len(records), now)
    return erasing.vacate(db, wanted.deleted, now)


def _content_at_place(db: AgentConnection, record: Record, now: datetime) -> str | None:
    owner, kind, *place = record.place
    row = db.execute(
        f"SELECT content FROM records AS r WHERE scope = ({rows.OF_AGENT} AND owner = ?) "
        f"AND {_of_kind(kind)} AND session_id = ? AND key = ? AND {rows.VISIBLE}",
        (db.agent_id, owner, *place, to_micros(now)),
    ).fetchone()
    return row[0] if row else None


def change(db: AgentConnection, record: Record, now: datetime, model: str | None = None) -> bool:
    """Write the values of an existing record that may change; return whether its text did."""
    # A new type may be found by another formula: then the index is read anew.
    row = db.execute(
        "UPDATE scopes SET revision = revision + 1, generation = generation + "
        "(SELECT type <> ? FROM records WHERE id = ?) WHERE scope = "
        f"(SELECT r.scope FROM records AS r WHERE r.id = ? AND {rows.VISIBLE}) "
        "RETURNING scope, revision",
        (record.type, record.id, record.id, to_micros(now)),
    ).fetchone()
    if row is None:
        raise MemoryNotFound()
    write = Write(*row)
    (record,) = usable(db, [_rebased(db, record, write.scope)], model)
    older = same_key(db, record, write.scope, now)
    if older and older.id != record.id:
        raise stored.key_taken()
    text = "SELECT 1 FROM records WHERE id = ? AND content <> ?"
    is_rewritten = db.execute(text, (record.id, record.content)).fetchone() is not None
    if is_rewritten:
        _renew_vectors(db, record)
        db.execute(_LOOK_AGAIN, (record.id, record.content))
        db.mark("erasing")
    update(db, record, write)
    return is_rewritten


def count_accesses(db: AgentConnection, counts: Mapping[str, int], now: datetime) -> None:
    """Add to the access counts of records, by id."""
    db.executemany(
        "INSERT INTO accesses (seq, count, latest) SELECT seq, ?, ? FROM records WHERE id = ? "
        "ON CONFLICT (seq) DO UPDATE SET count = count + excluded.count, latest = excluded.latest",
        [(count, to_micros(now), id_) for id_, count in counts.items()],
    )


# -- steps, also of restoring ------------------------------------------------------------------


def usable(db: AgentConnection, records: Sequence[Record], model: str | None) -> Sequence[Record]:
    """Return the records, without vectors that are not of the store's model and width."""
    width = next((len(r.vector) for r in records if r.vector is not None), None)
    if width is None:
        return records
    known = db.execute(rows.MODEL, (db.agent_id, False)).fetchone()
    if known == (model, width):
        return records
    if known is None or model is None or not fits(known, model, width):
        return stored.without_vectors(records)
    db.execute(rows.PUT_MODEL, (db.agent_id, 0, model, width))
    return records


def number_writes(db: AgentConnection, records: Sequence[Record]) -> dict[str, Write]:
    """Count up the revision of each owner; return this write of each."""
    owners = {record.scope.owner for record in records}
    return {o: Write(*db.execute(_NUMBER, (db.agent_id, o)).fetchone()) for o in owners}


def insert(db: AgentConnection, record: Record, write: Write) -> None:
    """Store a new record."""
    db.execute(_INSERT, _cells(record, write))


def insert_new(db: AgentConnection, record: Record, write: Write) -> bool:
    """Store a record unless its id or its place is taken; return whether it was stored."""
    return db.execute(_INSERT_NEW, _cells(record, write)).rowcount == 1


def update(db: AgentConnection, record: Record, write: Write) -> None:
    """Write the cells that may change of a record."""
    db.execute(_UPDATE, (*_mutable_cells(record), write.revision, record.id, write.scope))


def same_key(db: AgentConnection, record: Record, scope: int, now: datetime) -> Record | None:
    """Return the visible record with the key of this one; an expired one is emptied."""
    _, kind, *place = record.place
    same = f"{_SELECT} r.scope = ? AND {_of_kind(kind)} AND r.session_id = ? AND r.key = ?"
    row = db.execute(same, (scope, *place)).fetchone()
    older = from_cells(row) if row else None
    if older and not older.is_visible(now):
        leave = erasing.delete_rows if older.id == record.id else erasing.empty
        leave(db, "id = ?", [older.id])
        return None
    return older


def _rebased(db: AgentConnection, record: Record, scope: int) -> Record:
    """Return a record with what others have changed since it was read."""
    if record.base is None:
        return record
    row = db.execute(f"{_SELECT} r.id = ? AND r.scope = ?", (record.id, scope)).fetchone()
    return rebased(record, from_cells(row)) if row else record


def _renew_vectors(db: AgentConnection, record: Record) -> None:
    """Keep the vectors of a record that is about to be completed, unless its text changes.

    If the text changes, the index is read anew, since it keeps the words of the old text.
    """
    changed = db.execute(
        "SELECT seq, scope FROM records WHERE id = ? AND coalesce(search_text, content) <> ?",
        (record.id, record.found_by),
    ).fetchone()
    if changed:
        seq, scope = changed
        db.execute("DELETE FROM upcoming_vectors WHERE seq = ?", (seq,))
        db.execute("UPDATE scopes SET generation = generation + 1 WHERE scope = ?", (scope,))
    if changed or record.vector is not None:
        db.execute("UPDATE records SET vector = ? WHERE id = ?", (_blob(record), record.id))


def _of_kind(kind: Kind) -> str:
    # As a parameter, it would make SQLite plan the statement anew each time, which takes longer
    # than running it: partial indexes depend on the kind.
    return literal_conditions(kind, None)[0]


def _cells(record: Record, write: Write) -> tuple[Any, ...]:
    return (*_mutable_cells(record), write.revision, write.scope, *_constant_cells(record))


def _mutable_cells(record: Record) -> tuple[Any, ...]:
    """Return the cells that may change during the life of a record, in the order of the UPDATE."""
    times = to_micros(record.created_at), optional_micros(record.expires_at)
    validity = optional_micros(record.valid_until), record.superseded_by
    sources = json.dumps(record.sources) if record.sources else None
    return record.key, *stored.text_cells(record), *times, record.pinned, *validity, sources


def _constant_cells(record: Record) -> tuple[Any, ...]:
    """Return the cells that are written only once, in the order of the INSERT."""
    user, session = record.scope.user_id or "", record.scope.session_id or ""
    said = to_micros(record.said_at or record.created_at)
    since = optional_micros(record.valid_from)
    return record.kind, record.id, user, session, said, since, _blob(record)


def _blob(record: Record) -> bytes | None:
    return None if record.vector is None else record.vector.astype(rows.FLOAT16).tobytes()
