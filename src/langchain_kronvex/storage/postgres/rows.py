"""Rows and records of the PostgreSQL store, and the SQL that selects them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from langchain_kronvex.core.records import KINDS, Floats, Page, Record, Selection
from langchain_kronvex.recall.request import IndexRow
from langchain_kronvex.storage.indexes import index_row
from langchain_kronvex.storage.record import literal_conditions, text_cells

_MOST = 2**62  # more rows than there can be


def micros(column: str) -> str:
    """Return SQL for a moment in microseconds since 1970, exact in any year and time zone."""
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


# For `from_cells`. Accesses are looked up for each record: with a join the planner reads those of
# all records of an owner, for the ten that are wanted.
RECORD_COLUMNS = (
    "r.kind, r.id, r.key, r.type, r.content, r.search_text, coalesce((SELECT a.count "
    "FROM langchain_kronvex.accesses AS a WHERE a.scope = r.scope AND a.seq = r.seq), 0), "
    "r.user_id, r.session_id, r.metadata::text, "
    f"{micros('r.said')}, {micros('r.created')}, {micros('r.expires')}, r.pinned, "
    f"{micros('r.valid_from')}, {micros('r.valid_until')}, r.superseded_by, "
    "to_json(r.sources)::text"
)
INDEX_COLUMNS = (
    "r.seq, coalesce(r.search_text, r.content), r.type, "
    "CASE WHEN r.search_text IS NOT NULL THEN r.content END, r.session_id, "
    "extract(epoch FROM r.said)::float8, extract(epoch FROM r.created)::float8, "
    "extract(epoch FROM r.expires)::float8, r.pinned, r.metadata::text, "
    "extract(epoch FROM coalesce(r.valid_from, r.said))::float8, "
    "extract(epoch FROM r.valid_until)::float8, r.sources IS NOT NULL, "
    "pgvector.halfvec_send(r.vector)"
)
VISIBLE = "(r.pinned OR r.expires IS NULL OR r.expires > %s)"
OF_AGENT = "r.scope IN (SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s)"
# The same for a few rows, checked for each: the planner cannot know that an id finds few rows.
EACH_OF_AGENT = (
    "(SELECT o.agent_id FROM langchain_kronvex.scopes AS o WHERE o.scope = r.scope) = %s"
)

# Of rows found by their ids or numbers. Written out plainly, it would also let the planner read all
# memories of an owner by `records_revision`, which it does as long as it has no statistics.
IS_MEMORY = "r.kind || '' = 'memory'"


def scope_key(agent_id: str, owner: str) -> UUID:
    """Return the key of an owner's records: 16 bytes of BLAKE2b over both names.

    Every worker computes the same key, so that no shared table is needed.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in (agent_id, owner):
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return UUID(bytes=digest.digest())


