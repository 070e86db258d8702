"""Storing, replacing and changing records in PostgreSQL: work that holds the owners' locks.

Every piece of work that writes first locks the rows of the owners it writes for, in one order;
their writes have one order then, and no two wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound
from langchain_kronvex.storage.backend import Record, Selection, renewed
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.batch import Batch, Place, place_of
from langchain_kronvex.storage.postgres.erasing import (
    NEW_GENERATION,
    emptying,
    keeping,
    purging,
    vacating,
)
from langchain_kronvex.storage.postgres.statements import Rows, Statement, Work
from langchain_kronvex.storage.record import rebased

_SWEEP_EVERY = 256  # writes of one owner


def adding(
    agent_id: str, records: Sequence[Record], now: datetime, model: str | None
) -> Work[list[Record]]:
    """Store records; see `MemoryBackend.add`."""
    batch, there, is_current = yield from begun(agent_id, records, model)
    stored: list[Record] = []
    for record in records if is_current else without_vectors(records):
        keyed = record.key != record.id
        older = there.get(place_of(record)) if keyed else None
        if record.base is not None:
            record = yield from _rebased(agent_id, record)
            older = yield from at_place(agent_id, record)
        if batch.touches(record, older):  # the same again: what was gathered goes first
            batch = yield from sent(batch)
            older = (yield from at_place(agent_id, record)) if keyed else None
        if older and not is_visible(older, now):
            batch.drop(older)
            older = None
        if older and older.id != record.id:
            batch.retire(record)
            record = renewed(older, record)
        if older or record.completes:
            yield from _note_other_text(agent_id, record)
            batch.update(record)
        else:
            batch.insert(record)
        stored.append(record)
    yield from sent(batch)
    return stored


def sent(batch: Batch) -> Work[Batch]:
    """Send what was gathered; return an empty batch for more of the same write."""
    statements = batch.statements()
    if statements:
        yield statements
    return Batch(batch.agent_id, batch.revisions)


def at_place(agent_id: str, record: Record) -> Work[Record | None]:
    """Return the record with the key of this one, expired or not."""
    found: Rows = yield same_keys(agent_id, [record])
    return rows.to_record(found[0]) if found else None


def _rebased(agent_id: str, record: Record) -> Work[Record]:
    """Return a record with what others have changed since it was read."""
    found: Rows = yield Statement(
        f"SELECT {rows.RECORD_COLUMNS} FROM langchain_kronvex.records AS r "
        "WHERE r.scope = %s AND r.id = %s",
        [rows.scope_key(agent_id, record.scope.owner), record.id],
    )
    return rebased(record, rows.to_record(found[0])) if found else record


def _note_other_text(agent_id: str, record: Record) -> Work[None]:
    """Have the index read anew where a completed record gets another text."""
    if not record.completes:
        return
    scope = rows.scope_key(agent_id, record.scope.owner)
    changed: Rows = yield Statement(
        "SELECT 1 FROM langchain_kronvex.records WHERE scope = %s AND id = %s "
        "AND coalesce(search_text, content) <> %s",
        [scope, record.id, record.found_by],
    )
    if changed:
        yield Statement(NEW_GENERATION, [[scope]])


def putting(
    agent_id: str,
    records: Sequence[Record],
    now: datetime,
    model: str | None,
    expected: Sequence[str | None] | None,
    *,
    deleted: Sequence[Selection] = (),
    retried: bool = False,
) -> Work[bool]:
    """Store records in the place of those with their keys; see `MemoryBackend.put`.

    `retried`: an earlier attempt was broken off, when all may have been done already.
    """
    leaving = {selection.scope.owner for selection in deleted if selection.scope is not None}
    batch, there, is_current = yield from begun(agent_id, records, model, leaving)
    if retried and (yield from _are_there(agent_id, records)):
        return True
    visible = {place: older for place, older in there.items() if is_visible(older, now)}
    if expected is not None:
        found = [visible.get(place_of(record)) for record in records]
        if [older.content if older else None for older in found] != list(expected):
            return False
    if deleted:
        yield emptying(agent_id, deleted)
        left: Rows = yield same_keys(agent_id, records)
        there = {place_of(record): record for record in map(rows.to_record, left)}
    for record in records if is_current else without_vectors(records):
        older = there.get(place_of(record))
        if batch.touches(record):
            batch = yield from sent(batch)
            older = yield from at_place(agent_id, record)
        if older and is_visible(older, now):
            batch.retire(older, emptied=True)
            record = replace(record, said_at=older.said_at or older.created_at)
        elif older:
            batch.drop(older)
        batch.insert(record)
    yield from sent(batch)
    yield from vacating([rows.scope_key(agent_id, owner) for owner in sorted(leaving)], now)
    for owner, revision in batch.revisions.items():
        if revision % _SWEEP_EVERY == 0:
            yield from purging(now, rows.scope_key(agent_id, owner))
    return True


def _are_there(agent_id: str, records: Sequence[Record]) -> Work[bool]:
    """Tell whether records have been stored, even if they have given way to others by now."""
    found: Rows = yield Statement(
        "SELECT count(*) FROM langchain_kronvex.records WHERE scope = ANY(%s) AND id = ANY(%s)",
        [
            list({rows.scope_key(agent_id, record.scope.owner) for record in records}),
            [record.id for record in records],
        ],
    )
    return int(found[0][0]) == len(records) > 0


def without_vectors(records: Sequence[Record]) -> list[Record]:
    """Return the records, their vectors being of no use here."""
    return [replace(record, vector=None) for record in records]


def is_visible(record: Record, now: datetime) -> bool:
    """Tell whether a record has not expired."""
    return record.pinned or record.expires_at is None or record.expires_at > now


def begun(
    agent_id: str, records: Sequence[Record], model: str | None, others: Iterable[str] = ()
) -> Work[tuple[Batch, dict[Place, Record], bool]]:
    """Lock the owners; return a batch, the records with the same keys, and whether vectors fit.

    `others` are owners who are to be locked as well.
    """
    owners = sorted({record.scope.owner for record in records}.union(others))
    keyed = [record for record in records if record.key != record.id]
    _, known, locked, found = yield [
        holding_model(agent_id),
        Statement(
            "SELECT model FROM langchain_kronvex.models WHERE agent_id = %s AND NOT upcoming",
            [agent_id],
        ),
        _lock_for_writing(agent_id, owners),
        same_keys(agent_id, keyed),
    ]
    revisions = _by_owner(agent_id, owners, locked)
    there = {place_of(record): record for record in map(rows.to_record, found)}
    return Batch(agent_id, revisions), there, bool(known) and known[0][0] == model


def holding_model(agent_id: str, *, to_change: bool = False) -> Statement:
    """Return what keeps an agent's model as it is until the transaction ends, or others away."""
    function = "pg_advisory_xact_lock" if to_change else "pg_advisory_xact_lock_shared"
    return Statement(f"SELECT {function}(hashtextextended(%s, 0))", [f"kronvex model {agent_id}"])


