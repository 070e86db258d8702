"""The SQL of the SQLite store: columns and conditions that its statements are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from langchain_kronvex.core.records import Floats, Page, Selection
from langchain_kronvex.recall.request import IndexRow
from langchain_kronvex.storage.indexes import index_row
from langchain_kronvex.storage.record import literal_conditions, optional_micros

_LISTED = "SELECT value FROM json_each(?)"
_DERIVED_FROM = (
    "r.sources IS NOT NULL "
    f"AND EXISTS (SELECT 1 FROM json_each(r.sources) AS s WHERE s.value IN ({_LISTED}))"
)
_MOST = 2**62  # more rows than there can be, and a number that SQLite can hold

RECORD_COLUMNS = (
    "r.kind, r.id, r.key, r.type, r.content, r.search_text, coalesce(a.count, 0), r.user_id, "
    "r.session_id, r.metadata, r.said, r.created, r.expires, r.pinned, r.valid_from, "
    "r.valid_until, r.superseded_by, r.sources"
)
RECORD_TABLES = "records AS r LEFT JOIN accesses AS a ON a.seq = r.seq"
INDEX_COLUMNS = (
    "seq, coalesce(search_text, content), type, iif(search_text IS NULL, NULL, content), "
    "session_id, said / 1e6, created / 1e6, expires / 1e6, pinned, metadata, "
    "coalesce(valid_from, said) / 1e6, valid_until / 1e6, sources IS NOT NULL, vector"
)
VISIBLE = "(r.pinned OR r.expires IS NULL OR r.expires > ?)"
OF_AGENT = "SELECT scope FROM scopes WHERE agent_id = ?"
MODEL = "SELECT model, width FROM models WHERE agent_id = ? AND upcoming = ?"
PUT_MODEL = "INSERT OR REPLACE INTO models (agent_id, upcoming, model, width) VALUES (?, ?, ?, ?)"
FLOAT16 = "<f2"  # the numbers of stored vectors


def to_index_row(row: Sequence[Any]) -> IndexRow:
    """Build an index row from a row of `INDEX_COLUMNS`."""
    *cells, blob = row
    return index_row(cells, to_vector(blob))


def to_vector(cell: object) -> Floats | None:
    """Return the vector in a cell; one without numbers if the cell is damaged."""
    if cell is None:
        return None
    blob = cell if isinstance(cell, bytes) and len(cell) % 2 == 0 else b""
    return np.frombuffer(blob, FLOAT16).astype(np.float32)


def where(selection: Selection, agent_id: str) -> tuple[str, list[Any]]:
    """Return the condition, without the word WHERE, that selects rows `r`, and its parameters."""
    scope, session = selection.scope, "r.session_id = ?"
    # The + keeps SQLite from reading everything of an owner to find the few that are named.
    column = "r.scope" if selection.ids is None else "+r.scope"
    if scope is None:
        of_scope = f"{column} IN ({OF_AGENT})"
    elif selection.include_shared:
        of_scope = f"{column} IN ({OF_AGENT} AND owner IN (?, ''))"
        session = "(r.session_id = ? OR r.scope IN (SELECT scope FROM scopes WHERE owner = ''))"
    else:  # with = rather than IN, the rows of one scope are read in the order of the index
        of_scope = f"{column} = ({OF_AGENT} AND owner = ?)"
    optional = [
        (f"r.type IN ({_LISTED})", _json_list(selection.types)),
        ("r.created >= ?", optional_micros(selection.since)),
        ("r.created < ?", optional_micros(selection.until)),
        ("coalesce(r.valid_from, r.said) <= ?", optional_micros(selection.as_of)),
        ("(r.valid_until IS NULL OR r.valid_until > ?)", optional_micros(selection.as_of)),
        (f"r.superseded_by IN ({_LISTED})", _json_list(selection.superseded_by)),
        (_DERIVED_FROM, _json_list(selection.sources)),
        ("r.pinned = ?", selection.pinned),
        (session, None if scope is None else scope.only_session),
        (f"r.id IN ({_LISTED})", _json_list(selection.ids)),
        (f"r.key IN ({_LISTED})", _json_list(selection.keys)),
    ]
    given = [(condition, value) for condition, value in optional if value is not None]
    conditions = [
        of_scope,
        *literal_conditions(selection.kind, selection.types),
        *(condition for condition, _ in given),
    ]
    conditions += [] if "item" in selection.kinds else ["r.kind <> 'item'"]
    conditions += ["r.superseded_by IS NULL"] if selection.is_current else []
    owner = [] if scope is None else [scope.owner]
    return " AND ".join(conditions), [agent_id, *owner, *(value for _, value in given)]


def chosen(selection: Selection, agent_id: str) -> tuple[str, list[Any]]:
    """Return `where` as a condition on the table `records` itself, to write or delete rows."""
    condition, parameters = where(selection, agent_id)
    return f"seq IN (SELECT r.seq FROM records AS r WHERE {condition})", parameters


def order(page: Page, selection: Selection) -> tuple[str, list[Any]]:
    """Return the ORDER BY and LIMIT of a page, and their parameters."""
    # The + keeps SQLite from reading everything in this order to find the few that are named.
    named = selection.ids is not None or selection.keys is not None
    seq = "+r.seq" if named else "r.seq"
    direction = "DESC" if page.newest_first else "ASC"
    first = f"r.created {direction}, " if page.by == "created" else ""
    limit = _MOST if page.limit is None else min(page.limit, _MOST)
    return f"ORDER BY {first}{seq} {direction} LIMIT ? OFFSET ?", [limit, min(page.offset, _MOST)]


def _json_list(values: Sequence[str] | None) -> str | None:
    return None if values is None else json.dumps(list(values))
