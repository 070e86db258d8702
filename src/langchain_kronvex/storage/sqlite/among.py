"""Recall among the memories of many owners on SQLite: one index of all of them.

It is read in a few statements, however many owners there are, and brought up to date like that of
one owner. When memories of any of them have vanished, it is read anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from langchain_kronvex.core.records import Match, Record
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import IndexRow, RecallRequest
from langchain_kronvex.recall.search import search
from langchain_kronvex.storage.indexes import CachedIndex, IndexCache, matches_of
from langchain_kronvex.storage.model_check import Model, check_request
from langchain_kronvex.storage.record import from_cells, to_micros
from langchain_kronvex.storage.sqlite import rows, vectors
from langchain_kronvex.storage.sqlite.file import AgentConnection, SqliteFile

MOST_MEMORIES = 50_000  # of all owners in one index: some 50 MB
_ROUNDS = 20  # of catching up with writers, before a recall returns what it has found
States = dict[int, tuple[int, int]]  # the generation and revision of each scope

_STATES = (
    "SELECT s.scope, s.generation, s.revision, (SELECT count(*) FROM records AS r "
    "WHERE r.scope = s.scope AND r.kind = 'memory') FROM json_each(?) AS o "
    "CROSS JOIN scopes AS s ON s.agent_id = ? AND s.owner = o.value"
)
_CHANGED = (
    "SELECT r.seq FROM json_each(?) AS w CROSS JOIN records AS r ON r.scope = w.value ->> 0 "
    "AND r.kind = 'memory' AND r.revision > w.value ->> 1 ORDER BY r.seq"
)
_ROWS = (
    f"SELECT {rows.INDEX_COLUMNS} FROM records "
    "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
)
_FETCH = (
    f"SELECT r.seq, r.scope, {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
    f"WHERE r.seq IN (SELECT value FROM json_each(?)) AND {rows.VISIBLE}"
)


def recall(
    file: SqliteFile,
    cache: IndexCache,
    page_rows: int,
    owners: Sequence[str],
    request: RecallRequest,
) -> list[Match] | None:
    """Return the best matches of all owners; None if they have too many memories for one index.

    Args:
        file: The store.
        cache: The indexes.
        page_rows: How many memories are read into an index at a time.
        owners: Whose memories.
        request: What to recall; its scope names the index.
    """
    name = cache.name_of_many(request.scope.owner)
    entry = cache.entry(name)
    for _ in range(_ROUNDS):
        with entry.lock:
            seen = (file.version(), request.model)
            if entry.checked != seen or seen[0] is None or entry.owners != tuple(owners):
                if not _bring_up_to_date(file, entry, owners, page_rows):
                    cache.drop(name)
                    return None
                cache.shrink(name)
                check_request(file.location, file.in_snapshot(vectors.model_of), request)
                entry.checked, entry.owners = seen, tuple(owners)
            hits = search(entry.index, request)
            records = _fetch(file, entry.scopes, hits.seqs, request)
        if len(records) == len(hits.seqs):
            break
    return matches_of(hits, records)


def _fetch(
    file: SqliteFile, scopes: States, seqs: list[int], request: RecallRequest
) -> dict[int, Record]:
    """Return those of the numbered records that are still there, visible, and of these scopes."""
    found = file.read(_FETCH, (json.dumps(seqs), to_micros(request.now)))
    return {seq: from_cells(cells) for seq, scope, *cells in found if scope in scopes}


def _bring_up_to_date(
    file: SqliteFile, entry: CachedIndex, owners: Sequence[str], page_rows: int
) -> bool:
    """Add new writes to an index, or read it anew; return False if there are too many memories."""
    for _ in range(_ROUNDS):
        found = file.in_snapshot(partial(_changes, owners=owners, known=entry.scopes))
        if found is None:
            return False
        states, seqs = found
        if states == entry.scopes:
            return True
        known, entry.scopes = entry.scopes, {}  # a signal may end this at any line
        if not known or any(states.get(s, ())[:1] != state[:1] for s, state in known.items()):
            entry.index = ScopeIndex()
            if known:
                continue  # the numbers are of the changes alone
        for start in range(0, len(seqs), page_rows):
            chosen = json.dumps(seqs[start : start + page_rows])
            entry.apply(*file.in_snapshot(partial(_page, seqs=chosen)))
        entry.scopes = states
    return True


def _changes(
    db: AgentConnection, owners: Sequence[str], known: States
) -> tuple[States, list[int]] | None:
    """Return the states of owners, and the numbers of the memories written since known ones."""
    found = db.execute(_STATES, (json.dumps(list(owners)), db.agent_id)).fetchall()
    if sum(count for *_, count in found) > MOST_MEMORIES:
        return None
    states = {scope: (generation, revision) for scope, generation, revision, _ in found}
    after = {scope: known.get(scope, (0, 0))[1] for scope in states}
    wanted = [[s, after[s]] for s, (_, revision) in states.items() if revision > after[s]]
    seqs = db.execute(_CHANGED, (json.dumps(wanted),)).fetchall()
    return states, [seq for (seq,) in seqs]


def _page(db: AgentConnection, seqs: str) -> tuple[list[IndexRow], Model | None]:
    found = db.execute(_ROWS, (seqs,)).fetchall()
    return list(map(rows.to_index_row, found)), vectors.model_of(db)
