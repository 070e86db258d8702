"""What consolidation asks of the PostgreSQL store. Functions over a transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from langchain_kronvex.core.records import Consolidated, Record, Unconsolidated
from langchain_kronvex.core.types import Again
from langchain_kronvex.storage.postgres import erasing, rows, vectors, writing
from langchain_kronvex.storage.postgres.database import Statement, Transaction
from langchain_kronvex.storage.record import from_cells

_WAITING = (
    "SELECT s.owner FROM langchain_kronvex.scopes AS s "
    "LEFT JOIN langchain_kronvex.consolidations AS c ON c.scope = s.scope "
    "WHERE s.agent_id = %s AND (c.until IS NULL OR c.until <= %s) "
    "AND s.revision > coalesce(c.revision, 0) AND EXISTS (SELECT 1 "
    "FROM langchain_kronvex.records AS r WHERE r.scope = s.scope AND r.kind = 'memory' "
    "AND r.type = 'episodic')"
)
_CLAIM = (
    "INSERT INTO langchain_kronvex.consolidations AS c (scope, worker, until) "
    "SELECT scope, %s, %s FROM langchain_kronvex.scopes WHERE scope = %s "
    "ON CONFLICT (scope) DO UPDATE SET worker = excluded.worker, until = excluded.until "
    "WHERE c.worker = excluded.worker OR c.until <= %s RETURNING 1"
)
_PROGRESS = (
    "SELECT s.revision, coalesce(c.seq, 0), coalesce(c.revision, 0) "
    "FROM langchain_kronvex.scopes AS s "
    "LEFT JOIN langchain_kronvex.consolidations AS c ON c.scope = s.scope WHERE s.scope = %s"
)
_LEFT = (
    f"SELECT r.seq, {rows.RECORD_COLUMNS} FROM langchain_kronvex.records AS r "
    "WHERE r.scope = %s AND r.seq IN (SELECT n.seq FROM langchain_kronvex.records AS n "
    "WHERE n.scope = %s AND n.kind = 'memory' AND n.revision > %s AND n.seq > %s "
    "UNION ALL SELECT l.seq FROM langchain_kronvex.second_looks AS l "
    "WHERE l.scope = %s AND (%s OR NOT l.set_aside)) "
    "AND r.type = 'episodic' AND r.sources IS NULL AND r.superseded_by IS NULL AND r.seq > %s "
    f"AND {rows.VISIBLE} ORDER BY r.seq LIMIT %s"
)
_CURRENT = (  # an earlier attempt may have been interrupted after it had stored what is added
    "SELECT r.id, r.content, r.sources IS NOT NULL FROM langchain_kronvex.records AS r "
    f"WHERE r.scope = %s AND r.id = ANY(%s) AND {rows.IS_MEMORY} "
    f"AND (r.superseded_by IS NULL OR r.superseded_by = ANY(%s)) AND {rows.VISIBLE}"
)
_REMOVED = "r.scope = %s AND r.id = ANY(%s) AND r.sources IS NOT NULL"
_DONE = (
    "UPDATE langchain_kronvex.consolidations SET seq = greatest(seq, %s), "
    "revision = greatest(revision, %s) WHERE scope = %s"
)
_LOOKED = "DELETE FROM langchain_kronvex.second_looks WHERE scope = %s AND seq = ANY(%s)"
_SET_ASIDE = (
    "INSERT INTO langchain_kronvex.second_looks (scope, seq, set_aside) "
    "SELECT scope, seq, true FROM langchain_kronvex.records WHERE scope = %s AND seq = ANY(%s) "
    "ON CONFLICT (scope, seq) DO UPDATE SET set_aside = true"
)


def waiting(tx: Transaction, now: datetime) -> list[str]:
    """See `MemoryBackend.waiting`."""
    return tx.column(_WAITING, [tx.agent_id, now])


def claim(tx: Transaction, owner: str, worker: str, now: datetime, seconds: float) -> bool:
    """See `MemoryBackend.claim`."""
    until = now + timedelta(seconds=seconds)
    return bool(tx.execute(_CLAIM, [worker, until, tx.scope(owner), now]))


def unconsolidated(
    tx: Transaction, owner: str, limit: int, now: datetime, after: int, again: Again | None
) -> Unconsolidated:
    """See `MemoryBackend.unconsolidated`."""
    scope = tx.scope(owner)
    progress = tx.execute(_PROGRESS, [scope])
    if not progress:
        return Unconsolidated([], 0)
    # Read before the records: what is written in between is found the next time.
    ((revision, seq, known),) = progress
    if again == "all":
        seq = known = 0
    bounds = [scope, scope, known, seq, scope, again is not None, after, now, limit]
    records = [(number, from_cells(cells)) for number, *cells in tx.execute(_LEFT, bounds)]
    return Unconsolidated(records, revision if len(records) < limit else 0)


def consolidate(tx: Transaction, wanted: Consolidated, now: datetime) -> list[Record] | None:
    """See `MemoryBackend.consolidate`."""
    scope = tx.scope(wanted.owner)
    # The model first, then the owner, as by every other write, so that no two deadlock.
    tx.execute_all([vectors.holding_model(tx)])
    erasing.lock_owners(tx, [scope])
    holder = "SELECT worker FROM langchain_kronvex.consolidations WHERE scope = %s FOR UPDATE"
    if tx.column(holder, [scope]) != [wanted.worker]:
        return None
    ids, added_ids = ([r.id for r in each] for each in (wanted.unchanged, wanted.added))
    there = tx.execute(_CURRENT, [scope, ids, added_ids, now])
    if {*there} != {(r.id, r.content, bool(r.sources)) for r in wanted.unchanged}:
        return None
    if wanted.removed:
        tx.execute(
            "UPDATE langchain_kronvex.scopes SET revision = revision + 1 WHERE scope = %s", [scope]
        )
        tx.execute(erasing.empty_rows(_REMOVED), [scope, list(wanted.removed)])
    for record in wanted.changed:
        writing.change(tx, record, now, wanted.model)
    added = writing.add(tx, wanted.added, now, wanted.model) if wanted.added else []
    done = max(wanted.positions, default=0)
    statements = [
        Statement(_DONE, [done, wanted.revision, scope]),
        Statement(_LOOKED, [scope, list(wanted.positions)]),
        Statement(_SET_ASIDE, [scope, list(wanted.set_aside)]),
    ]
    tx.execute_all(statements)
    return added
