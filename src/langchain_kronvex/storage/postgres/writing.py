"""Storing, replacing and changing records in PostgreSQL, while their owners are locked.

Every transaction that writes first locks the rows of the owners it writes for, in an order common
to all workers. So the writes of one owner have one order, and no two transactions deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.errors import MemoryNotFound
from langchain_kronvex.core.records import Place, Record, Records, Replacement
from langchain_kronvex.storage import record as stored
from langchain_kronvex.storage.postgres import erasing, rows, vectors
from langchain_kronvex.storage.postgres.database import Rows, Statement, Transaction
from langchain_kronvex.storage.record import from_cells

_PURGE_EVERY = 256  # writes of one owner
_MUTABLE = (
    "key, key_digest, type, content, search_text, metadata, created, expires, pinned, "
    "valid_until, superseded_by, sources, revision, vector"
)
_BEFORE_VECTOR = ", ".join(["%s"] * _MUTABLE.count(","))
_THIS = "scope = %s AND id = %s"
_DROP = f"{erasing.delete_rows(f'r.{_THIS}')} SELECT count(*) FROM gone"
_RETIRE = erasing.empty_rows(_THIS)
# When a completed record has another text, an upcoming vector is of the old one, and all workers
# read the owner's index again. A memory that was consolidated is looked at again.
_RENEW = (
    "WITH again AS (INSERT INTO langchain_kronvex.second_looks (scope, seq, set_aside) "
    "SELECT r.scope, r.seq, false FROM langchain_kronvex.records AS r "
    "JOIN langchain_kronvex.consolidations AS c ON c.scope = r.scope "
    f"WHERE r.content <> %s AND r.scope = %s AND r.id = %s AND {rows.IS_MEMORY} AND r.seq <= c.seq "
    "ON CONFLICT (scope, seq) DO UPDATE SET set_aside = false), "
    "changed AS (SELECT scope, seq FROM langchain_kronvex.records "
    f"WHERE coalesce(search_text, content) <> %s AND {_THIS}), "
    "gone AS (DELETE FROM langchain_kronvex.upcoming_vectors AS u USING changed AS c "
    "WHERE u.scope = c.scope AND u.seq = c.seq), "
    "outdated AS (DELETE FROM langchain_kronvex.snapshots "
    "WHERE scope IN (SELECT scope FROM changed)) "
    "UPDATE langchain_kronvex.scopes SET generation = nextval('langchain_kronvex.generations') "
    "WHERE scope IN (SELECT scope FROM changed)"
)
_UPDATE = (  # without a new vector, the old one stays if the text is the same
    f"UPDATE langchain_kronvex.records SET ({_MUTABLE}) = ({_BEFORE_VECTOR}, "
    "coalesce(%s::real[]::pgvector.halfvec, "
    f"CASE WHEN coalesce(search_text, content) = %s THEN vector END)) WHERE {_THIS}"
)
_INSERT = (
    f"INSERT INTO langchain_kronvex.records ({_MUTABLE}, kind, user_id, session_id, said, "
    f"valid_from, scope, id) VALUES ({_BEFORE_VECTOR}, %s::real[]::pgvector.halfvec, "
    "%s, %s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (scope, id) DO NOTHING"  # from an earlier attempt
)
_LOCK = (
    "INSERT INTO langchain_kronvex.scopes AS s (scope, agent_id, owner, revision) "
    "SELECT scope, %s, owner, 1 FROM unnest(%s::uuid[], %s::text[]) AS w (scope, owner) "
    "ORDER BY scope ON CONFLICT (scope) DO UPDATE SET revision = s.revision + 1 "
    "RETURNING owner, revision"
)
# A snapshot of the index holds the metadata.
_OUTDATE = (
    "DELETE FROM langchain_kronvex.snapshots "
    f"WHERE scope IN (SELECT scope FROM langchain_kronvex.records WHERE {_THIS})"
)
# In this order no key is taken twice.
_ORDER = (_OUTDATE, _DROP, _RETIRE, _RENEW, _UPDATE, _INSERT)


class Batch:
    """The changes of one write, gathered so that each kind is sent at once.

    Args:
        tx: The transaction that writes.
        revisions: The number of this write for each owner; the owners are locked.
        there: The records at the places that the write may change, also expired ones.
    """

    def __init__(
        self, tx: Transaction, revisions: Mapping[str, int], there: dict[Place, Record]
    ) -> None:
        self.revisions, self.there = revisions, there
        self._tx = tx
        self._changes = defaultdict[str, list[Sequence[Any]]](list)
        self._changed_ids: set[str] = set()

    def at_place(self, record: Record, now: datetime) -> Record | None:
        """Return the visible record at the place of this one; an expired one is retired."""
        older = self.there.get(record.place)
        if older and not older.is_visible(now):
            self._change(_DROP if older.id == record.id else _RETIRE, older)
            return None
        return older

    def retire(self, record: Record) -> None:
        """Make a record invisible; only its place stays, until a purge."""
        self._change(_RETIRE, record)

    def update(self, record: Record) -> None:
        """Write a record over the one with its id."""
        self._change(_UPDATE, record, *self._mutable_cells(record), record.found_by)
        older = next((each for each in self.there.values() if each.id == record.id), record)
        if older.metadata != record.metadata:
            self._add(_OUTDATE, record)
        if record.completes:
            this = (self._tx.scope(record.scope.owner), record.id)
            self._add(_RENEW, record, record.content, *this, record.found_by)
            others = {place: r for place, r in self.there.items() if r.id != record.id}
            self.there = others  # its key may have changed
        self.there[record.place] = record

    def insert(self, record: Record) -> None:
        """Write a new record."""
        cells = (*self._mutable_cells(record), *rows.constant_cells(record))
        self._change(_INSERT, record, *cells)
        self.there[record.place] = record

    def send(self) -> None:
        """Send the changes; then the batch is empty."""
        statements = [
            Statement(sql, cells, many=True) if len(cells) > 1 else Statement(sql, cells[0])
            for sql in _ORDER
            if (cells := self._changes.pop(sql, None))
        ]
        if statements:
            self._tx.execute_all(statements)
        self._changed_ids.clear()

    def _mutable_cells(self, record: Record) -> tuple[Any, ...]:
        return rows.mutable_cells(record, self.revisions[record.scope.owner])

    def _change(self, sql: str, record: Record, *cells: Any) -> None:
        if record.id in self._changed_ids:  # its changes must stay in order
            self.send()
        self._changed_ids.add(record.id)
        self._add(sql, record, *cells)

    def _add(self, sql: str, record: Record, *cells: Any) -> None:
        self._changes[sql].append((*cells, self._tx.scope(record.scope.owner), record.id))


def add(tx: Transaction, records: Records, now: datetime, model: str | None) -> list[Record]:
    """See `MemoryBackend.add`."""
    batch, records = begin(tx, records, model, [r for r in records if r.key != r.id])
    kept: list[Record] = []
    for record in records:
        if record.base is not None:
            batch.send()
            record = _rebase(tx, record)
            batch.there.update(_at_places(tx, [record]))
        older = batch.at_place(record, now)
        if older and older.id != record.id:
            if record.completes:
                batch.retire(record)
            record = replace(stored.renewed(older, record), supersedes=record.supersedes)
        if older or record.completes:
            batch.update(record)
        else:
            batch.insert(record)
        kept.append(record)
        for id_ in record.supersedes:
            batch.send()
            last = _last_of_chain(tx, id_, record.scope.owner, now)
            if last.id != record.id:
                batch.update(replace(stored.superseded(last, record), completes=True))
    batch.send()
    return kept


def _last_of_chain(tx: Transaction, id_: str, owner: str, now: datetime) -> Record:
    """Return the memory that a memory of this owner has become: itself, or the last successor."""
    one = (
        f"SELECT {rows.RECORD_COLUMNS} FROM langchain_kronvex.records AS r "
        f"WHERE r.scope = %s AND r.id = %s AND {rows.IS_MEMORY} AND {rows.VISIBLE}"
    )

    def find(each: str) -> Record | None:
        found = tx.execute(one, [tx.scope(owner), each, now])
        return from_cells(found[0]) if found else None

    return stored.last_of_chain(id_, find)


def put(tx: Transaction, wanted: Replacement, now: datetime) -> bool:
    """See `MemoryBackend.put`."""
    leaving = {each.scope.owner for each in wanted.deleted if each.scope is not None}
    keyed = [record for record in wanted.records if record.key != record.id]
    batch, records = begin(tx, wanted.records, wanted.model, keyed, leaving)
    if tx.is_retry and _are_stored(tx, records):
        return True
    if wanted.expected is not None:
        found = [batch.there.get(record.place) for record in records]
        contents = [each.content if each and each.is_visible(now) else None for each in found]
        if contents != list(wanted.expected):
            return False
    if wanted.deleted:
        erasing.leave(tx, wanted.deleted, now)
        batch.there = _at_places(tx, records)
    for record in records:
        older = batch.at_place(record, now)
        if older:
            batch.retire(older)
            record = replace(record, said_at=older.said_at or older.created_at)
        batch.insert(record)
    batch.send()
    if leaving:
        erasing.forget_empty_owners(tx, [tx.scope(owner) for owner in sorted(leaving)], now)
    for owner, revision in batch.revisions.items():
        if revision % _PURGE_EVERY == 0:
            erasing.purge(tx, now, tx.scope(owner))
    return True


def change(tx: Transaction, record: Record, now: datetime, model: str | None) -> None:
    """See `MemoryBackend.change`."""
    if record.vector is not None:
        _, known = tx.execute_all([vectors.holding_model(tx), vectors.finding_model(tx)])
        (record,) = vectors.usable(tx, [record], model, known[0] if known else None)
    # Another formula ranks a new type, so the index is read again.
    locked = tx.execute(
        "UPDATE langchain_kronvex.scopes AS s SET revision = s.revision + 1, generation = "
        "CASE WHEN r.type = %s THEN s.generation ELSE nextval('langchain_kronvex.generations') END "
        "FROM langchain_kronvex.records AS r WHERE s.scope = %s AND r.scope = s.scope "
        f"AND r.id = %s AND {rows.VISIBLE} RETURNING s.revision",
        [record.type, tx.scope(record.scope.owner), record.id, now],
    )
    if not locked:
        raise MemoryNotFound()
    was = record.base
    if was is None or (was.type, was.metadata) != (record.type, record.metadata):
        tx.execute(erasing.DROP_SNAPSHOTS, [[tx.scope(record.scope.owner)]])
    if record.base is not None:
        record = _rebase(tx, record)
    batch = Batch(tx, {record.scope.owner: locked[0][0]}, _at_places(tx, [record]))
    other = batch.at_place(record, now)
    if other and other.id != record.id:
        raise stored.key_taken()
    batch.update(replace(record, completes=True))  # its text may be another one
    batch.send()


def count_accesses(tx: Transaction, counts: Mapping[str, int], now: datetime) -> None:
    """See `MemoryBackend.count_accesses`."""
    of_them = f"r.id = ANY(%s) AND {rows.EACH_OF_AGENT}"
    erasing.keep_owners(tx, erasing.owners_of(tx, of_them, [list(counts), tx.agent_id]))
    tx.execute(
        "INSERT INTO langchain_kronvex.accesses AS a (scope, seq, count, latest) "
        "SELECT r.scope, r.seq, w.count, %s FROM unnest(%s::text[], %s::bigint[]) AS w (id, count) "
        f"JOIN langchain_kronvex.records AS r ON r.id = w.id WHERE {rows.EACH_OF_AGENT} "
        "ORDER BY r.scope, r.seq "
        "ON CONFLICT (scope, seq) DO UPDATE SET count = a.count + excluded.count, "
        "latest = excluded.latest",
        [now, list(counts), list(counts.values()), tx.agent_id],
    )


# -- steps that other writes share -----------------------------------------------------------------


def begin(
    tx: Transaction, records: Records, model: str | None, placed: Records, more: Iterable[str] = ()
) -> tuple[Batch, Sequence[Record]]:
    """Keep the model unchanged, lock owners, and find the records at the same places.

    Args:
        tx: The transaction that writes.
        records: The records to write; their owners are locked.
        model: Of the vectors of the records.
        placed: Those of the records whose places may be taken.
        more: More owners to lock.

    Returns:
        A batch for these owners, and the records without vectors that do not fit.
    """
    owners = list({record.scope.owner for record in records}.union(more))
    locking = Statement(_LOCK, [tx.agent_id, list(map(tx.scope, owners)), owners])
    model_first = (vectors.holding_model(tx), vectors.finding_model(tx))
    _, known, locked, found = tx.execute_all([*model_first, locking, _finding_places(tx, placed)])
    usable = vectors.usable(tx, records, model, known[0] if known else None)
    return Batch(tx, dict(locked), _by_place(found)), usable


def _finding_places(tx: Transaction, records: Sequence[Record]) -> Statement:
    places = [record.place for record in records]
    whose = [[tx.scope(place.owner) for place in places], [place.kind for place in places]]
    keys = [[place.session for place in places], [rows.key_digest(place.key) for place in places]]
    return Statement(
        f"SELECT {rows.RECORD_COLUMNS} FROM "
        "unnest(%s::uuid[], %s::text[], %s::text[], %s::bytea[]) AS w (scope, kind, session, key) "
        "JOIN langchain_kronvex.records AS r ON r.scope = w.scope AND r.kind = w.kind "
        "AND r.session_id = w.session AND r.key_digest = w.key",
        [*whose, *keys],
    )


def _by_place(found: Rows) -> dict[Place, Record]:
    return {record.place: record for record in map(from_cells, found)}


def _at_places(tx: Transaction, records: Sequence[Record]) -> dict[Place, Record]:
    """Return the records at the places of these, also expired ones."""
    return _by_place(tx.execute_all([_finding_places(tx, records)])[0])


def _rebase(tx: Transaction, record: Record) -> Record:
    """Return a record with what others have changed since it was read."""
    found = tx.execute(
        f"SELECT {rows.RECORD_COLUMNS} FROM langchain_kronvex.records AS r "
        "WHERE r.scope = %s AND r.id = %s",
        [tx.scope(record.scope.owner), record.id],
    )
    return stored.rebased(record, from_cells(found[0])) if found else record


def _are_stored(tx: Transaction, records: Sequence[Record]) -> bool:
    """Return whether an earlier attempt stored the records, even if others replaced them since."""
    scopes = {tx.scope(record.scope.owner) for record in records}
    (count,) = tx.column(
        "SELECT count(*) FROM langchain_kronvex.records WHERE scope = ANY(%s) AND id = ANY(%s)",
        [list(scopes), [record.id for record in records]],
    )
    return int(count) == len(records) > 0
