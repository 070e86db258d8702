"""Recall on SQLite: an owner's index in RAM, brought up to date when others have written.

After the search, one statement fetches the chosen records and checks again that they belong to the
owner and are visible. If some have been replaced meanwhile, recall starts again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.index import IndexRow, ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import Record, Selection
from langchain_kronvex.storage.indexes import CachedIndex, H, IndexCache, Look, State
from langchain_kronvex.storage.model_check import Model, check_request
from langchain_kronvex.storage.record import from_cells, to_micros
from langchain_kronvex.storage.sqlite import rows, vectors
from langchain_kronvex.storage.sqlite.file import AgentConnection, SqliteFile

_ROUNDS = 20  # of catching up with writers, before a recall returns what it has found
Forget = Callable[[Sequence[int]], None]


def consult(
    file: SqliteFile,
    cache: IndexCache,
    page_rows: int,
    forget: Forget,
    request: RecallRequest,
    look: Look[H],
) -> tuple[H, Mapping[int, Record]]:
    """Look at the index of one owner, and fetch the records that are found.

    Args:
        file: The store.
        cache: The indexes.
        page_rows: How many memories are read into an index at a time.
        forget: Called with the numbers of memories whose vectors are damaged.
        request: What to recall.
        look: Finds something in the index, such as `search`.
    """
    owner = request.scope.owner
    entry = cache.entry(owner)
    for _ in range(_ROUNDS):
        with entry.lock:
            seen = (file.version(), request.model)
            if entry.checked != seen or seen[0] is None:
                _bring_up_to_date(file, entry, owner, page_rows)
                cache.shrink(owner)
                # Last: the index has no vectors of a later model.
                check_request(file.location, file.in_snapshot(vectors.model_of), request)
                entry.checked = seen
            scope, hits = entry.state.scope, look(entry.index, request)
        if entry.damaged:  # now that no lock is held
            seqs, entry.damaged = entry.damaged, []
            forget(seqs)
        records = _fetch(file, scope, hits.seqs, request)
        if len(records) == len(hits.seqs):
            break
    return hits, records


def position(db: AgentConnection, record: Record) -> int | None:
    """Return the number of a record that is still there."""
    own = Scope(record.scope.owner or None)
    condition, parameters = rows.where(
        Selection(kind="memory", scope=own, ids=(record.id,)), db.agent_id
    )
    found = db.execute(f"SELECT r.seq FROM records AS r WHERE {condition}", parameters).fetchone()
    return None if found is None else int(found[0])


def _fetch(
    file: SqliteFile, scope: int, seqs: list[int], request: RecallRequest
) -> dict[int, Record]:
    """Return those of the numbered records that are still there and visible to the request."""
    is_current = "" if request.include_superseded else "AND r.superseded_by IS NULL"
    # The + keeps SQLite to the few rows with these numbers, not to all of the scope.
    found = file.read(
        f"SELECT r.seq, {rows.RECORD_COLUMNS} FROM {rows.RECORD_TABLES} "
        f"WHERE r.seq IN (SELECT value FROM json_each(?)) AND +r.scope = ? AND {rows.VISIBLE} "
        f"{is_current}",
        (json.dumps(seqs), scope, to_micros(request.now)),
    )
    return {seq: from_cells(cells) for seq, *cells in found}


def _bring_up_to_date(file: SqliteFile, entry: CachedIndex, owner: str, page_rows: int) -> None:
    """Add new writes to an index; read it anew if records have been deleted."""
    rounds = 0
    while rounds < _ROUNDS:
        state, changed = file.in_snapshot(lambda db: _changes(db, owner, entry.state))
        if state == entry.state:
            return
        if state[:2] != entry.state[:2]:
            entry.state, entry.index = state._replace(revision=0), ScopeIndex()
        for start in range(0, len(changed), page_rows):
            seqs = json.dumps(changed[start : start + page_rows])
            now, model, page = file.in_snapshot(partial(_page, owner=owner, seqs=seqs))
            if now[:2] != state[:2]:  # others of the owner have been deleted
                break
            entry.apply(page, model)
        else:
            entry.state = state
            rounds += 1  # some may have been replaced between two pages: look again


def _changes(db: AgentConnection, owner: str, known: State) -> tuple[State, list[int]]:
    """Return the state of an owner, and the numbers of the memories written since a known one."""
    state = _state(db, owner)
    after = known.revision if state[:2] == known[:2] else 0
    found = db.execute(
        "SELECT seq FROM records WHERE scope = ? AND kind = 'memory' AND revision > ? ORDER BY seq",
        (state.scope, after),
    ).fetchall()
    return state, [seq for (seq,) in found]


def _page(db: AgentConnection, owner: str, seqs: str) -> tuple[State, Model | None, list[IndexRow]]:
    """Return the state of an owner, the model of the vectors, and the rows of some memories."""
    found = db.execute(
        f"SELECT {rows.INDEX_COLUMNS} FROM records "
        "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
        (seqs,),
    ).fetchall()
    return _state(db, owner), vectors.model_of(db), list(map(rows.to_index_row, found))


def _state(db: AgentConnection, owner: str) -> State:
    """Return scope, generation and revision of an owner, zeros for one without records."""
    found = db.execute(
        "SELECT scope, generation, revision FROM scopes WHERE agent_id = ? AND owner = ?",
        (db.agent_id, owner),
    ).fetchone()
    return State(*found) if found else State()
