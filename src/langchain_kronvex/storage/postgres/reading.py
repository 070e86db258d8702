"""Finding, listing and counting in PostgreSQL, and what the index in RAM is made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from langchain_kronvex.core.types import MemoryStats, Scope, SessionSummary
from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.storage.backend import Page, Record, Selection
from langchain_kronvex.storage.model_check import Model
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.statements import Rows, Statement, Work
from langchain_kronvex.storage.timestamps import from_micros

_STATE = (
    "FROM (SELECT 1) AS one LEFT JOIN langchain_kronvex.scopes AS s "
    "ON s.scope = %s AND s.agent_id = %s AND s.owner = %s "
)


class State(NamedTuple):
    """How far an owner's records have come; zeros for an owner without any."""

    generation: int
    revision: int


class Found(NamedTuple):
    """Records by their numbers; the owner's state and the model of the vectors at that time."""

    state: State
    model: Model | None
    records: dict[int, Record]


class IndexPage(NamedTuple):
    """Memories for the index, with the owner's state at the time they were read."""

    state: State
    rows: list[IndexRow]


def finding(agent_id: str, selection: Selection, page: Page, now: datetime) -> Work[list[Record]]:
    """Return the selected records; see `MemoryBackend.find`."""
    condition, parameters = rows.where(selection, agent_id)
    order, bounds = rows.order(page)
    found: Rows = yield Statement(
        f"SELECT {rows.RECORD_COLUMNS} FROM langchain_kronvex.records AS r "
        f"WHERE {condition} AND {rows.VISIBLE} {order}",
        [*parameters, now, *bounds],
    )
    return [rows.to_record(row) for row in found]


def matching(agent_id: str, owner: str, seqs: Sequence[int], now: datetime) -> Work[Found]:
    """Return memories by their numbers; scope and expiry are asked of the store itself."""
    scope = rows.scope_key(agent_id, owner)
    found: Rows = yield Statement(
        "SELECT s.generation, s.revision, m.model, m.width, r.seq, "
        f"{rows.RECORD_COLUMNS} {_STATE}"
        "LEFT JOIN langchain_kronvex.models AS m ON m.agent_id = %s AND NOT m.upcoming "
        # Number by number: of `= ANY` the planner may make a look at all of the owner's records.
        "LEFT JOIN (unnest(%s::bigint[]) AS w (seq) JOIN langchain_kronvex.records AS r "
        "ON r.scope = %s AND r.seq = w.seq) ON r.scope = s.scope "
        f"AND r.kind = 'memory' AND {rows.VISIBLE}",
        [scope, agent_id, owner, agent_id, list(seqs), scope, now],
    )
    generation, revision, model, width, *_ = found[0]
    return Found(
        State(generation or 0, revision or 0),
        None if model is None else (model, width),
        {row[4]: rows.to_record(row[5:]) for row in found if row[4] is not None},
    )


def index_page(agent_id: str, owner: str, revision: int, after: int, limit: int) -> Work[IndexPage]:
    """Return what was written after a revision, from a number on, in the order of writing."""
    found: Rows = yield Statement(
        f"SELECT s.generation, s.revision, x.* {_STATE}"
        f"LEFT JOIN LATERAL (SELECT {rows.INDEX_COLUMNS} FROM langchain_kronvex.records AS r "
        "WHERE r.scope = s.scope AND r.kind = 'memory' AND r.revision > %s AND r.seq > %s "
        "ORDER BY r.seq LIMIT %s) AS x ON true",
        [rows.scope_key(agent_id, owner), agent_id, owner, revision, after, limit],
    )
    generation, state_revision, *_ = found[0]
    memories = [rows.to_index_row(row[2:]) for row in found if row[2] is not None]
    return IndexPage(State(generation or 0, state_revision or 0), memories)


def summing_up(agent_id: str, scope: Scope | None, now: datetime) -> Work[list[SessionSummary]]:
    """Return the sessions, the last written to first; see `MemoryBackend.sessions`."""
    condition, parameters = rows.where(Selection(kind=None, scope=scope), agent_id)
    found: Rows = yield Statement(
        "SELECT r.user_id, r.session_id, count(*) FILTER (WHERE r.kind = 'memory'), "
        f"count(*) FILTER (WHERE r.kind = 'message'), {rows.micros('max(r.created)')} "
        f"FROM langchain_kronvex.records AS r WHERE {condition} AND r.kind <> 'item' "
        f"AND {rows.VISIBLE} GROUP BY r.scope, r.user_id, r.session_id "
        "ORDER BY max(r.created) DESC, max(r.seq) DESC",
        [*parameters, now],
    )
    return [
        SessionSummary(
            user_id=user or None,
            session_id=session or None,
            memories=memories,
            messages=messages,
            last_at=from_micros(last),
        )
        for user, session, memories, messages, last in found
    ]


def owning(agent_id: str, beginning: str, now: datetime) -> Work[list[str]]:
    """Return owners of memories by the beginning of their names; see `MemoryBackend.owners`."""
    found: Rows = yield Statement(
        "SELECT s.owner FROM langchain_kronvex.scopes AS s WHERE s.agent_id = %s "
        "AND starts_with(s.owner, %s) AND EXISTS (SELECT 1 FROM langchain_kronvex.records AS r "
        f"WHERE r.scope = s.scope AND r.kind = 'memory' AND {rows.VISIBLE})",
        [agent_id, beginning, now],
    )
    return [owner for (owner,) in found]


def counting(agent_id: str, location: str, now: datetime) -> Work[MemoryStats]:
    """Return what is stored; see `MemoryBackend.stats`."""
    counted, sizes = yield [
        Statement(
            "SELECT count(*) FILTER (WHERE r.kind = 'memory'), "
            "count(*) FILTER (WHERE r.kind = 'message'), count(DISTINCT r.scope), "
            "count(*) FILTER (WHERE r.kind = 'memory' AND r.vector IS NULL) "
            f"FROM langchain_kronvex.records AS r WHERE {rows.OF_AGENT} AND r.kind <> 'item' "
            f"AND {rows.VISIBLE}",
            [agent_id, now],
        ),
        Statement(
            "SELECT coalesce((SELECT sum(pg_total_relation_size(relid))::bigint "
            "FROM pg_partition_tree('langchain_kronvex.records'::regclass)), "
            "pg_total_relation_size('langchain_kronvex.records'::regclass))"
        ),
    ]
    memories, messages, users, unembedded = counted[0]
    return MemoryStats(
        location=location,
        memories=memories,
        messages=messages,
        users=users,
        unembedded=unembedded,
        size_bytes=sizes[0][0],
    )
