"""What a retention takes from the PostgreSQL store. Functions over a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from langchain_kronvex.core.types import Retention, Scope
from langchain_kronvex.storage.backend import LastUse, Page, Record, Selection
from langchain_kronvex.storage.postgres import erasing, rows
from langchain_kronvex.storage.postgres.database import Transaction
from langchain_kronvex.storage.postgres.reading import find

_USED = "greatest(r.created, a.latest)"
_MAY_GO = (
    "FROM langchain_kronvex.records AS r LEFT JOIN langchain_kronvex.accesses AS a "
    "ON a.scope = r.scope AND a.seq = r.seq "
    f"WHERE r.scope = %s AND r.kind = 'memory' AND {rows.VISIBLE} "
    "AND NOT r.pinned AND r.type <> ALL(%s) "
    # Not a correlated NOT EXISTS: the planner has no statistics of ids, and would read all rows of
    # the owner for each of them.
    "AND r.id NOT IN (SELECT o.superseded_by FROM langchain_kronvex.records AS o "
    "WHERE o.scope = %s AND o.superseded_by IS NOT NULL)"
)
# A limit that is NULL selects nothing.
_UNUSED = (
    f"SELECT p.id, {rows.micros('p.used')} FROM (SELECT r.id, {_USED} AS used, "
    f"row_number() OVER (ORDER BY {_USED} DESC, r.seq DESC) AS place {_MAY_GO}) AS p "
    "WHERE p.place > %s::bigint OR p.used < %s::timestamptz ORDER BY p.place DESC"
)
_STILL = f"SELECT r.id, {rows.micros(_USED)} {_MAY_GO} AND r.id = ANY(%s)"
_NEXT_REVISION = "UPDATE langchain_kronvex.scopes SET revision = revision + 1 WHERE scope = %s"


def unused(tx: Transaction, owner: str, retention: Retention, now: datetime) -> list[LastUse]:
    """See `MemoryBackend.unused`."""
    limits = (retention.max_memories, retention.used_since(now))
    found = tx.execute(_UNUSED, [*_parameters(tx, owner, retention, now), *limits])
    return [LastUse(*row) for row in found]


def take(
    tx: Transaction, owner: str, chosen: Sequence[LastUse], retention: Retention, now: datetime
) -> list[Record]:
    """See `MemoryBackend.take`."""
    tx.execute(_NEXT_REVISION, [tx.scope(owner)])  # locks the owner
    ids = [each.id for each in chosen]
    found = tx.execute(_STILL, [*_parameters(tx, owner, retention, now), ids])
    still = tuple(id_ for id_, micros in {*chosen}.intersection(map(LastUse._make, found)))
    selection = Selection(kind="memory", scope=Scope(owner or None), ids=still)
    taken = find(tx, selection, Page(), now)
    condition, parameters = rows.where(selection, tx.agent_id)
    tx.execute(erasing.empty_rows(condition), parameters)
    erasing.forget_empty_owners(tx, [tx.scope(owner)], now)
    return taken


def _parameters(tx: Transaction, owner: str, retention: Retention, now: datetime) -> list[Any]:
    return [tx.scope(owner), now, list(retention.keep_types), tx.scope(owner)]
