"""Recall on SQLite: an owner's index in RAM, brought up to date when others have written.

After the search, one statement fetches the chosen records and checks again that they belong to the
owner and are visible. If some have been replaced meanwhile, recall starts again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from langchain_kronvex.core.records import Record, Scope, Selection
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import IndexRow, RecallRequest
from langchain_kronvex.storage.indexes import CachedIndex, H, IndexCache, Look, State
from langchain_kronvex.storage.model_check import Model, check_request
from langchain_kronvex.storage.record import from_cells, to_micros
from langchain_kronvex.storage.snapshots import SnapshotKeeper
from langchain_kronvex.storage.sqlite import rows, snapshots, vectors
from langchain_kronvex.storage.sqlite.file import AgentConnection, SqliteFile

_READY = "SELECT name FROM snapshots WHERE scope = ? AND ready AND name <> ?"
_ROUNDS = 20  # of catching up with writers, before a recall returns what it has found
Forget = Callable[[Sequence[int]], None]


def consult(
    file: SqliteFile,
    cache: IndexCache,
    page_rows: int,
    forget: Forget,
    keeper: SnapshotKeeper,
    request: RecallRequest,
    look: Look[H],
) -> tuple[H, Mapping[int, Record]]:
    """Look at the index of one owner, and fetch the records that are found.

    Args:
        file: The store.
        cache: The indexes.
        page_rows: How many memories are read into an index at a time.
        forget: Called with the numbers of memories whose vectors are damaged.
        keeper: Writes snapshots of the indexes.
        request: What to recall.
        look: Finds something in the index, such as `search`.
    """
    owner = request.scope.owner
    entry, is_changed = cache.entry(owner), False
    for _ in range(_ROUNDS):
        with entry.lock:
            seen = (file.version(), request.model)
            if entry.checked != seen or seen[0] is None:
                model = bring_up_to_date(file, entry, owner, page_rows)
                cache.shrink(owner)
                check_request(file.location, model, request)
                entry.checked = seen
                is_changed = True
            scope, hits = entry.state.scope, look(entry.index, request)
        if is_changed:
            keeper.look(owner, entry)
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


class _Changes(NamedTuple):
    """What was written to the records of an owner since a known state.

    Attributes:
        state: Their state now.
        model: The model of the vectors.
        snapshot: The name of a snapshot with which to begin; then there is nothing else.
        seqs: The numbers of the memories that were written.
        page: Their rows, if they are few.
    """

    state: State
    model: Model | None
    snapshot: str | None = None
    seqs: Sequence[int] = ()
    page: Sequence[IndexRow] | None = None


def bring_up_to_date(
    file: SqliteFile, entry: CachedIndex, owner: str, page_rows: int
) -> Model | None:
    """Add new writes to an index, whose lock is held; read it anew if records have been deleted.

    Returns:
        The model of the vectors. The index has no vectors of a later one.
    """
    rounds, tried = 0, ""
    while True:
        state, model, name, seqs, page = file.in_snapshot(
            partial(_changes, owner=owner, known=entry.state, page_rows=page_rows, tried=tried)
        )
        if name is not None:
            if found := snapshots.load(file, name, owner, state):
                entry.begin(*found)
            entry.replaces, tried = found is None, name
            continue
        if state == entry.state or rounds == _ROUNDS:
            return model
        if state[:2] != entry.state[:2]:
            entry.begin(state._replace(revision=0), ScopeIndex())
        if page is not None:
            entry.apply(page, model)
            entry.state = state
            return model
        for start in range(0, len(seqs), page_rows):
            chosen = json.dumps(seqs[start : start + page_rows])
            now, model, page = file.in_snapshot(partial(_page, owner=owner, seqs=chosen))
            if now[:2] != state[:2]:  # others of the owner have been deleted
                break
            entry.apply(page, model)
        else:
            entry.state = state
            rounds += 1  # some may have been replaced between two pages: look again


def _changes(db: AgentConnection, owner: str, known: State, page_rows: int, tried: str) -> _Changes:
    """Return what was written since a known state.

    Args:
        db: The store, at one moment.
        owner: Whose records.
        known: The state of the index.
        page_rows: Up to how many rows are returned at once.
        tried: The name of a snapshot that is not to be tried again.
    """
    state, model, after = _state(db, owner), vectors.model_of(db), known.revision
    if state[:2] != known[:2]:
        after = 0
        name = db.execute(_READY, (state.scope, tried)).fetchone()
        if name:
            return _Changes(state, model, *name)
    if state.revision == after:
        return _Changes(state, model)
    found = db.execute(
        "SELECT seq FROM records WHERE scope = ? AND kind = 'memory' AND revision > ? ORDER BY seq",
        (state.scope, after),
    ).fetchall()
    seqs = [seq for (seq,) in found]
    page = _rows(db, json.dumps(seqs)) if len(seqs) <= page_rows else None
    return _Changes(state, model, None, seqs, page)


def _page(db: AgentConnection, owner: str, seqs: str) -> tuple[State, Model | None, list[IndexRow]]:
    """Return the state of an owner, the model of the vectors, and the rows of some memories."""
    return _state(db, owner), vectors.model_of(db), _rows(db, seqs)


def _rows(db: AgentConnection, seqs: str) -> list[IndexRow]:
    """Return the rows of memories; their numbers are JSON."""
    found = db.execute(
        f"SELECT {rows.INDEX_COLUMNS} FROM records "
        "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
        (seqs,),
    ).fetchall()
    return list(map(rows.to_index_row, found))


def _state(db: AgentConnection, owner: str) -> State:
    """Return scope, generation and revision of an owner, zeros for one without records."""
    found = db.execute(
        "SELECT scope, generation, revision FROM scopes WHERE agent_id = ? AND owner = ?",
        (db.agent_id, owner),
    ).fetchone()
    return State(*found) if found else State()
