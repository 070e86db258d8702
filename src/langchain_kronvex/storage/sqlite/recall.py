"""Recall on SQLite: an owner's index in RAM, brought up to date when others have written.

The index is searched, and one statement fetches the chosen records and checks again that they are
the owner's and visible. When some have been replaced meanwhile, recall starts again.
"""

from __future__ import annotations

import json
from datetime import datetime
from heapq import nlargest

from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits, search
from langchain_kronvex.storage.backend import Match
from langchain_kronvex.storage.index_cache import CachedIndex, IndexCache, State
from langchain_kronvex.storage.model_check import fits, refuse
from langchain_kronvex.storage.record import from_cells
from langchain_kronvex.storage.sqlite import rows, vectors
from langchain_kronvex.storage.sqlite.file import AgentConnection, AgentFile
from langchain_kronvex.storage.timestamps import to_micros

_ROUNDS = 20  # of looking at what is being written meanwhile, before a recall makes do


def recall(
    agent: AgentFile, cache: IndexCache, request: RecallRequest, page_rows: int
) -> list[Match]:
    """Return the best matches, most similar first.

    Args:
        agent: The store.
        cache: The indexes.
        request: What to recall.
        page_rows: How many memories are read into an index at a time.
    """
    requests = request.by_owner()
    matches = [m for each in requests for m in _of_owner(agent, cache, each, page_rows)]
    if len(requests) == 1:
        return matches
    return nlargest(request.top_k, matches, key=lambda match: match.similarity)


def _of_owner(
    agent: AgentFile, cache: IndexCache, request: RecallRequest, page_rows: int
) -> list[Match]:
    owner = request.scope.owner
    entry = cache.entry(owner)
    for _ in range(_ROUNDS):
        with entry.lock:
            seen = (agent.file.version(), request.model)
            if entry.checked != seen or seen[0] is None:
                _bring_up_to_date(agent, entry, owner, page_rows)
                cache.shrink(owner)
                _check_model(agent, request)  # last: the index holds no vectors of a later model
                entry.checked = seen
            scope, hits = entry.state[0], search(entry.index, request)
        matches = _fetch(agent, scope, hits, request.now)
        if len(matches) == len(hits.seqs):
            break
    return matches


def _fetch(agent: AgentFile, scope: int, hits: Hits, now: datetime) -> list[Match]:
    """Return the chosen records that are still there and visible."""
    if not hits.seqs:
        return []
    # The + keeps SQLite to the few rows with these numbers, not to all of the scope.
    found = agent.file.read(
        f"SELECT r.seq, {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
        f"WHERE r.seq IN (SELECT value FROM json_each(?)) AND +r.scope = ? AND {rows.VISIBLE}",
        (json.dumps(hits.seqs), scope, to_micros(now)),
    )
    record_of = {row[0]: from_cells(row[1:]) for row in found}
    scored = zip(hits.seqs, hits.similarity, hits.probability, strict=True)
    return [Match(record_of[seq], sim, prob) for seq, sim, prob in scored if seq in record_of]


def _check_model(agent: AgentFile, request: RecallRequest) -> None:
    """Refuse a request whose vector cannot be compared with those of the memories."""
    if request.vector is None or request.model is None:
        return
    with agent.reading() as db:
        known = vectors.model_of(db)
    if known and not fits(known, request.model, len(request.vector)):
        refuse(agent.file.location, known, request.model, len(request.vector))


def _bring_up_to_date(agent: AgentFile, entry: CachedIndex, owner: str, page_rows: int) -> None:
    """Take into an index what was written since; read it anew when records have vanished."""
    rounds = 0
    while rounds < _ROUNDS:
        with agent.reading() as db:
            state = _state(db, owner)
            if state == entry.state:
                return
            if state[:2] != entry.state[:2]:
                entry.state, entry.index = (*state[:2], 0), ScopeIndex()
            changed = db.execute(
                "SELECT seq FROM records WHERE scope = ? AND kind = 'memory' AND revision > ? "
                "ORDER BY seq",
                (entry.state[0], entry.state[2]),
            ).fetchall()
        pages = [changed[start : start + page_rows] for start in range(0, len(changed), page_rows)]
        if all(_read_page(agent, entry, owner, [seq for (seq,) in page]) for page in pages):
            entry.state = state
            rounds += 1  # some may have been replaced between two pages: look again


def _read_page(agent: AgentFile, entry: CachedIndex, owner: str, seqs: list[int]) -> bool:
    """Read some memories into an index; False when others of the owner have vanished."""
    with agent.reading() as db:
        if _state(db, owner)[:2] != entry.state[:2]:
            return False
        page = db.execute(
            f"SELECT {rows.INDEX_COLUMNS} FROM records "
            "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (json.dumps(seqs),),
        ).fetchall()
    entry.index.apply(map(rows.to_index_row, page))
    return True


def _state(db: AgentConnection, owner: str) -> State:
    """Return scope, generation and revision of an owner, zeros for one without records."""
    found: State | None = db.execute(
        "SELECT scope, generation, revision FROM scopes WHERE agent_id = ? AND owner = ?",
        (db.agent_id, owner),
    ).fetchone()
    return found or (0, 0, 0)
