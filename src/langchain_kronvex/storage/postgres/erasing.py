"""How records leave PostgreSQL: erased, expired or unused. Owners are locked in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from langchain_kronvex.core.records import LastUse, Page, Record, Scope, Selection
from langchain_kronvex.core.types import Retention
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.database import Statement, Transaction
from langchain_kronvex.storage.postgres.reading import find

_DEPENDENT = (
    "accesses",
    "upcoming_vectors",
    "claims",
    "second_looks",
)  # tables whose rows are about records
_SWEEP = (
    "DELETE FROM langchain_kronvex.{table} AS h WHERE h.scope = ANY(%s) AND NOT EXISTS "
    "(SELECT 1 FROM langchain_kronvex.records AS r WHERE r.scope = h.scope AND r.seq = h.seq)"
)
DROP_SNAPSHOTS = "DELETE FROM langchain_kronvex.snapshots WHERE scope = ANY(%s)"
_LEAVE = (
    "WITH gone AS (DELETE FROM langchain_kronvex.scopes AS s WHERE s.scope = ANY(%s) "
    "AND NOT EXISTS (SELECT 1 FROM langchain_kronvex.records AS r WHERE r.scope = s.scope) "
    "RETURNING s.scope), snapshots_gone AS ("
    "DELETE FROM langchain_kronvex.snapshots WHERE scope IN (SELECT scope FROM gone)) "
    "DELETE FROM langchain_kronvex.consolidations WHERE scope IN (SELECT scope FROM gone)"
)
# Those of some owners' derived memories that rest on nothing but memories under a condition,
# but are not under it themselves.
_DERIVED = (
    "SELECT f.seq FROM langchain_kronvex.records AS f WHERE f.sources IS NOT NULL "
    "AND f.scope = ANY(%s) AND (SELECT bool_and({condition}) "
    "FROM langchain_kronvex.records AS r WHERE r.scope = f.scope AND r.id = ANY(f.sources) "
    f"AND {rows.VISIBLE}) AND NOT EXISTS (SELECT 1 FROM langchain_kronvex.records AS r "
    "WHERE r.scope = f.scope AND r.seq = f.seq AND {condition})"
)
_NUMBERED = "r.scope = ANY(%s) AND r.seq = ANY(%s)"
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

    Their owners are locked and have a new revision, so that indexes in RAM notice it. Snapshots
    of the indexes are deleted. A purge removes the places.
    """
    return (
        "WITH emptied AS ("
        "UPDATE langchain_kronvex.records AS r SET content = '', search_text = NULL, "
        "metadata = '{}', vector = NULL, type = '', key = r.id, "
        "key_digest = decode(md5(r.id), 'hex'), expires = to_timestamp(0), pinned = false, "
        "valid_until = NULL, superseded_by = NULL, sources = NULL, "
        "revision = (SELECT s.revision FROM langchain_kronvex.scopes AS s WHERE s.scope = r.scope) "
        f"WHERE {condition} RETURNING r.scope) DELETE FROM langchain_kronvex.snapshots "
        "WHERE scope IN (SELECT scope FROM emptied)"
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
    tx.execute(DROP_SNAPSHOTS, [list(scopes)])
    return tx.column(
        "UPDATE langchain_kronvex.scopes SET generation = nextval('langchain_kronvex.generations') "
        "WHERE scope = ANY(%s) RETURNING owner",
        [list(scopes)],
    )


def delete(tx: Transaction, selection: Selection, now: datetime) -> tuple[int, list[str]]:
    """Delete the selected records; return how many were visible, and their owners."""
    condition, parameters = rows.where(selection, tx.agent_id)
    touched = _touched(tx, selection)
    scopes = lock_owners(tx, touched)
    if not scopes:
        return 0, []
    derived = derived_from(tx, selection, scopes, now)
    counting = f"SELECT count(*) FROM gone AS r WHERE {rows.VISIBLE}"
    if selection.scope is None or len(scopes) < len(touched):
        # An owner who appears now is not locked. Where all are locked, this condition would make
        # the planner expect a row or two of one owner, and read all of them.
        condition, parameters = f"{condition} AND r.scope = ANY(%s)", [*parameters, scopes]
    (visible,) = tx.column(f"{delete_rows(condition)} {counting}", [*parameters, now])
    if derived:
        visible += tx.column(f"{delete_rows(_NUMBERED)} {counting}", [scopes, derived, now])[0]
    owners = renew_generation(tx, scopes)
    # Statements of their own: a claim may have come while the deletion waited for its lock.
    _sweep(tx, scopes)
    return int(visible), owners


def derived_from(
    tx: Transaction, selection: Selection, scopes: Sequence[UUID], now: datetime
) -> list[int]:
    """Return the numbers of memories that were derived from selected ones and from no others.

    Those that are selected themselves are left out. The owners are locked.
    """
    if selection.is_everything or selection.kind == "item":
        return []
    condition, parameters = rows.where(selection, tx.agent_id)
    return tx.column(
        _DERIVED.format(condition=condition), [list(scopes), *parameters, now, *parameters]
    )


def leave(tx: Transaction, selections: Sequence[Selection], now: datetime) -> None:
    """Empty the selected records, and what was derived from them; each selection has a scope."""
    for selection in selections:  # one after the other: the last source may be in any of them
        scopes = rows.scopes_of(selection, tx.agent_id) or ()
        condition, parameters = rows.where(selection, tx.agent_id)
        derived = derived_from(tx, selection, scopes, now)
        tx.execute(empty_rows(condition), parameters)
        if derived:
            tx.execute(empty_rows(_NUMBERED), [list(scopes), derived])


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


# -- what a retention takes ------------------------------------------------------------------

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
    tx.execute(empty_rows(condition), parameters)
    forget_empty_owners(tx, [tx.scope(owner)], now)
    return taken


def _parameters(tx: Transaction, owner: str, retention: Retention, now: datetime) -> list[Any]:
    return [tx.scope(owner), now, list(retention.keep_types), tx.scope(owner)]
