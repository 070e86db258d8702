"""How records leave PostgreSQL: erased for good, or expired. Owners are locked in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from langchain_kronvex.storage.backend import Selection
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.database import Statement, Transaction

_DEPENDENT = ("accesses", "upcoming_vectors", "claims")  # tables whose rows are about records
_SWEEP = (
    "DELETE FROM langchain_kronvex.{table} AS h WHERE h.scope = ANY(%s) AND NOT EXISTS "
    "(SELECT 1 FROM langchain_kronvex.records AS r WHERE r.scope = h.scope AND r.seq = h.seq)"
)
_LEAVE = (
    "DELETE FROM langchain_kronvex.scopes AS s WHERE s.scope = ANY(%s) AND NOT EXISTS "
    "(SELECT 1 FROM langchain_kronvex.records AS r WHERE r.scope = s.scope)"
)
_OWNERS = "SELECT scope FROM langchain_kronvex.scopes WHERE scope = ANY(%s) ORDER BY scope"


def delete_rows(condition: str) -> str:
    """Return the statement that deletes records `r`, with the rows that depend on them.

    Append a SELECT from `gone`, which has a row for each record.
    """
    dependent = ", ".join(
        f"{table}_gone AS (DELETE FROM langchain_kronvex.{table} AS h USING gone "
        "WHERE h.scope = gone.scope AND h.seq = gone.seq)"
        for table in _DEPENDENT
    )
    return (
        f"WITH gone AS (DELETE FROM langchain_kronvex.records AS r WHERE {condition} "
        f"RETURNING r.scope, r.seq, r.pinned, r.expires), {dependent} "
    )


def empty_rows(condition: str) -> str:
    """Return the statement that makes records `r` invisible and leaves only their places.

    Their owners are locked and have a new revision, so that indexes in RAM notice it. A purge
    removes the places.
    """
    return (
        "UPDATE langchain_kronvex.records AS r SET content = '', search_text = NULL, "
        "metadata = '{}', vector = NULL, type = '', key = r.id, "
        "key_digest = decode(md5(r.id), 'hex'), expires = to_timestamp(0), pinned = false, "
        "valid_until = NULL, superseded_by = NULL, "
        "revision = (SELECT s.revision FROM langchain_kronvex.scopes AS s WHERE s.scope = r.scope) "
        f"WHERE {condition}"
    )


def lock_owners(tx: Transaction, scopes: Sequence[UUID]) -> list[UUID]:
    """Lock owners in the order common to all workers; return those that exist.

    Do not touch the others: another worker may be inserting them now.
    """
    return tx.column(f"{_OWNERS} FOR UPDATE", [list(scopes)])


def keep_owners(tx: Transaction, scopes: Sequence[UUID]) -> None:
    """Keep other workers from erasing records of these owners until the transaction ends.

    A row about a record that is written without this lock could outlive the record.
    """
    tx.execute(f"{_OWNERS} FOR KEY SHARE", [list(scopes)])


def renew_generation(tx: Transaction, scopes: Sequence[UUID]) -> list[str]:
    """Make all workers read the indexes of these owners again; return the owners."""
    return tx.column(
        "UPDATE langchain_kronvex.scopes SET generation = nextval('langchain_kronvex.generations') "
        "WHERE scope = ANY(%s) RETURNING owner",
        [list(scopes)],
    )


def delete(tx: Transaction, selection: Selection, now: datetime) -> tuple[int, list[str]]:
    """Delete the selected records; return how many were visible, and their owners."""
    condition, parameters = rows.where(selection, tx.agent_id)
    scopes = lock_owners(tx, _touched(tx, selection))
    (visible,) = tx.column(
        f"{delete_rows(f'{condition} AND r.scope = ANY(%s)')} "
        f"SELECT count(*) FROM gone AS r WHERE {rows.VISIBLE}",
        [*parameters, scopes, now],
    )
    owners = renew_generation(tx, scopes)
    # Statements of their own: a claim may have come while the deletion waited for its lock.
    _sweep(tx, scopes)
    return int(visible), owners


def forget_empty_owners(tx: Transaction, scopes: Sequence[UUID], now: datetime) -> None:
    """Delete those of the owners that have no visible record, with all of their rows."""
    empty = tx.column(
        "SELECT w.scope FROM unnest(%s::uuid[]) AS w (scope) WHERE NOT EXISTS (SELECT 1 FROM "
        f"langchain_kronvex.records AS r WHERE r.scope = w.scope AND {rows.VISIBLE})",
        [list(scopes), now],
    )
    if empty:
        tx.execute(f"{delete_rows('r.scope = ANY(%s)')} SELECT count(*) FROM gone", [empty])
        _sweep(tx, empty)


def purge(tx: Transaction, now: datetime, scope: UUID | None = None) -> int:
    """Remove the expired records of all agents, or of one owner; return how many."""
    expired = "r.expires IS NOT NULL AND NOT r.pinned AND r.expires <= %s"
    parameters: list[Any] = [now] if scope is None else [now, scope]
    expired += "" if scope is None else " AND r.scope = %s"
    owners = owners_of(tx, expired, parameters)
    if not owners:
        return 0
    scopes = lock_owners(tx, owners)
    (removed,) = tx.column(
        f"{delete_rows(f'{expired} AND r.scope = ANY(%s)')} SELECT count(*) FROM gone",
        [*parameters, scopes],
    )
    renew_generation(tx, scopes)
    tx.execute(_LEAVE, [scopes])
    return int(removed)


def _sweep(tx: Transaction, scopes: list[UUID]) -> None:
    """Delete rows about records that are gone, and owners without records."""
    sweeps = [_SWEEP.format(table=table) for table in _DEPENDENT]
    tx.execute_all([Statement(sql, [scopes]) for sql in (*sweeps, _LEAVE)])


def _touched(tx: Transaction, selection: Selection) -> list[UUID]:
    """Return the owners of the selected records; a named owner even without records."""
    named = rows.scopes_of(selection, tx.agent_id)
    if named is not None:
        return list(named)
    if not selection.is_everything:
        return owners_of(tx, *rows.where(selection, tx.agent_id))
    every = "SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s"
    return tx.column(every, [tx.agent_id])


def owners_of(tx: Transaction, condition: str, parameters: Sequence[Any]) -> list[UUID]:
    """Return the owners of the records `r` that a condition selects."""
    sql = f"SELECT DISTINCT r.scope FROM langchain_kronvex.records AS r WHERE {condition}"
    return tx.column(sql, parameters)