def locked_for_writing(agent_id: str, records: Sequence[Record]) -> Work[dict[str, int]]:
    """Lock owners, in the order in which all do, and return the number of this write for each."""
    owners = sorted({record.scope.owner for record in records})
    locked: Rows = yield _lock_for_writing(agent_id, owners)
    return _by_owner(agent_id, owners, locked)


def _by_owner(agent_id: str, owners: Sequence[str], locked: Rows) -> dict[str, int]:
    revision_of: dict[UUID, int] = dict(locked)
    return {owner: revision_of[rows.scope_key(agent_id, owner)] for owner in owners}


def _lock_for_writing(agent_id: str, owners: Sequence[str]) -> Statement:
    ordered = sorted((rows.scope_key(agent_id, owner), owner) for owner in owners)
    return Statement(
        "INSERT INTO langchain_kronvex.scopes AS s (scope, agent_id, owner, revision) "
        "SELECT scope, %s, owner, 1 FROM unnest(%s::uuid[], %s::text[]) AS w (scope, owner) "
        "ORDER BY scope ON CONFLICT (scope) DO UPDATE SET revision = s.revision + 1 "
        "RETURNING scope, revision",
        [agent_id, [key for key, _ in ordered], [owner for _, owner in ordered]],
    )


def same_keys(agent_id: str, records: Sequence[Record]) -> Statement:
    """Return what finds the records in the places of these, expired ones too."""
    places = [
        (
            rows.scope_key(agent_id, record.scope.owner),
            record.kind,
            record.scope.session_id or "",
            rows.key_digest(record.key),
        )
        for record in records
    ]
    columns = [list(column) for column in zip(*places, strict=True)] or [[], [], [], []]
    return Statement(
        f"SELECT {rows.RECORD_COLUMNS} FROM "
        "unnest(%s::uuid[], %s::text[], %s::text[], %s::bytea[]) AS w (scope, kind, session, key) "
        "JOIN langchain_kronvex.records AS r ON r.scope = w.scope AND r.kind = w.kind "
        "AND r.session_id = w.session AND r.key_digest = w.key",
        columns,
    )


def changing(agent_id: str, record: Record, now: datetime) -> Work[None]:
    """Write type, key, metadata, expiry and pin; see `MemoryBackend.change`."""
    scope = rows.scope_key(agent_id, record.scope.owner)
    # A new type may be found by another formula: then the index is read anew.
    locked: Rows = yield Statement(
        "UPDATE langchain_kronvex.scopes AS s SET revision = s.revision + 1, generation = "
        "CASE WHEN r.type = %s THEN s.generation ELSE nextval('langchain_kronvex.generations') END "
        "FROM langchain_kronvex.records AS r WHERE s.scope = %s AND r.scope = s.scope "
        f"AND r.id = %s AND {rows.VISIBLE} RETURNING s.revision",
        [record.type, scope, record.id, now],
    )
    if not locked:
        raise MemoryNotFound()
    if record.base is not None:
        record = yield from _rebased(agent_id, record)
    batch = Batch(agent_id, {record.scope.owner: locked[0][0]})
    found: Rows = yield same_keys(agent_id, [record])
    for other in map(rows.to_record, found):
        if other.id == record.id:
            continue
        if is_visible(other, now):
            raise InvalidInput(
                "A memory with this text and type exists in the same scope already; "
                "forget one of the two."
            )
        batch.drop(other)
    batch.update(replace(record, completes=False))
    yield from sent(batch)


def counting_accesses(agent_id: str, counts: Mapping[str, int]) -> Work[None]:
    """Add to the access counts of records, by id; see `MemoryBackend.count_accesses`."""
    owners: Rows = yield Statement(
        "SELECT DISTINCT r.scope FROM langchain_kronvex.records AS r "
        f"WHERE r.id = ANY(%s) AND {rows.EACH_OF_AGENT}",
        [list(counts), agent_id],
    )
    yield from keeping([scope for (scope,) in owners])
    yield Statement(
        "INSERT INTO langchain_kronvex.accesses AS a (scope, seq, count) "
        "SELECT r.scope, r.seq, w.count FROM unnest(%s::text[], %s::bigint[]) AS w (id, count) "
        f"JOIN langchain_kronvex.records AS r ON r.id = w.id WHERE {rows.EACH_OF_AGENT} "
        "ORDER BY r.scope, r.seq "
        "ON CONFLICT (scope, seq) DO UPDATE SET count = a.count + excluded.count",
        [list(counts), list(counts.values()), agent_id],
    )
