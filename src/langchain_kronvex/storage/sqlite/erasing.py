"""Deletion from the SQLite store: of erased, expired, replaced and unused records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from langchain_kronvex.core.records import LastUse, Page, Record, Scope, Selection
from langchain_kronvex.core.types import Retention
from langchain_kronvex.storage.record import optional_micros, to_micros
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.file import AgentConnection
from langchain_kronvex.storage.sqlite.reading import find

_EXPIRED = "expires IS NOT NULL AND expires <= ? AND NOT pinned"
_EMPTY = (
    "UPDATE records SET content = '', search_text = NULL, metadata = '{}', vector = NULL, "
    "type = '', key = id, expires = 0, pinned = 0, valid_until = NULL, superseded_by = NULL, "
    "sources = NULL, "
    "revision = (SELECT s.revision FROM scopes AS s WHERE s.scope = records.scope) "
)
# Those of an owner's derived memories that rest on nothing but memories under a condition.
_DERIVED = (
    "SELECT f.seq FROM records AS f WHERE f.sources IS NOT NULL AND f.scope IN ({scopes}) "
    "AND (SELECT sum(NOT ({condition})) FROM json_each(f.sources) AS s "
    f"JOIN records AS r ON r.id = s.value AND r.scope = f.scope WHERE {rows.VISIBLE}) = 0"
)
_SWEEP_EVERY = 512  # records written or deleted


def delete(db: AgentConnection, selection: Selection, now: datetime) -> tuple[int, list[str]]:
    """Delete the selected records; return how many were visible, and their owners."""
    condition, parameters = rows.where(selection, db.agent_id)
    (visible,) = db.execute(
        f"SELECT count(*) FROM records AS r WHERE {condition} AND {rows.VISIBLE}",
        [*parameters, to_micros(now)],
    ).fetchone()
    derived = derived_from(db, selection, now)
    deleted, owners = remove(db, *rows.chosen(selection, db.agent_id))
    visible += remove(db, *_numbered(derived))[0] if derived else 0
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


def derived_from(db: AgentConnection, selection: Selection, now: datetime) -> list[int]:
    """Return the numbers of memories that were derived from selected ones and from no others.

    Those that are selected themselves are left out.
    """
    if selection.is_everything or selection.kind == "item":
        return []
    condition, parameters = rows.where(selection, db.agent_id)
    scopes, named = f"{rows.OF_AGENT} AND owner = ?", list[Any]()
    if selection.scope is not None:
        named = [db.agent_id, selection.scope.owner]
    else:
        scopes, named = f"SELECT r.scope FROM records AS r WHERE {condition}", parameters
    found = db.execute(
        f"{_DERIVED.format(scopes=scopes, condition=condition)} AND NOT f.seq IN "
        f"(SELECT r.seq FROM records AS r WHERE {condition})",
        [*named, *parameters, to_micros(now), *parameters],
    ).fetchall()
    return [seq for (seq,) in found]


def _numbered(seqs: Sequence[int]) -> tuple[str, list[Any]]:
    return "seq IN (SELECT value FROM json_each(?))", [json.dumps(list(seqs))]


def leave(db: AgentConnection, selections: Sequence[Selection], now: datetime) -> None:
    """Empty the selected records, as if they had been replaced, and what was derived from them."""
    for selection in selections:  # one after the other: the last source may be in any of them
        derived = derived_from(db, selection, now)
        chosen = rows.chosen(selection, db.agent_id)
        empty_rows(db, [chosen, _numbered(derived)] if derived else [chosen])


def empty_rows(db: AgentConnection, chosen: Sequence[tuple[str, list[Any]]]) -> None:
    """Empty the records under conditions, and number this write to their owners."""
    for condition, parameters in chosen:
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
    for table in ("accesses", "upcoming_vectors", "second_looks"):
        db.execute(f"DELETE FROM {table} WHERE seq IN ({of_records})", parameters)


# -- what a retention takes ------------------------------------------------------------------

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
    empty_rows(db, [rows.chosen(selection, db.agent_id)])
    return taken, vacate(db, [selection], now)


def _parameters(db: AgentConnection, owner: str, retention: Retention, now: datetime) -> list[Any]:
    return [db.agent_id, owner, to_micros(now), json.dumps(list(retention.keep_types))]
