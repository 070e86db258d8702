"""Storing, replacing and changing records in PostgreSQL, while their owners are locked.

Every transaction that writes first locks the rows of the owners it writes for, in an order common
to all workers. So the writes of one owner have one order, and no two transactions deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound
from langchain_kronvex.storage.backend import Record, Selection, renewed
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.batch import Batch
from langchain_kronvex.storage.postgres.database import Statement, Transaction
from langchain_kronvex.storage.postgres.erasing import (
    empty_places,
    forget_empty_owners,
    keep_owners,
    purge,
    renew_generation,
)
from langchain_kronvex.storage.record import (
    Place,
    from_cells,
    is_visible,
    place_of,
    rebased,
    without_vectors,
)

_PURGE_EVERY = 256  # writes of one owner


def add(
    tx: Transaction, records: Sequence[Record], now: datetime, model: str | None
) -> list[Record]:
    """See `MemoryBackend.add`."""
    batch, there, fits = _begin(tx, records, model)
    stored: list[Record] = []
    for record in records if fits else without_vectors(records):
        has_key = record.key != record.id
        older = there.get(place_of(record)) if has_key else None
        if record.base is not None:
            record = _rebase(tx, record)
            older = at_place(tx, record)
        if batch.touches(record, older):  # the same again: send the first one before
            batch.send()
            older = at_place(tx, record) if has_key else None
        if older and not is_visible(older, now):
            batch.drop(older)
            older = None
        if older and older.id != record.id:
            batch.retire(record)
            record = renewed(older, record)
        if older or record.completes:
            _note_other_text(tx, record)
            batch.update(record)
        else:
            batch.insert(record)
        stored.append(record)
    batch.send()
    return stored


def put(
    tx: Transaction,
    records: Sequence[Record],
    now: datetime,
    model: str | None,
    expected: Sequence[str | None] | None,
    deleted: Sequence[Selection],
) -> bool:
    """See `MemoryBackend.put`."""
    leaving = {selection.scope.owner for selection in deleted if selection.scope is not None}
    batch, there, fits = _begin(tx, records, model, leaving)
    if tx.is_retry and _are_stored(tx, records):
        return True
    if expected is not None:
        found = [there.get(place_of(record)) for record in records]
        contents = [each.content if each and is_visible(each, now) else None for each in found]
        if contents != list(expected):
            return False
    if deleted:
        empty_places(tx, deleted)
        there = _at_places(tx, records)
    for record in records if fits else without_vectors(records):
        older = there.get(place_of(record))
        if batch.touches(record):
            batch.send()
            older = at_place(tx, record)
        if older and is_visible(older, now):
            batch.retire(older, emptied=True)
            record = replace(record, said_at=older.said_at or older.created_at)
        elif older:
            batch.drop(older)
        batch.insert(record)
    batch.send()
    forget_empty_owners(tx, [tx.scope(owner) for owner in sorted(leaving)], now)
    for owner, revision in batch.revisions.items():
        if revision % _PURGE_EVERY == 0:
            purge(tx, now, tx.scope(owner))
    return True


def change(tx: Transaction, record: Record, now: datetime) -> None:
    """See `MemoryBackend.change`."""
    # With a new type another formula may find it: then the index is read anew.
    locked = tx.execute(
        "UPDATE langchain_kronvex.scopes AS s SET revision = s.revision + 1, generation = "
        "CASE WHEN r.type = %s THEN s.generation ELSE nextval('langchain_kronvex.generations') END "
        "FROM langchain_kronvex.records AS r WHERE s.scope = %s AND r.scope = s.scope "
        f"AND r.id = %s AND {rows.VISIBLE} RETURNING s.revision",
        [record.type, tx.scope(record.scope.owner), record.id, now],
    )
    if not locked:
        raise MemoryNotFound()
    if record.base is not None:
        record = _rebase(tx, record)
    batch = Batch(tx, {record.scope.owner: locked[0][0]})
    other = at_place(tx, record)
    if other and other.id != record.id:
        if is_visible(other, now):
            raise InvalidInput(
                "A memory with this text and type exists in the same scope already; "
                "forget one of the two."
            )
        batch.drop(other)
    batch.update(replace(record, completes=False))
    batch.send()


def count_accesses(tx: Transaction, counts: Mapping[str, int]) -> None:
    """See `MemoryBackend.count_accesses`."""
    owners = tx.execute(
        "SELECT DISTINCT r.scope FROM langchain_kronvex.records AS r "
        f"WHERE r.id = ANY(%s) AND {rows.EACH_OF_AGENT}",
        [list(counts), tx.agent_id],
    )
    keep_owners(tx, [scope for (scope,) in owners])
    tx.execute(
        "INSERT INTO langchain_kronvex.accesses AS a (scope, seq, count) "
        "SELECT r.scope, r.seq, w.count FROM unnest(%s::text[], %s::bigint[]) AS w (id, count) "
        f"JOIN langchain_kronvex.records AS r ON r.id = w.id WHERE {rows.EACH_OF_AGENT} "
        "ORDER BY r.scope, r.seq "
        "ON CONFLICT (scope, seq) DO UPDATE SET count = a.count + excluded.count",
        [list(counts), list(counts.values()), tx.agent_id],
    )


# -- steps that other writes share -----------------------------------------------------------------


def holding_model(agent_id: str, *, to_change: bool = False) -> Statement:
    """Return the statement that keeps an agent's model unchanged until the transaction ends.

    With `to_change`: that waits for all who do so, and keeps others out.
    """
    function = "pg_advisory_xact_lock" if to_change else "pg_advisory_xact_lock_shared"
    return Statement(f"SELECT {function}(hashtextextended(%s, 0))", [f"kronvex model {agent_id}"])


def lock_for_writing(tx: Transaction, records: Sequence[Record]) -> dict[str, int]:
    """Lock the owners of records; return the number of this write for each owner."""
    owners = {record.scope.owner for record in records}
    (locked,) = tx.execute_all([_locking(tx, owners)])
    return _by_owner(tx, owners, dict(locked))


def at_place(tx: Transaction, record: Record) -> Record | None:
    """Return the record at the place of this one, expired or not."""
    return _at_places(tx, [record]).get(place_of(record))


def same_places(tx: Transaction, records: Sequence[Record]) -> Statement:
    """Return the statement that finds the records at the places of these, also expired ones."""
    places = [
        (tx.scope(place.owner), place.kind, place.session, rows.key_digest(place.key))
        for place in map(place_of, records)
    ]
    columns = [list(column) for column in zip(*places, strict=True)] or [[], [], [], []]
    return Statement(
        f"SELECT {rows.RECORD_COLUMNS} FROM "
        "unnest(%s::uuid[], %s::text[], %s::text[], %s::bytea[]) AS w (scope, kind, session, key) "
        "JOIN langchain_kronvex.records AS r ON r.scope = w.scope AND r.kind = w.kind "
        "AND r.session_id = w.session AND r.key_digest = w.key",
        columns,
    )


def _at_places(tx: Transaction, records: Sequence[Record]) -> dict[Place, Record]:
    (found,) = tx.execute_all([same_places(tx, records)])
    return {place_of(record): record for record in map(from_cells, found)}


def _begin(
    tx: Transaction, records: Sequence[Record], model: str | None, others: Iterable[str] = ()
) -> tuple[Batch, dict[Place, Record], bool]:
    """Lock the owners of records, and other owners.

    Returns:
        A batch, the records at the same places, and whether the vectors fit those of the store.
    """
    owners = {record.scope.owner for record in records}.union(others)
    with_key = [record for record in records if record.key != record.id]
    _, known, locked, found = tx.execute_all(
        [
            holding_model(tx.agent_id),
            Statement(
                "SELECT model FROM langchain_kronvex.models WHERE agent_id = %s AND NOT upcoming",
                [tx.agent_id],
            ),
            _locking(tx, owners),
            same_places(tx, with_key),
        ]
    )
    there = {place_of(record): record for record in map(from_cells, found)}
    batch = Batch(tx, _by_owner(tx, owners, dict(locked)))
    return batch, there, bool(known) and known[0][0] == model


def _locking(tx: Transaction, owners: Iterable[str]) -> Statement:
    """Return the statement that locks owners in the order common to all workers."""
    ordered = sorted((tx.scope(owner), owner) for owner in owners)
    return Statement(
        "INSERT INTO langchain_kronvex.scopes AS s (scope, agent_id, owner, revision) "
        "SELECT scope, %s, owner, 1 FROM unnest(%s::uuid[], %s::text[]) AS w (scope, owner) "
        "ORDER BY scope ON CONFLICT (scope) DO UPDATE SET revision = s.revision + 1 "
        "RETURNING scope, revision",
        [tx.agent_id, [scope for scope, _ in ordered], [owner for _, owner in ordered]],
    )


def _by_owner(
    tx: Transaction, owners: Iterable[str], revision_of: Mapping[UUID, int]
) -> dict[str, int]:
    return {owner: revision_of[tx.scope(owner)] for owner in owners}


def _rebase(tx: Transaction, record: Record) -> Record:
    """Return a record with what others have changed since it was read."""
    found = tx.execute(
        f"SELECT {rows.RECORD_COLUMNS} FROM langchain_kronvex.records AS r "
        "WHERE r.scope = %s AND r.id = %s",
        [tx.scope(record.scope.owner), record.id],
    )
    return rebased(record, from_cells(found[0])) if found else record


def _note_other_text(tx: Transaction, record: Record) -> None:
    """Have indexes read anew when a completed record gets another text."""
    if not record.completes:
        return
    scope = tx.scope(record.scope.owner)
    if tx.execute(
        "SELECT 1 FROM langchain_kronvex.records WHERE scope = %s AND id = %s "
        "AND coalesce(search_text, content) <> %s",
        [scope, record.id, record.found_by],
    ):
        renew_generation(tx, [scope])


def _are_stored(tx: Transaction, records: Sequence[Record]) -> bool:
    """Return whether an earlier attempt stored the records, even if others replaced them since."""
    found = tx.execute(
        "SELECT count(*) FROM langchain_kronvex.records WHERE scope = ANY(%s) AND id = ANY(%s)",
        [
            list({tx.scope(record.scope.owner) for record in records}),
            [record.id for record in records],
        ],
    )
    return int(found[0][0]) == len(records) > 0
