"""Export and import of the PostgreSQL store: records leave with their vectors, return unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.records import Record
from langchain_kronvex.storage.model_check import sound_vector
from langchain_kronvex.storage.postgres import rows, vectors
from langchain_kronvex.storage.postgres.database import Statement, Transaction, locking
from langchain_kronvex.storage.postgres.erasing import delete_rows, renew_generation
from langchain_kronvex.storage.postgres.reading import in_order
from langchain_kronvex.storage.postgres.writing import begin, count_accesses
from langchain_kronvex.storage.record import (
    from_cells,
    moved_id,
    moved_ids,
    pointing_to,
    related_ids,
    renewed,
)

_PAGE_CHARS = 8 << 20  # the most text of a page
_DROP_EXPIRED = (
    f"{delete_rows(f'r.id = ANY(%s) AND NOT {rows.VISIBLE}')} SELECT DISTINCT scope FROM gone"
)
_HOLDERS = (
    "SELECT r.id, r.scope, r.kind, r.session_id FROM langchain_kronvex.records AS r "
    f"WHERE r.id = ANY(%s) AND {rows.VISIBLE}"
)
# What a restored record superseded was superseded by the older one with its text.
_REPOINT = (
    "UPDATE langchain_kronvex.records SET superseded_by = %s "
    "WHERE scope = %s AND superseded_by = %s"
)
_Session = tuple[Any, ...]  # scope, kind and session


def export_page(
    tx: Transaction, owner: str | None, limit: int, now: datetime, after: int, model: str | None
) -> list[tuple[int, Record]]:
    """See `MemoryBackend.export_page`."""
    known = vectors.model_of(tx) if model is not None else None
    vector = "pgvector.halfvec_send(r.vector)" if known and known[0] == model else "NULL::bytea"
    whose = rows.OF_AGENT if owner is None else "r.scope = %s AND r.kind <> 'item'"
    page = (
        "SELECT p.* FROM (SELECT r.seq, sum(length(r.content)) OVER (ORDER BY r.seq) "
        f"- length(r.content), {vector}, {rows.RECORD_COLUMNS} "
        "FROM langchain_kronvex.records AS r WHERE r.seq > %s AND r.seq <= %s "
        f"AND {whose} AND {rows.VISIBLE} "
        "ORDER BY r.seq LIMIT %s) AS p (seq, before) WHERE p.before < %s"
    )
    of = tx.agent_id if owner is None else tx.scope(owner)
    found = in_order(tx, after, page, [of, now, limit, _PAGE_CHARS])
    return [
        (seq, from_cells(cells, sound_vector(rows.from_halfvec(sent), known)))
        for seq, _, sent, *cells in found
    ]


def restore(tx: Transaction, records: Sequence[Record], now: datetime, model: str | None) -> int:
    """See `MemoryBackend.restore`."""
    # Two imports could find the same id unused and store it for two owners. Only imports take this
    # lock, before all others, so that no two transactions deadlock.
    tx.execute_all([locking("kronvex import")])
    batch, records = begin(tx, records, model, records)
    counts: dict[str, int] = {}
    repointed: list[tuple[Any, ...]] = []
    moved: dict[str, str] = {}
    for given in _with_free_ids(tx, records, now):
        record = pointing_to(given, moved)
        older = batch.at_place(record, now)
        if older and older.content == record.content:
            batch.update(renewed(older, record))
            repointed.append((older.id, tx.scope(record.scope.owner), record.id))
            moved[record.id] = older.id
        elif not older or older.created_at < record.created_at:
            if older:
                batch.retire(older)
            batch.insert(record)
            counts[record.id] = record.access_count
    batch.send()
    if repointed:
        tx.execute(_REPOINT, repointed, many=True)
    if any(counts.values()):
        count_accesses(tx, {id_: count for id_, count in counts.items() if count}, now)
    return len(counts)


def _with_free_ids(tx: Transaction, records: Sequence[Record], now: datetime) -> list[Record]:
    """Return the records that are not stored yet, with other ids where theirs are taken."""
    records = _with_moved(tx, records, now)
    left, fresh = dict(enumerate(records)), dict[int, Record]()
    held: dict[str, _Session | None] = {}
    while left:
        held = _holders(tx, [record.id for record in left.values()], now) | held
        for number, record in list(left.items()):
            owner, kind, session, _ = record.place
            place = (tx.scope(owner), kind, session)
            if held[record.id] not in (None, place):
                left[number] = replace(record, id=moved_id(record, tx.agent_id))
                continue
            if held[record.id] is None:
                fresh[number], held[record.id] = record, place
            del left[number]
    return [fresh[number] for number in sorted(fresh)]


def _with_moved(tx: Transaction, records: Sequence[Record], now: datetime) -> list[Record]:
    """Return the records; they name successors and sources whose ids are taken by moved ids."""
    held = _holders(tx, [id_ for record in records for id_ in related_ids(record)], now)

    def taken(record: Record) -> set[str]:
        own = (tx.scope(record.scope.owner), record.kind)
        return {id_ for id_ in related_ids(record) if (held.get(id_) or own)[:2] != own}

    return [pointing_to(r, moved_ids(r, taken(r), tx.agent_id)) for r in records]


def _holders(tx: Transaction, ids: Sequence[str], now: datetime) -> dict[str, _Session | None]:
    """Return where each id is in use, None for nowhere; delete expired records with these ids."""
    if not ids:
        return {}
    gone, found = tx.execute_all(
        [Statement(_DROP_EXPIRED, [ids, now]), Statement(_HOLDERS, [ids, now])]
    )
    if gone:
        renew_generation(tx, [scope for (scope,) in gone])
    return {**dict.fromkeys(ids), **{row[0]: row[1:] for row in found}}
