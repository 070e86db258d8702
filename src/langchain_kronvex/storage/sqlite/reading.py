"""The verbs of the SQLite store that only read. Functions over a connection."""

from __future__ import annotations

from datetime import date, datetime

from langchain_kronvex.core.records import Page, Record, Scope, Selection, StoreCondition
from langchain_kronvex.core.types import MemoryStats, SessionSummary
from langchain_kronvex.storage.record import (
    SECONDS_BEFORE_1970,
    from_cells,
    session_summaries,
    to_micros,
)
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.file import AgentConnection


def find(db: AgentConnection, selection: Selection, page: Page, now: datetime) -> list[Record]:
    """Return the selected records in the order of the page."""
    condition, parameters = rows.where(selection, db.agent_id)
    order, bounds = rows.order(page, selection)
    found = db.execute(
        f"SELECT {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
        f"WHERE {condition} AND {rows.VISIBLE} {order}",
        [*parameters, to_micros(now), *bounds],
    ).fetchall()
    return [from_cells(row) for row in found]


def sessions(db: AgentConnection, scope: Scope | None, now: datetime) -> list[SessionSummary]:
    """Return the sessions of one owner, or of all, the last written to first."""
    condition, parameters = rows.where(Selection(kind=None, scope=scope), db.agent_id)
    found = db.execute(
        "SELECT nullif(user_id, ''), nullif(session_id, ''), "
        "sum(kind = 'memory'), sum(kind = 'message'), max(created) "
        f"FROM records AS r WHERE {condition} AND r.kind <> 'item' AND {rows.VISIBLE} "
        "GROUP BY scope, user_id, session_id ORDER BY max(created) DESC, max(seq) DESC",
        [*parameters, to_micros(now)],
    ).fetchall()
    return session_summaries(found)


def owners(db: AgentConnection, beginning: str, now: datetime) -> list[str]:
    """Return the owners of memories whose names begin with a text, in no order."""
    end = beginning + chr(0x10FFFF) * 256
    found = db.execute(
        # The condition BETWEEN makes use of the index, substr is exact.
        "SELECT owner FROM scopes AS s WHERE agent_id = ? AND owner BETWEEN ? AND ? "
        "AND substr(owner, 1, ?) = ? AND EXISTS (SELECT 1 FROM records AS r "
        f"WHERE r.scope = s.scope AND r.kind = 'memory' AND {rows.VISIBLE})",
        (db.agent_id, beginning, end, len(beginning), beginning, to_micros(now)),
    ).fetchall()
    return [owner for (owner,) in found]


def counts_by_day(db: AgentConnection, scope: Scope | None, now: datetime) -> dict[date, int]:
    """Return how many memories of one owner, or of all, were created on each day (UTC)."""
    condition, parameters = rows.where(Selection(kind="memory", scope=scope), db.agent_id)
    found = db.execute(
        # Counted from the year 1, as `date` does, so that the division never meets a negative.
        f"SELECT (r.created + {SECONDS_BEFORE_1970} * 1000000) / 86400000000 + 1, count(*) "
        f"FROM records AS r WHERE {condition} AND {rows.VISIBLE} GROUP BY 1",
        [*parameters, to_micros(now)],
    )
    return {date.fromordinal(day): count for day, count in found}


def stats(db: AgentConnection, now: datetime, size_bytes: int | None) -> MemoryStats:
    """Return how much is stored."""
    counts = db.execute(
        "SELECT coalesce(sum(kind = 'memory'), 0), "
        "coalesce(sum(kind = 'memory' AND superseded_by IS NOT NULL), 0), "
        "coalesce(sum(kind = 'message'), 0), "
        "count(DISTINCT scope), coalesce(sum(kind = 'memory' AND vector IS NULL), 0) "
        f"FROM records AS r WHERE scope IN ({rows.OF_AGENT}) AND kind <> 'item' "
        f"AND {rows.VISIBLE}",
        (db.agent_id, to_micros(now)),
    ).fetchone()
    names = ("memories", "superseded", "messages", "users", "unembedded")
    named = dict(zip(names, counts, strict=True))
    return MemoryStats(location=db.location, size_bytes=size_bytes, **named)


def condition(db: AgentConnection, now: datetime) -> StoreCondition:
    """Return what an operator should know of the file."""
    models = "SELECT upcoming, model FROM models WHERE agent_id = ?"
    model_of = dict(db.execute(models, (db.agent_id,)).fetchall())
    # Those that expired at 0 are the places of replaced records.
    expired = "SELECT count(*) FROM records WHERE expires > 0 AND expires <= ? AND NOT pinned"
    agents = (
        "SELECT agent_id, count(*) FROM records AS r JOIN scopes USING (scope) "
        f"WHERE kind = 'memory' AND {rows.VISIBLE} GROUP BY agent_id"
    )
    set_aside = (
        "SELECT count(*) FROM second_looks AS l JOIN records AS r USING (seq) "
        f"WHERE l.set_aside AND r.scope IN ({rows.OF_AGENT}) AND {rows.VISIBLE}"
    )
    return StoreCondition(
        schema=db.execute("PRAGMA user_version").fetchone()[0],
        model=model_of.get(0),
        upcoming=model_of.get(1),
        expired=db.execute(expired, (to_micros(now),)).fetchone()[0],
        set_aside=db.execute(set_aside, (db.agent_id, to_micros(now))).fetchone()[0],
        is_erasing=bool(db.execute("SELECT 1 FROM settings WHERE name = 'erasing'").fetchall()),
        agents=dict(db.execute(agents, (to_micros(now),)).fetchall()),
    )


def last_position(db: AgentConnection) -> int:
    """Return the number of the record written last."""
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])
