"""Export and import of the records of PostgreSQL: out with their vectors, in as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from langchain_kronvex.storage.backend import Record, moved_id, renewed
from langchain_kronvex.storage.model_check import fits
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.batch import Batch
from langchain_kronvex.storage.postgres.database import Statement, Transaction
from langchain_kronvex.storage.postgres.erasing import delete_rows, renew_generation
from langchain_kronvex.storage.postgres.reading import in_order
from langchain_kronvex.storage.postgres.vectors import model_of, set_width
from langchain_kronvex.storage.postgres.writing import (
    at_place,
    holding_model,
    lock_for_writing,
    same_places,
)
from langchain_kronvex.storage.record import from_cells, is_visible, place_of, without_vectors

_PAGE_CHARS = 8 << 20  # the most text of a page
_ALONE = Statement("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", ["kronvex import"])
_Session = tuple[UUID, str, str]  # scope, kind and session


def export_page(
    tx: Transaction, owner: str | None, limit: int, now: datetime, after: int, model: str | None
) -> list[tuple[int, Record]]:
    """See `MemoryBackend.export_page`."""
    known = model_of(tx) if model is not None else None
    vector = "pgvector.halfvec_send(r.vector)" if known and known[0] == model else "NULL::bytea"
    whose = rows.OF_AGENT if owner is None else "r.scope = %s AND r.kind <> 'item'"
    of = tx.agent_id if owner is None else tx.scope(owner)

    def part(start: int, end: int) -> Statement:
        return Statement(
            "SELECT p.* FROM (SELECT r.seq, sum(length(r.content)) OVER (ORDER BY r.seq) "
            f"- length(r.content), {vector}, {rows.RECORD_COLUMNS} "
            f"FROM langchain_kronvex.records AS r WHERE {whose} AND {rows.VISIBLE} "
            "AND r.seq > %s AND r.seq <= %s "
            "ORDER BY r.seq LIMIT %s) AS p (seq, before) WHERE p.before < %s",
            [of, now, start, end, limit, _PAGE_CHARS],
        )

    return [
        (seq, from_cells(cells, None if sent is None else rows.from_halfvec(sent)))
        for seq, _, sent, *cells in in_order(tx, after, part)
    ]


def restore(tx: Transaction, records: Sequence[Record], now: datetime, model: str | None) -> int:
    """See `MemoryBackend.restore`."""
    # An id belongs to one memory, and two imports could find the same id free for two owners. Only
    # imports take this lock, before all others: no two transactions deadlock.
    tx.execute_all([_ALONE, holding_model(tx.agent_id)])
    if not _vectors_fit(tx, records, model):
        records = without_vectors(records)
    batch = Batch(tx, lock_for_writing(tx, records))
    fresh = _with_free_ids(tx, records, now)
    (found,) = tx.execute_all([same_places(tx, fresh)])
    there = {place_of(older): older for older in map(from_cells, found)}
    stored = 0
    for record in fresh:
        older = there.get(place_of(record))
        if batch.touches(record, older):
            batch.send()
            older = at_place(tx, record)
        if older and not is_visible(older, now):
            batch.drop(older)
            older = None
        if older and older.content == record.content:
            batch.update(renewed(older, record))
            continue
        if older and older.created_at >= record.created_at:
            continue
        if older:
            batch.retire(older, emptied=True)
        batch.insert(record)
        stored += 1
    batch.send()
    return stored


def _vectors_fit(tx: Transaction, records: Sequence[Record], model: str | None) -> bool:
    """Return whether the vectors can be stored; the store has their width from now on."""
    width = next((len(r.vector) for r in records if r.vector is not None), None)
    known = model_of(tx)
    if width is None or model is None or known is None or not fits(known, model, width):
        return False
    if known[1] is None:
        set_width(tx, width)
    return True


def _with_free_ids(tx: Transaction, records: Sequence[Record], now: datetime) -> list[Record]:
    """Return the records that are not stored yet, with other ids where theirs are taken."""
    fresh: list[Record | None] = list(records)
    taken: dict[str, _Session] = {}
    to_check = list(range(len(records)))
    while to_check:
        ids = [record.id for record in (fresh[n] for n in to_check) if record is not None]
        known = tx.execute(
            f"SELECT r.id, r.scope, r.kind, r.session_id, {rows.VISIBLE} "
            "FROM langchain_kronvex.records AS r WHERE r.id = ANY(%s)",
            [now, ids],
        )
        for id_, scope, _, _, visible in known:
            if not visible:
                _remove(tx, scope, id_)
        there = {id_: (scope, kind, session) for id_, scope, kind, session, v in known if v}
        moved = []
        for n in to_check:
            record = fresh[n]
            if record is None:
                continue
            own = (tx.scope(record.scope.owner), record.kind, record.scope.session_id or "")
            holder = there.get(record.id) or taken.get(record.id)
            if holder is None:
                taken[record.id] = own
            elif holder == own:
                fresh[n] = None
            else:
                fresh[n] = replace(record, id=moved_id(record, tx.agent_id))
                moved.append(n)
        to_check = moved
    return [record for record in fresh if record is not None]


def _remove(tx: Transaction, scope: UUID, id_: str) -> None:
    """Remove an expired or emptied record at once, which indexes in RAM may still know."""
    renew_generation(tx, [scope])
    tx.execute(
        f"{delete_rows('r.scope = %s AND r.id = %s')} SELECT count(*) FROM gone", [scope, id_]
    )
