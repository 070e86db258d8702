"""What consolidation asks of the SQLite store. Functions over a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from langchain_kronvex.core.records import Consolidated, Record, Unconsolidated
from langchain_kronvex.core.types import Again
from langchain_kronvex.storage.record import from_cells, to_micros
from langchain_kronvex.storage.sqlite import erasing, rows, writing
from langchain_kronvex.storage.sqlite.file import AgentConnection

_WAITING = (
    "SELECT s.owner FROM scopes AS s LEFT JOIN consolidations AS c ON c.scope = s.scope "
    "WHERE s.agent_id = ? AND coalesce(c.until, 0) <= ? AND s.revision > coalesce(c.revision, 0) "
    "AND EXISTS (SELECT 1 FROM records AS r WHERE r.scope = s.scope AND r.kind = 'memory' "
    "AND r.type = 'episodic')"
)
_CLAIM = (
    "INSERT INTO consolidations (scope, worker, until) "
    "SELECT scope, ?, ? FROM scopes WHERE agent_id = ? AND owner = ? "
    "ON CONFLICT (scope) DO UPDATE SET worker = excluded.worker, until = excluded.until "
    "WHERE worker = excluded.worker OR until <= ?"
)
_PROGRESS = (
    "SELECT s.scope, s.revision, coalesce(c.seq, 0), coalesce(c.revision, 0), c.worker "
    "FROM scopes AS s LEFT JOIN consolidations AS c ON c.scope = s.scope "
    "WHERE s.agent_id = ? AND s.owner = ?"
)
_LEFT = (
    f"SELECT r.seq, {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} WHERE r.seq IN ("
    "SELECT seq FROM records WHERE scope = ? AND kind = 'memory' AND revision > ? AND seq > ? "
    "UNION SELECT l.seq FROM second_looks AS l JOIN records AS o ON o.seq = l.seq "
    "WHERE o.scope = ? AND l.set_aside <= ?) "
    "AND r.type = 'episodic' AND r.sources IS NULL AND r.superseded_by IS NULL AND r.seq > ? "
    f"AND {rows.VISIBLE} ORDER BY r.seq LIMIT ?"
)
_CURRENT = (
    "SELECT r.id, r.content, r.sources IS NOT NULL FROM records AS r "
    "WHERE r.id IN (SELECT value FROM json_each(?)) AND r.scope = ? AND r.kind = 'memory' "
    f"AND r.superseded_by IS NULL AND {rows.VISIBLE}"
)


def waiting(db: AgentConnection, now: datetime) -> list[str]:
    """Return the owners that were written to since, and that no worker has claimed."""
    found = db.execute(_WAITING, (db.agent_id, to_micros(now))).fetchall()
    return [owner for (owner,) in found]


def claim(db: AgentConnection, owner: str, worker: str, now: datetime, seconds: float) -> bool:
    """Claim an owner for a worker, or renew its claim; False if another one has claimed it."""
    until = to_micros(now + timedelta(seconds=seconds))
    place = (db.agent_id, owner)
    return db.execute(_CLAIM, (worker, until, *place, to_micros(now))).rowcount > 0


def unconsolidated(
    db: AgentConnection,
    owner: str,
    limit: int,
    now: datetime,
    *,
    after: int = 0,
    again: Again | None = None,
) -> Unconsolidated:
    """Return memories of an owner that are to be consolidated."""
    progress = db.execute(_PROGRESS, (db.agent_id, owner)).fetchone()
    if progress is None:
        return Unconsolidated([], 0)
    scope, revision, seq, known, _ = progress
    if again == "all":
        seq = known = 0
    bounds = (scope, known, seq, scope, again is not None, after, to_micros(now), limit)
    found = db.execute(_LEFT, bounds).fetchall()
    records = [(number, from_cells(cells)) for number, *cells in found]
    return Unconsolidated(records, revision if len(found) < limit else 0)


def consolidate(db: AgentConnection, wanted: Consolidated, now: datetime) -> list[Record] | None:
    """Store what was made of memories; return what was added, as stored, or None."""
    progress = db.execute(_PROGRESS, (db.agent_id, wanted.owner)).fetchone()
    if progress is None or progress[-1] != wanted.worker:
        return None
    scope = progress[0]
    ids = json.dumps([record.id for record in wanted.unchanged])
    there = db.execute(_CURRENT, (ids, scope, to_micros(now))).fetchall()
    if {*there} != {(r.id, r.content, bool(r.sources)) for r in wanted.unchanged}:
        return None
    removed = "id IN (SELECT value FROM json_each(?)) AND scope = ? AND sources IS NOT NULL"
    if wanted.removed:
        erasing.empty_rows(db, [(removed, [json.dumps(list(wanted.removed)), scope])])
    for record in wanted.changed:
        writing.change(db, record, now, wanted.model)
    stored = writing.add(db, wanted.added, now, wanted.model)
    db.execute(
        "UPDATE consolidations SET seq = max(seq, ?), revision = max(revision, ?) WHERE scope = ?",
        (max(wanted.positions, default=0), wanted.revision, scope),
    )
    db.executemany("DELETE FROM second_looks WHERE seq = ?", _each(wanted.positions))
    db.executemany(
        "INSERT OR REPLACE INTO second_looks (seq, set_aside) "
        "SELECT seq, 1 FROM records WHERE seq = ?",
        _each(wanted.set_aside),
    )
    return stored


def _each(numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    return ((number,) for number in numbers)
