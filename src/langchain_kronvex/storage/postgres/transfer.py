"""How the records of PostgreSQL move house: out with their vectors, in as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from langchain_kronvex.storage.backend import Record, moved_id, renewed
from langchain_kronvex.storage.model_check import fits
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.batch import Batch, place_of
from langchain_kronvex.storage.postgres.erasing import NEW_GENERATION, delete_rows
from langchain_kronvex.storage.postgres.statements import (
    Rows,
    Statement,
    Work,
    from_halfvec,
    in_order,
)
from langchain_kronvex.storage.postgres.vectors import model_of
from langchain_kronvex.storage.postgres.writing import (
    at_place,
    holding_model,
    is_visible,
    locked_for_writing,
    same_keys,
    sent,
    without_vectors,
)

_PAGE_CHARS = 8 << 20  # of text, by which a page is cut short
_ALONE = Statement("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", ["kronvex import"])
_Where = tuple[str, str, str]  # owner, kind and session


def exporting(
    agent_id: str, owner: str | None, limit: int, now: datetime, after: int, model: str | None
) -> Work[list[tuple[int, Record]]]:
    """Return a page of records in the order of writing; see `MemoryBackend.export_page`."""
    known = (yield from model_of(agent_id)) if model is not None else None
    vector = "pgvector.halfvec_send(r.vector)" if known and known[0] == model else "NULL::bytea"
    whose = rows.OF_AGENT if owner is None else "r.scope = %s AND r.kind <> 'item'"
    of = agent_id if owner is None else rows.scope_key(agent_id, owner)

    def part(start: int, end: int) -> Statement:
        return Statement(
            "SELECT p.* FROM (SELECT r.seq, sum(length(r.content)) OVER (ORDER BY r.seq) "
            f"- length(r.content), {vector}, {rows.RECORD_COLUMNS} "
            f"FROM langchain_kronvex.records AS r WHERE {whose} AND {rows.VISIBLE} "
            "AND r.seq > %s AND r.seq <= %s "
            "ORDER BY r.seq LIMIT %s) AS p (seq, before) WHERE p.before < %s",
            [of, now, start, end, limit, _PAGE_CHARS],
        )

    found = yield from in_order(after, part)
    return [(row[0], _with_vector(rows.to_record(row[3:]), row[2])) for row in found]


def last_position() -> Work[int]:
    """Return the last position that was given away; see `MemoryBackend.last_position`."""
    ((last,),) = yield Statement("SELECT last_value FROM langchain_kronvex.records_seq")
    return int(last)


def _with_vector(record: Record, sent: bytes | None) -> Record:
    return record if sent is None else replace(record, vector=from_halfvec(sent))


def restoring(
    agent_id: str, records: Sequence[Record], now: datetime, model: str | None
) -> Work[int]:
    """Store what was exported as it was; see `MemoryBackend.restore`."""
    # Two at once could find the same id free for two owners, and an id is one memory's alone. It
    # comes before all other locks, and nothing but an import asks for it: nobody waits in a circle.
    yield [_ALONE, holding_model(agent_id)]
    if not (yield from _fits(agent_id, records, model)):
        records = without_vectors(records)
    revisions = yield from locked_for_writing(agent_id, records)
    batch = Batch(agent_id, revisions)
    fresh = yield from _with_free_ids(batch, records, now)
    found: Rows = yield same_keys(agent_id, fresh)
    there = {place_of(older): older for older in map(rows.to_record, found)}
    stored = 0
    for record in fresh:
        older = there.get(place_of(record))
        if batch.touches(record, older):
            batch = yield from sent(batch)
            older = yield from at_place(agent_id, record)
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
    yield from sent(batch)
    return stored


def _fits(agent_id: str, records: Sequence[Record], model: str | None) -> Work[bool]:
    """Tell whether the vectors can be stored; their width is that of the store's from now on."""
    width = next((len(r.vector) for r in records if r.vector is not None), None)
    known = yield from model_of(agent_id)
    if width is None or model is None or known is None or not fits(known, model, width):
        return False
    if known[1] is None:
        yield Statement(
            "UPDATE langchain_kronvex.models SET width = %s WHERE agent_id = %s AND NOT upcoming",
            [width, agent_id],
        )
    return True


def _with_free_ids(batch: Batch, records: Sequence[Record], now: datetime) -> Work[list[Record]]:
    """Return the records that are not there, with other ids where theirs stand for others."""
    fresh: list[Record | None] = list(records)
    taken: dict[str, _Where] = {}
    asking = list(range(len(records)))
    while asking:
        ids = [record.id for record in (fresh[n] for n in asking) if record is not None]
        known: Rows = yield Statement(
            f"SELECT r.id, r.scope, r.kind, r.session_id, {rows.VISIBLE} "
            "FROM langchain_kronvex.records AS r WHERE r.id = ANY(%s)",
            [now, ids],
        )
        expired = [(scope, id_) for id_, scope, _, _, visible in known if not visible]
        yield from _make_room(expired)
        there = {id_: (str(scope), kind, session) for id_, scope, kind, session, v in known if v}
        again = []
        for n in asking:
            record = fresh[n]
            if record is None:
                continue
            own = _where(batch.agent_id, record)
            holder = there.get(record.id) or taken.get(record.id)
            if holder is None:
                taken[record.id] = own
            elif holder == own:
                fresh[n] = None
            else:
                fresh[n] = replace(record, id=moved_id(record, batch.agent_id))
                again.append(n)
        asking = again
    return [record for record in fresh if record is not None]


def _where(agent_id: str, record: Record) -> _Where:
    scope = rows.scope_key(agent_id, record.scope.owner)
    return (str(scope), record.kind, record.scope.session_id or "")


def _make_room(expired: Sequence[tuple[object, str]]) -> Work[None]:
    """Remove expired or emptied records at once, which indexes in RAM may still know."""
    for scope, id_ in expired:
        yield Statement(NEW_GENERATION, [[scope]])
        yield Statement(
            f"{delete_rows('r.scope = %s AND r.id = %s')} SELECT count(*) FROM gone", [scope, id_]
        )
