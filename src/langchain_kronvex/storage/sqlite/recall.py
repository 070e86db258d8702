"""Recall on SQLite: an owner's index in RAM, brought up to date when others have written.

After the search, one statement fetches the chosen records and checks again that they belong to the
owner and are visible. If some have been replaced meanwhile, recall starts again.
"""

from __future__ import annotations

import json
from datetime import datetime

from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import search
from langchain_kronvex.storage.backend import Match, Record
from langchain_kronvex.storage.indexes import (
    CachedIndex,
    IndexCache,
    State,
    matches_of,
    recall_owners,
)
from langchain_kronvex.storage.model_check import check_request
from langchain_kronvex.storage.record import from_cells, to_micros
from langchain_kronvex.storage.sqlite import rows, vectors
from langchain_kronvex.storage.sqlite.file import AgentConnection, SqliteFile

_ROUNDS = 20  # of catching up with writers, before a recall returns what it has found


def recall(
    file: SqliteFile, cache: IndexCache, request: RecallRequest, page_rows: int
) -> list[Match]:
    """Return the best matches, most similar first.

    Args:
        file: The store.
        cache: The indexes.
        request: What to recall.
        page_rows: How many memories are read into an index at a time.
    """
    return recall_owners(request, lambda each: _recall_owner(file, cache, each, page_rows))


def _recall_owner(
    file: SqliteFile, cache: IndexCache, request: RecallRequest, page_rows: int
) -> list[Match]:
    owner = request.scope.owner
    entry = cache.entry(owner)
    for _ in range(_ROUNDS):
        with entry.lock:
            seen = (file.version(), request.model)
            if entry.checked != seen or seen[0] is None:
                _bring_up_to_date(file, entry, owner, page_rows)
                cache.shrink(owner)
                with file.snapshot() as db:  # last: the index has no vectors of a later model
                    check_request(file.location, vectors.model_of(db), request)
                entry.checked = seen
            scope, hits = entry.state[0], search(entry.index, request)
        matches = matches_of(hits, _fetch(file, scope, hits.seqs, request.now))
        if len(matches) == len(hits.seqs):
            break
    return matches


def _fetch(file: SqliteFile, scope: int, seqs: list[int], now: datetime) -> dict[int, Record]:
    """Return those of the numbered records that are still there and visible."""
    # The + keeps SQLite to the few rows with these numbers, not to all of the scope.
    found = file.read(
        f"SELECT r.seq, {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
        f"WHERE r.seq IN (SELECT value FROM json_each(?)) AND +r.scope = ? AND {rows.VISIBLE}",
        (json.dumps(seqs), scope, to_micros(now)),
    )
    return {seq: from_cells(cells) for seq, *cells in found}


def _bring_up_to_date(file: SqliteFile, entry: CachedIndex, owner: str, page_rows: int) -> None:
    """Add new writes to an index; read it anew if records have been deleted."""
    rounds = 0
    while rounds < _ROUNDS:
        with file.snapshot() as db:
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
        if all(_read_page(file, entry, owner, [seq for (seq,) in page]) for page in pages):
            entry.state = state
            rounds += 1  # some may have been replaced between two pages: look again


def _read_page(file: SqliteFile, entry: CachedIndex, owner: str, seqs: list[int]) -> bool:
    """Add some memories to an index; return False if others of the owner have been deleted."""
    with file.snapshot() as db:
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
