"""Deletion from the SQLite store: of erased, expired and replaced records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from langchain_kronvex.storage.backend import Selection
from langchain_kronvex.storage.record import to_micros
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.file import AgentConnection

_EXPIRED = "expires IS NOT NULL AND expires <= ? AND NOT pinned"
_EMPTY = (
    "UPDATE records SET content = '', search_text = NULL, metadata = '{}', vector = NULL, "
    "type = '', key = id, expires = 0, pinned = 0, valid_until = NULL, superseded_by = NULL, "
    "revision = (SELECT s.revision FROM scopes AS s WHERE s.scope = records.scope) "
)
_SWEEP_EVERY = 512  # records written or deleted


def delete(db: AgentConnection, selection: Selection, now: datetime) -> tuple[int, list[str]]:
    """Delete the selected records; return how many were visible, and their owners."""
    condition, parameters = rows.where(selection, db.agent_id)
    (visible,) = db.execute(
        f"SELECT count(*) FROM records AS r WHERE {condition} AND {rows.VISIBLE}",
        [*parameters, to_micros(now)],
    ).fetchone()
    deleted, owners = remove(db, *rows.chosen(selection, db.agent_id))
    unused = "scope NOT IN (SELECT scope FROM records)"
    emptied = db.execute(f"DELETE FROM scopes WHERE {unused}").rowcount
    purged = db.execute("SELECT 1 FROM settings WHERE name = 'purged'").fetchall()
    if deleted or emptied or purged:
        db.mark("erasing")
    return int(visible), owners


def purge(db: AgentConnection, now: datetime) -> int:
    """Remove expired records and what is left of replaced ones; return how many."""
    removed, _ = remove(db, _EXPIRED, [to_micros(now)])
    if removed:
        db.mark("purged")
    return removed


def purge_many(db: AgentConnection, now: datetime) -> None:
    """Purge if many replaced records are left: each purge makes all processes read indexes anew."""
    (left,) = db.execute("SELECT count(*) FROM records WHERE expires = 0").fetchone()
    if left >= _SWEEP_EVERY:
        purge(db, now)


def sweep(db: AgentConnection, written: int, now: datetime) -> None:
    """Purge once in a while, counted in records written."""
    (last,) = db.execute("SELECT max(seq) FROM records").fetchone()
    if last % _SWEEP_EVERY < written:
        purge(db, now)


def leave(db: AgentConnection, selections: Sequence[Selection]) -> None:
    """Empty the selected records, as if they had been replaced."""
    for selection in selections:
        condition, parameters = rows.chosen(selection, db.agent_id)
        found = f"SELECT scope FROM records WHERE {condition}"
        db.execute(
            f"UPDATE scopes SET revision = revision + 1 WHERE scope IN ({found})", parameters
        )
        if empty(db, condition, parameters):
            db.mark("erasing")


def vacate(db: AgentConnection, selections: Sequence[Selection], now: datetime) -> list[str]:
    """Remove the owners of the selections that have no visible record left; return them."""
    vacant = []
    for owner in {selection.scope.owner for selection in selections if selection.scope}:
        scope = db.execute(
            "SELECT scope FROM scopes AS s WHERE agent_id = ? AND owner = ? AND NOT EXISTS "
            f"(SELECT 1 FROM records AS r WHERE r.scope = s.scope AND {rows.VISIBLE})",
            (db.agent_id, owner, to_micros(now)),
        ).fetchone()
        if scope:
            delete_rows(db, "scope = ?", scope)
            db.execute("DELETE FROM scopes WHERE scope = ?", scope)
            db.mark("erasing")
            vacant.append(owner)
    return vacant


def empty(db: AgentConnection, condition: str, parameters: Sequence[Any]) -> int:
    """Make records invisible and keep only their numbers, which indexes in RAM still contain.

    The caller has increased the revision of their scope. Returns how many records.
    """
    _delete_dependents(db, condition, parameters)
    db.mark("purged")
    return db.execute(f"{_EMPTY} WHERE {condition}", parameters).rowcount


def remove(db: AgentConnection, condition: str, parameters: Sequence[Any]) -> tuple[int, list[str]]:
    """Delete records that indexes in RAM may contain; return how many, and their owners."""
    of_them = f"scope IN (SELECT scope FROM records WHERE {condition})"
    changed = f"UPDATE scopes SET generation = generation + 1 WHERE {of_them}"
    owners = [owner for (owner,) in db.execute(f"{changed} RETURNING owner", parameters).fetchall()]
    return delete_rows(db, condition, parameters), owners


def delete_rows(db: AgentConnection, condition: str, parameters: Sequence[Any]) -> int:
    """Delete records and the rows that depend on them; return how many records."""
    _delete_dependents(db, condition, parameters)
    return db.execute(f"DELETE FROM records WHERE {condition}", parameters).rowcount


def _delete_dependents(db: AgentConnection, condition: str, parameters: Sequence[Any]) -> None:
    of_records = f"SELECT seq FROM records WHERE {condition}"
    for table in ("accesses", "upcoming_vectors"):
        db.execute(f"DELETE FROM {table} WHERE seq IN ({of_records})", parameters)
