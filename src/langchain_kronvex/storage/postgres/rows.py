"""Rows and records of the PostgreSQL store, and the SQL that selects them. Pure functions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.storage.backend import KINDS, Page, Record, Selection
from langchain_kronvex.storage.index_rows import index_row
from langchain_kronvex.storage.postgres.statements import Vector, from_halfvec
from langchain_kronvex.storage.timestamps import from_micros


def micros(column: str) -> str:
    """Return a moment as microseconds since 1970, which any year and any time zone survives."""
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


# Accesses are looked up for each record: a join lets the planner read those of all records of an
# owner, of which there may be many, for the ten that are wanted.
RECORD_COLUMNS = (
    "r.kind, r.id, r.user_id, r.session_id, r.key, r.type, r.content, r.search_text, "
    f"r.metadata::text, {micros('r.said')}, {micros('r.created')}, {micros('r.expires')}, "
    "r.pinned, coalesce((SELECT a.count FROM langchain_kronvex.accesses AS a "
    "WHERE a.scope = r.scope AND a.seq = r.seq), 0)"
)
INDEX_COLUMNS = (
    "r.seq, coalesce(r.search_text, r.content), r.type, "
    "CASE WHEN r.search_text IS NOT NULL THEN r.content END, r.session_id, "
    "extract(epoch FROM r.said)::float8, floor(extract(epoch FROM r.created))::bigint, "
    "extract(epoch FROM r.expires)::float8, r.pinned, pgvector.halfvec_send(r.vector)"
)
VISIBLE = "(r.pinned OR r.expires IS NULL OR r.expires > %s)"
OF_AGENT = "r.scope IN (SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s)"
# The same of a few rows, asked of each: that few are found by an id, no statistics tell.
EACH_OF_AGENT = (
    "(SELECT o.agent_id FROM langchain_kronvex.scopes AS o WHERE o.scope = r.scope) = %s"
)


def scope_key(agent_id: str, owner: str) -> UUID:
    """Return the key of an owner's records: 16 bytes of BLAKE2b over both names.

    Any other owner differs in it, and every worker computes the same, so that it needs no table
    that all share.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in (agent_id, owner):
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return UUID(bytes=digest.digest())


def reach(agent_id: str, *owners: str) -> tuple[str, ...]:
    """Return what row-level security lets a transaction of these owners reach."""
    return tuple(str(scope_key(agent_id, owner)) for owner in owners)


def key_digest(key: str) -> bytes:
    """Return what stands for a key in the index, where a long one has no room."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


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
        pinned=pinned,
        access_count=count,
    )


def to_index_row(row: Sequence[Any]) -> IndexRow:
    """Build what the index needs from a row of `INDEX_COLUMNS`."""
    seq, text, type_, exchange, session, said, created, expires, pinned, vector = row
    sent = None if vector is None else from_halfvec(vector)
    return index_row(seq, text, type_, exchange, session, said, created, expires, pinned, sent)


def mutable_cells(record: Record) -> tuple[Any, ...]:
    """Return the cells that may change in the life of a record, in the order of the UPDATE."""
    return (
        record.key,
        key_digest(record.key),
        record.type,
        record.content,
        record.search_text,
        json.dumps(dict(record.metadata)),
        record.created_at,
        record.expires_at,
        record.pinned,
    )


def constant_cells(record: Record) -> tuple[Any, ...]:
    """Return the cells that a record is born with, in the order of the INSERT."""
    return (
        record.kind,
        record.id,
        record.scope.user_id or "",
        record.scope.session_id or "",
        record.said_at or record.created_at,
        None if record.vector is None else Vector(record.vector),
    )


def scopes_of(selection: Selection, agent_id: str) -> tuple[UUID, ...] | None:
    """Return the keys of the owners that a selection is limited to; None for the whole agent."""
    if selection.scope is None:
        return None
    own = scope_key(agent_id, selection.scope.owner)
    return (own, scope_key(agent_id, "")) if selection.include_shared else (own,)


def where(selection: Selection, agent_id: str) -> tuple[str, list[Any]]:
    """Return the condition, without the word WHERE, that selects rows `r`, and its parameters."""
    scopes = scopes_of(selection, agent_id)
    of_agent = OF_AGENT if selection.ids is None else EACH_OF_AGENT
    conditions = [of_agent if scopes is None else "r.scope = ANY(%s)"]
    parameters: list[Any] = [agent_id if scopes is None else list(scopes)]
    scope = selection.scope
    if scope is not None and scope.only_session is not None:
        shared = "r.scope = %s OR " if selection.include_shared else ""
        conditions.append(f"({shared}r.session_id = %s)")
        parameters += [scope_key(agent_id, "")] if shared else []
        parameters.append(scope.only_session)
    if selection.kinds != KINDS:
        conditions.append("r.kind = ANY(%s)")
        parameters.append(list(selection.kinds))
    if selection.type is not None:
        conditions.append("r.type = %s")
        parameters.append(selection.type)
    if selection.ids is not None:
        conditions.append("r.id = ANY(%s)")
        parameters.append(list(selection.ids))
    if selection.keys is not None:
        conditions.append("r.key_digest = ANY(%s)")
        parameters.append([key_digest(key) for key in selection.keys])
    return " AND ".join(conditions), parameters


def order(page: Page) -> tuple[str, list[Any]]:
    """Return the ORDER BY and LIMIT of a page, and their parameters."""
    direction = "DESC" if page.newest_first else "ASC"
    by = (
        f"r.created {direction}, r.seq {direction}"
        if page.by == "created"
        else f"r.seq {direction}"
    )
    most = 2**62  # more rows than there can be
    limit = most if page.limit is None else min(page.limit, most)
    return f"ORDER BY {by} LIMIT %s OFFSET %s", [limit, min(page.offset, most)]
