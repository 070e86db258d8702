"""Rows and records of the SQLite store, and the SQL that selects them. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.storage.backend import Page, Record, Selection
from langchain_kronvex.storage.index_rows import index_row
from langchain_kronvex.storage.timestamps import from_micros, to_micros

_MOST = 2**62  # more rows than there can be, and a number that SQLite can hold

RECORD_COLUMNS = (
    "r.kind, r.id, r.user_id, r.session_id, r.key, r.type, r.content, r.search_text, r.metadata, "
    "r.said, r.created, r.expires, r.pinned, coalesce(a.count, 0)"
)
RECORD_TABLES = "records AS r LEFT JOIN accesses AS a ON a.seq = r.seq"
INDEX_COLUMNS = (
    "seq, coalesce(search_text, content), type, iif(search_text IS NULL, NULL, content), "
    "session_id, said, created, expires, pinned, vector"
)
VISIBLE = "(r.pinned OR r.expires IS NULL OR r.expires > ?)"


def to_record(row: Sequence[Any]) -> Record:
    """Build a record from a row of `RECORD_COLUMNS`."""
    kind, id_, user, session, key, type_, content, search_text, metadata, *rest = row
    said, created, expires, pinned, count = rest
    return Record(
        kind=kind,
        id=id_,
        scope=Scope(user or None, session or None),
        key=key,
        type=type_,
        content=content,
        search_text=search_text,
        metadata=json.loads(metadata) if metadata != "{}" else {},
        created_at=from_micros(created),
        said_at=from_micros(said),
        expires_at=None if expires is None else from_micros(expires),
        pinned=bool(pinned),
        access_count=count,
    )


def to_index_row(row: Sequence[Any]) -> IndexRow:
    """Build what the index needs from a row of `INDEX_COLUMNS`."""
    seq, text, type_, exchange, session, said, created, expires, pinned, vector = row
    return index_row(
        seq, text, type_, exchange, session,
        said / 1e6,
        created // 1_000_000,  # only its date counts; rounding up could leave the calendar
        None if expires is None else expires / 1e6,
        pinned,
        None if vector is None else np.frombuffer(vector, "<f2"),
    )  # fmt: skip


def to_blob(vector: Floats) -> bytes:
    """Return a vector as it is stored."""
    return vector.astype("<f2").tobytes()


def mutable_cells(record: Record) -> tuple[Any, ...]:
    """Return the cells that may change in the life of a record, in the order of the UPDATE."""
    return (
        record.key,
        record.type,
        record.content,
        record.search_text,
        json.dumps(dict(record.metadata)),
        to_micros(record.created_at),
        None if record.expires_at is None else to_micros(record.expires_at),
        record.pinned,
    )


def constant_cells(record: Record) -> tuple[Any, ...]:
    """Return the cells that a record is born with, in the order of the INSERT."""
    return (
        record.kind,
        record.id,
        record.scope.user_id or "",
        record.scope.session_id or "",
        to_micros(record.said_at or record.created_at),
        None if record.vector is None else to_blob(record.vector),
    )


def where(selection: Selection, agent_id: str) -> tuple[str, list[Any]]:
    """Return the condition, without the word WHERE, that selects rows `r`, and its parameters."""
    scope = selection.scope
    parameters: list[Any] = [agent_id]
    of_scope, compared = "SELECT scope FROM scopes WHERE agent_id = ?", "IN"
    if scope is not None:
        parameters.append(scope.owner)
        if selection.include_shared:
            of_scope += " AND owner IN (?, '')"
        else:  # of one scope the rows are read in the order of the index
            of_scope, compared = f"{of_scope} AND owner = ?", "="
    conditions = [f"r.scope {compared} ({of_scope})"]
    for condition, value in (
        ("r.kind = ?", selection.kind),
        ("r.type = ?", selection.type),
        (_in_session(selection), scope.only_session if scope else None),
        ("r.id IN (SELECT value FROM json_each(?))", _json_list(selection.ids)),
        ("r.key IN (SELECT value FROM json_each(?))", _json_list(selection.keys)),
    ):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    if "item" not in selection.kinds:
        conditions.append("r.kind <> 'item'")
    return " AND ".join(conditions), parameters


def _in_session(selection: Selection) -> str:
    shared = "r.scope IN (SELECT scope FROM scopes WHERE owner = '')"
    return f"(r.session_id = ? OR {shared})" if selection.include_shared else "r.session_id = ?"


def order(page: Page, selection: Selection) -> tuple[str, list[Any]]:
    """Return the ORDER BY and LIMIT of a page, and their parameters."""
    # The + keeps SQLite from reading all in this order to find the few that are named.
    named = selection.ids is not None or selection.keys is not None
    seq = "+r.seq" if named else "r.seq"
    direction = "DESC" if page.newest_first else "ASC"
    first = f"r.created {direction}, " if page.by == "created" else ""
    limit = _MOST if page.limit is None else min(page.limit, _MOST)
    return f"ORDER BY {first}{seq} {direction} LIMIT ? OFFSET ?", [limit, min(page.offset, _MOST)]


def _json_list(values: Sequence[str] | None) -> str | None:
    return None if values is None else json.dumps(list(values))
