"""How records leave PostgreSQL: erased for good, or expired. Owners are locked in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from langchain_kronvex.backends import postgres_rows as rows
from langchain_kronvex.backends.base import Selection
from langchain_kronvex.backends.postgres_session import Rows, Statement, Work

NEW_GENERATION = (
    "UPDATE langchain_kronvex.scopes SET generation = nextval('langchain_kronvex.generations') "
    "WHERE scope = ANY(%s)"
)


def delete_rows(condition: str) -> str:
    """Return the statement that deletes records `r`, with what hangs on them.

    Returns a row for each, with its scope and number.
    """
    hanging = ", ".join(
        f"{table}_gone AS (DELETE FROM langchain_kronvex.{table} AS h USING gone "
        "WHERE h.scope = gone.scope AND h.seq = gone.seq)"
        for table in ("accesses", "upcoming_vectors", "claims")
    )
    return (
        f"WITH gone AS (DELETE FROM langchain_kronvex.records AS r WHERE {condition} "
        f"RETURNING r.scope, r.seq, r.pinned, r.expires), {hanging} "
    )


def locking(scopes: Sequence[UUID]) -> Work[None]:
    """Lock owners that exist, in the order in which all do."""
    yield Statement(
        "SELECT 1 FROM langchain_kronvex.scopes WHERE scope = ANY(%s) ORDER BY scope FOR UPDATE",
        [list(scopes)],
    )


def erasing(agent_id: str, selection: Selection, now: datetime) -> Work[tuple[int, list[str]]]:
    """Delete the selected records for good; return how many were visible, and whose they were."""
    condition, parameters = rows.where(selection, agent_id)
    touched: Rows = yield Statement(
        f"SELECT DISTINCT r.scope FROM langchain_kronvex.records AS r WHERE {condition}", parameters
    )
    scopes: list[UUID] = [scope for (scope,) in touched]
    yield from locking(scopes)
    gone: Rows = yield Statement(
        f"{delete_rows(condition)} SELECT count(*) FROM gone AS r WHERE {rows.VISIBLE}",
        [*parameters, now],
    )
    owners: Rows = yield Statement(
        "UPDATE langchain_kronvex.scopes SET generation = nextval('langchain_kronvex.generations') "
        "WHERE scope = ANY(%s) RETURNING owner",
        [scopes],
    )
    yield Statement(
        "DELETE FROM langchain_kronvex.scopes AS s WHERE s.scope = ANY(%s) AND NOT EXISTS "
        "(SELECT 1 FROM langchain_kronvex.records AS r WHERE r.scope = s.scope)",
        [scopes],
    )
    return int(gone[0][0]), [owner for (owner,) in owners]


def purging(now: datetime, scope: UUID | None = None) -> Work[int]:
    """Remove what has expired, of everybody or of one owner; return how many."""
    expired = "r.expires IS NOT NULL AND NOT r.pinned AND r.expires <= %s"
    parameters: list[Any] = [now]
    if scope is not None:
        expired += " AND r.scope = %s"
        parameters.append(scope)
    owners: Rows = yield Statement(
        f"SELECT DISTINCT r.scope FROM langchain_kronvex.records AS r WHERE {expired}", parameters
    )
    if not owners:
        return 0
    yield from locking([owner for (owner,) in owners])
    removed: Rows = yield Statement(
        f"{delete_rows(expired)} SELECT DISTINCT scope, count(*) OVER () FROM gone", parameters
    )
    yield Statement(NEW_GENERATION, [[owner for (owner,) in owners]])
    return int(removed[0][1]) if removed else 0
