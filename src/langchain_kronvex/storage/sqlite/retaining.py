"""What a retention takes from the SQLite store. Functions over a connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from langchain_kronvex.core.types import Retention, Scope
from langchain_kronvex.storage.backend import LastUse, Page, Record, Selection
from langchain_kronvex.storage.record import optional_micros, to_micros
from langchain_kronvex.storage.sqlite import erasing, rows
from langchain_kronvex.storage.sqlite.file import AgentConnection
from langchain_kronvex.storage.sqlite.reading import find

_USED = "max(r.created, coalesce(a.latest, r.created))"
_MAY_GO = (
    f"scope = ({rows.OF_AGENT} AND owner = ?) AND r.kind = 'memory' AND {rows.VISIBLE} "
    "AND NOT r.pinned AND r.type NOT IN (SELECT value FROM json_each(?)) AND NOT EXISTS "
    "(SELECT 1 FROM records AS o WHERE o.superseded_by = r.id AND o.scope = r.scope)"
)
# A limit that is NULL selects nothing.
_UNUSED = (
    f"SELECT id, used FROM (SELECT r.id AS id, {_USED} AS used, "
    f"row_number() OVER (ORDER BY {_USED} DESC, r.seq DESC) AS place "
    f"FROM {rows.RECORD_TABLES} WHERE r.{_MAY_GO}) "
    "WHERE place > ? OR used < ? ORDER BY place DESC"
)
_STILL = (  # with the +, only the rows with these ids are read
    f"SELECT r.id, {_USED} FROM {rows.RECORD_TABLES} WHERE +r.{_MAY_GO} "
    "AND r.id IN (SELECT value FROM json_each(?))"
)


def unused(db: AgentConnection, owner: str, retention: Retention, now: datetime) -> list[LastUse]:
    """Return the memories of an owner that do not pass a retention, the first to go first."""
    limits = (retention.max_memories, optional_micros(retention.used_since(now)))
    found = db.execute(_UNUSED, [*_parameters(db, owner, retention, now), *limits]).fetchall()
    return [LastUse(*row) for row in found]


def take(
    db: AgentConnection, owner: str, chosen: Sequence[LastUse], retention: Retention, now: datetime
) -> tuple[list[Record], list[str]]:
    """Delete unused memories; return them, and the owner if there is no record left."""
    ids = json.dumps([each.id for each in chosen])
    found = db.execute(_STILL, [*_parameters(db, owner, retention, now), ids]).fetchall()
    still = tuple(id_ for id_, micros in {*chosen}.intersection(map(LastUse._make, found)))
    selection = Selection(kind="memory", scope=Scope(owner or None), ids=still)
    taken = find(db, selection, Page(), now)
    erasing.leave(db, [selection])
    return taken, erasing.vacate(db, [selection], now)


def _parameters(db: AgentConnection, owner: str, retention: Retention, now: datetime) -> list[Any]:
    return [db.agent_id, owner, to_micros(now), json.dumps(list(retention.keep_types))]
