"""Finding, listing and counting in PostgreSQL, and reading what the index in RAM is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from langchain_kronvex.core.types import MemoryStats, Scope, SessionSummary
from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.storage.backend import Page, Record, Selection
from langchain_kronvex.storage.model_check import Model
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.database import Rows, Statement, Transaction
from langchain_kronvex.storage.record import from_cells, from_micros

_RANGE, _LONGEST_RANGE = 5_000, 1_000_000  # numbers of records
_STATE = (
    "FROM (SELECT 1) AS one LEFT JOIN langchain_kronvex.scopes AS s "
    "ON s.scope = %s AND s.agent_id = %s AND s.owner = %s "
)


class State(NamedTuple):
    """The generation and the last write of an owner's records; zeros when there are none."""

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


def find(tx: Transaction, selection: Selection, page: Page, now: datetime) -> list[Record]:
    """See `MemoryBackend.find`."""
    condition, parameters = rows.where(selection, tx.agent_id)
    order, bounds = rows.order(page)
    found = tx.execute(
        f"SELECT {rows.RECORD_COLUMNS} FROM langchain_kronvex.records AS r "
        f"WHERE {condition} AND {rows.VISIBLE} {order}",
        [*parameters, now, *bounds],
    )
    return [from_cells(row) for row in found]


def find_numbers(tx: Transaction, owner: str, seqs: Sequence[int], now: datetime) -> Found:
    """Return an owner's visible memories by their numbers, and the owner's state."""
    scope = tx.scope(owner)
    found = tx.execute(
        "SELECT s.generation, s.revision, m.model, m.width, r.seq, "
        f"{rows.RECORD_COLUMNS} {_STATE}"
        "LEFT JOIN langchain_kronvex.models AS m ON m.agent_id = %s AND NOT m.upcoming "
        # A join, because with `= ANY` the planner reads all of the owner's records: five times
        # slower at 10,000.
        "LEFT JOIN (unnest(%s::bigint[]) AS w (seq) JOIN langchain_kronvex.records AS r "
        "ON r.scope = %s AND r.seq = w.seq) ON r.scope = s.scope "
        f"AND r.kind = 'memory' AND {rows.VISIBLE}",
        [scope, tx.agent_id, owner, tx.agent_id, list(seqs), scope, now],
    )
    generation, revision, model, width, *_ = found[0]
    return Found(
        State(generation or 0, revision or 0),
        None if model is None else (model, width),
        {row[4]: from_cells(row[5:]) for row in found if row[4] is not None},
    )


def index_page(tx: Transaction, owner: str, revision: int, after: int, limit: int) -> IndexPage:
    """Return the memories written after a revision, from a number on, in the order of writing."""
    found = tx.execute(
        f"SELECT s.generation, s.revision, x.* {_STATE}"
        f"LEFT JOIN LATERAL (SELECT {rows.INDEX_COLUMNS} FROM langchain_kronvex.records AS r "
        "WHERE r.scope = s.scope AND r.kind = 'memory' AND r.revision > %s AND r.seq > %s "
        "ORDER BY r.seq LIMIT %s) AS x ON true",
        [tx.scope(owner), tx.agent_id, owner, revision, after, limit],
    )
    generation, state_revision, *_ = found[0]
    memories = [rows.to_index_row(row[2:]) for row in found if row[2] is not None]
    return IndexPage(State(generation or 0, state_revision or 0), memories)


def in_order(tx: Transaction, after: int, part: Callable[[int, int], Statement]) -> Rows:
    """Return the first rows in the order of writing, across owners.

    The records are read by ranges of their numbers, which a block-range index finds, because
    PostgreSQL would sort all that follow for each page.

    Args:
        tx: The transaction.
        after: The number to begin after.
        part: Returns the statement for a range: after its first, up to its second number.
    """
    last, size = last_position(tx), _RANGE
    while after < last:
        found = tx.execute_all([part(after, after + size)])[0]
        if found:
            return found
        after, size = after + size, min(size * 2, _LONGEST_RANGE)
    return []


def last_position(tx: Transaction) -> int:
    """See `MemoryBackend.last_position`."""
    ((last,),) = tx.execute("SELECT last_value FROM langchain_kronvex.records_seq")
    return int(last)


def sessions(tx: Transaction, scope: Scope | None, now: datetime) -> list[SessionSummary]:
    """See `MemoryBackend.sessions`."""
    condition, parameters = rows.where(Selection(kind=None, scope=scope), tx.agent_id)
    found = tx.execute(
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


def owners(tx: Transaction, beginning: str, now: datetime) -> list[str]:
    """See `MemoryBackend.owners`."""
    found = tx.execute(
        "SELECT s.owner FROM langchain_kronvex.scopes AS s WHERE s.agent_id = %s "
        "AND starts_with(s.owner, %s) AND EXISTS (SELECT 1 FROM langchain_kronvex.records AS r "
        f"WHERE r.scope = s.scope AND r.kind = 'memory' AND {rows.VISIBLE})",
        [tx.agent_id, beginning, now],
    )
    return [owner for (owner,) in found]


def stats(tx: Transaction, now: datetime) -> MemoryStats:
    """See `MemoryBackend.stats`."""
    counted, sizes = tx.execute_all(
        [
            Statement(
                "SELECT count(*) FILTER (WHERE r.kind = 'memory'), "
                "count(*) FILTER (WHERE r.kind = 'message'), count(DISTINCT r.scope), "
                "count(*) FILTER (WHERE r.kind = 'memory' AND r.vector IS NULL) "
                f"FROM langchain_kronvex.records AS r WHERE {rows.OF_AGENT} AND r.kind <> 'item' "
                f"AND {rows.VISIBLE}",
                [tx.agent_id, now],
            ),
            Statement(
                "SELECT coalesce((SELECT sum(pg_total_relation_size(relid))::bigint "
                "FROM pg_partition_tree('langchain_kronvex.records'::regclass)), "
                "pg_total_relation_size('langchain_kronvex.records'::regclass))"
            ),
        ]
    )
    memories, messages, users, unembedded = counted[0]
    return MemoryStats(
        location=tx.location,
        memories=memories,
        messages=messages,
        users=users,
        unembedded=unembedded,
        size_bytes=sizes[0][0],
    )