def key_digest(key: str) -> bytes:
    """Return the digest of a key for the index, which has no room for a long key."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def to_index_row(row: Sequence[Any]) -> IndexRow:
    """Build a row of the index from a row of `INDEX_COLUMNS`."""
    *cells, vector = row
    return index_row(cells, from_halfvec(vector))


def mutable_cells(record: Record, revision: int) -> tuple[Any, ...]:
    """Return the cells that may change, in the order of the UPDATE."""
    vector = None if record.vector is None else Vector(record.vector)
    times = (record.created_at, record.expires_at, record.pinned)
    sources = list(record.sources) or None
    others = (record.valid_until, record.superseded_by, sources, revision, vector)
    return record.key, key_digest(record.key), *text_cells(record), *times, *others


def constant_cells(record: Record) -> tuple[Any, ...]:
    """Return the cells that never change, in the order of the INSERT."""
    user, session = record.scope.user_id or "", record.scope.session_id or ""
    said = record.said_at or record.created_at
    return record.kind, user, session, said, record.valid_from


def scopes_of(selection: Selection, agent_id: str) -> tuple[UUID, ...] | None:
    """Return the keys of the owners that a selection is limited to; None for the whole agent."""
    if selection.scope is None:
        return None
    own = scope_key(agent_id, selection.scope.owner)
    return (own, scope_key(agent_id, "")) if selection.include_shared else (own,)


def where(selection: Selection, agent_id: str) -> tuple[str, list[Any]]:
    """Return the condition, without the word WHERE, that selects rows `r`, and its parameters."""
    scopes, scope = scopes_of(selection, agent_id), selection.scope
    of_agent = OF_AGENT if selection.ids is None else EACH_OF_AGENT
    if scopes is None:
        conditions, parameters = [of_agent], list[Any]([agent_id])
    elif len(scopes) == 1:  # with = rather than ANY, the rows are read in the order of an index
        conditions, parameters = ["r.scope = %s"], list[Any](scopes)
    else:
        conditions, parameters = ["r.scope = ANY(%s)"], list[Any]([list(scopes)])
    if selection.ids is not None and selection.kind == "memory":
        conditions.append(IS_MEMORY)
    else:
        conditions += literal_conditions(selection.kind, selection.types)
    if scope is not None and scope.only_session is not None:
        shared = [scope_key(agent_id, "")] if selection.include_shared else []
        conditions.append("(r.session_id = %s OR r.scope = %s)" if shared else "r.session_id = %s")
        parameters += [scope.only_session, *shared]
    keys = selection.keys
    kind_is_known = selection.kind is not None or selection.kinds == KINDS
    for condition, value in (
        ("r.kind = ANY(%s)", None if kind_is_known else list(selection.kinds)),
        ("r.type = ANY(%s)", _optional_list(selection.types)),
        ("r.created >= %s", selection.since),
        ("r.created < %s", selection.until),
        ("coalesce(r.valid_from, r.said) <= %s", selection.as_of),
        ("(r.valid_until IS NULL OR r.valid_until > %s)", selection.as_of),
        ("r.superseded_by = ANY(%s)", _optional_list(selection.superseded_by)),
        ("r.sources && %s", _optional_list(selection.sources)),
        ("r.pinned = %s", selection.pinned),
        ("r.id = ANY(%s)", _optional_list(selection.ids)),
        ("r.key_digest = ANY(%s)", None if keys is None else [key_digest(key) for key in keys]),
    ):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    conditions += ["r.superseded_by IS NULL"] if selection.is_current else []
    return " AND ".join(conditions), parameters


def _optional_list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def order(page: Page) -> tuple[str, list[Any]]:
    """Return the ORDER BY and LIMIT of a page, and their parameters."""
    direction = "DESC" if page.newest_first else "ASC"
    first = f"r.created {direction}, " if page.by == "created" else ""
    limit = _MOST if page.limit is None else min(page.limit, _MOST)
    return f"ORDER BY {first}r.seq {direction} LIMIT %s OFFSET %s", [limit, min(page.offset, _MOST)]


class Vector(NamedTuple):
    """A vector as a parameter; it travels as `real[]`, whose type every server knows."""

    values: Floats


class _VectorDumper(Dumper):
    """Writes a vector in the binary form of a one-dimensional array, as `array_recv` reads it.

    Number of dimensions, a flag for NULLs, type of the elements, length and lower bound, then each
    element after its size.
    """

    oid = 1021  # float4[]
    format = Format.BINARY
    _ELEMENT = np.dtype([("size", ">i4"), ("value", ">f4")])

    def dump(self, obj: Vector) -> bytes:
        """Return the bytes of a vector."""
        cells = np.empty(len(obj.values), self._ELEMENT)
        cells["size"], cells["value"] = 4, obj.values
        return struct.pack(">5i", 1, 0, 700, len(cells), 1) + cells.tobytes()


psycopg.adapters.register_dumper(Vector, _VectorDumper)


def from_halfvec(sent: bytes | None) -> Floats | None:
    """Read the output of `halfvec_send`: the width, two unused bytes, 16-bit floats."""
    return None if sent is None else np.frombuffer(sent, ">f2", offset=4).astype(np.float32)
