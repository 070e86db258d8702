"""The verbs of the PostgreSQL store that only read. Functions over a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from langchain_kronvex.core.records import Page, Record, Scope, Selection, StoreCondition
from langchain_kronvex.core.types import MemoryStats, SessionSummary
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.database import Rows, Transaction
from langchain_kronvex.storage.record import SECONDS_BEFORE_1970, from_cells, session_summaries

_RANGE, _LONGEST_RANGE = 5_000, 1_000_000  # numbers of records


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


def in_order(tx: Transaction, after: int, sql: str, parameters: Sequence[Any]) -> Rows:
    """Return the first rows in the order of writing, across owners.

    The records are read by ranges of their numbers, which a block-range index finds, because
    PostgreSQL would sort all that follow for each page.

    Args:
        tx: The transaction.
        after: The number to begin after.
        sql: The query. Its first two parameters are a range: after the first, up to the second.
        parameters: The others.
    """
    last, size, found = last_position(tx), _RANGE, Rows()
    while after < last and not found:
        found = tx.execute(sql, [after, after + size, *parameters])
        after, size = after + size, min(size * 2, _LONGEST_RANGE)
    return found


def last_position(tx: Transaction) -> int:
    """See `MemoryBackend.last_position`."""
    return int(tx.column("SELECT last_value FROM langchain_kronvex.records_seq")[0])


def sessions(tx: Transaction, scope: Scope | None, now: datetime) -> list[SessionSummary]:
    """See `MemoryBackend.sessions`."""
    condition, parameters = rows.where(Selection(kind=None, scope=scope), tx.agent_id)
    found = tx.execute(
        "SELECT nullif(r.user_id, ''), nullif(r.session_id, ''), "
        "count(*) FILTER (WHERE r.kind = 'memory'), "
        f"count(*) FILTER (WHERE r.kind = 'message'), {rows.micros('max(r.created)')} "
        f"FROM langchain_kronvex.records AS r WHERE {condition} AND r.kind <> 'item' "
        f"AND {rows.VISIBLE} GROUP BY r.scope, r.user_id, r.session_id "
        "ORDER BY max(r.created) DESC, max(r.seq) DESC",
        [*parameters, now],
    )
    return session_summaries(found)


def owners(tx: Transaction, beginning: str, now: datetime) -> list[str]:
    """See `MemoryBackend.owners`."""
    return tx.column(
        "SELECT s.owner FROM langchain_kronvex.scopes AS s WHERE s.agent_id = %s "
        "AND starts_with(s.owner, %s) AND EXISTS (SELECT 1 FROM langchain_kronvex.records AS r "
        f"WHERE r.scope = s.scope AND r.kind = 'memory' AND {rows.VISIBLE})",
        [tx.agent_id, beginning, now],
    )


def counts_by_day(tx: Transaction, scope: Scope | None, now: datetime) -> dict[date, int]:
    """See `MemoryBackend.counts_by_day`."""
    condition, parameters = rows.where(Selection(kind="memory", scope=scope), tx.agent_id)
    seconds = f"extract(epoch FROM r.created) + {SECONDS_BEFORE_1970}"
    found = tx.execute(
        f"SELECT floor(({seconds}) / 86400)::int + 1, count(*) FROM langchain_kronvex.records AS r "
        f"WHERE {condition} AND {rows.VISIBLE} GROUP BY 1",
        [*parameters, now],
    )
    return {date.fromordinal(day): count for day, count in found}


def stats(tx: Transaction, now: datetime) -> MemoryStats:
    """See `MemoryBackend.stats`."""
    (found,) = tx.execute(
        "SELECT count(*) FILTER (WHERE r.kind = 'memory'), "
        "count(*) FILTER (WHERE r.kind = 'memory' AND r.superseded_by IS NOT NULL), "
        "count(*) FILTER (WHERE r.kind = 'message'), count(DISTINCT r.scope), "
        "count(*) FILTER (WHERE r.kind = 'memory' AND r.vector IS NULL), "
        "(SELECT coalesce(sum(pg_total_relation_size(relid))::bigint, "
        "pg_total_relation_size('langchain_kronvex.records'::regclass)) "
        "FROM pg_partition_tree('langchain_kronvex.records'::regclass)) "
        f"FROM langchain_kronvex.records AS r WHERE {rows.OF_AGENT} AND r.kind <> 'item' "
        f"AND {rows.VISIBLE}",
        [tx.agent_id, now],
    )
    names = ("memories", "superseded", "messages", "users", "unembedded", "size_bytes")
    return MemoryStats(location=tx.location, **dict(zip(names, found, strict=True)))


def condition(tx: Transaction, now: datetime) -> StoreCondition:
    """See `MemoryBackend.condition`."""
    models = "SELECT upcoming, model FROM langchain_kronvex.models WHERE agent_id = %s"
    model_of: dict[bool, str] = dict(tx.execute(models, [tx.agent_id]))
    expired = (
        "SELECT count(*) FROM langchain_kronvex.records "
        "WHERE expires > 'epoch' AND expires <= %s AND NOT pinned"
    )
    agents = (
        "SELECT s.agent_id, count(*) FROM langchain_kronvex.records AS r "
        "JOIN langchain_kronvex.scopes AS s USING (scope) "
        f"WHERE r.kind = 'memory' AND {rows.VISIBLE} GROUP BY s.agent_id"
    )
    writable = (
        "SELECT has_table_privilege('langchain_kronvex.records', 'INSERT') AND NOT "
        "pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"
    )
    set_aside = (
        "SELECT count(*) FROM langchain_kronvex.second_looks AS l "
        "JOIN langchain_kronvex.records AS r USING (scope, seq) "
        f"WHERE l.set_aside AND {rows.OF_AGENT} AND {rows.VISIBLE}"
    )
    return StoreCondition(
        schema=tx.column("SELECT max(step) FROM langchain_kronvex.schema_steps")[0],
        model=model_of.get(False),
        upcoming=model_of.get(True),
        expired=tx.column(expired, [now])[0],
        set_aside=tx.column(set_aside, [tx.agent_id, now])[0],
        is_writable=tx.column(writable)[0],
        agents=dict(tx.execute(agents, [now])),
    )
