"""Recall on PostgreSQL: an owner's index in RAM, checked by the statement that fetches the result.

The index is searched first, as it is. The one statement that then fetches the chosen records also
returns the state of the owner's records. When others have written meanwhile, their writes are
added to the index and the search is repeated. So a worker sees the writes of all others at its
next recall, at the cost of one round trip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_kronvex.core.errors import EmbeddingMismatch, StoreBusy
from langchain_kronvex.core.records import Record, Scope, Selection
from langchain_kronvex.recall.request import IndexRow, RecallRequest
from langchain_kronvex.storage.indexes import CachedIndex, H, IndexCache, Look, State
from langchain_kronvex.storage.model_check import Model, check_request, damaged, refuse
from langchain_kronvex.storage.postgres import rows, snapshots
from langchain_kronvex.storage.postgres.database import Database, Rows, Transaction
from langchain_kronvex.storage.postgres.vectors import forget
from langchain_kronvex.storage.record import from_cells
from langchain_kronvex.storage.snapshots import SnapshotKeeper

_PAGE_ROWS = 2000
# A join, because with `= ANY` the planner reads all of the owner's records: five times slower at
# 10,000.
_HITS = (
    "LEFT JOIN (unnest(%s::bigint[]) AS w (seq) JOIN langchain_kronvex.records AS r "
    "ON r.scope = %s AND r.seq = w.seq) ON r.scope = s.scope "
    f"AND {rows.IS_MEMORY} AND {rows.VISIBLE}"
)
_NEW_ROWS = (
    f"LEFT JOIN LATERAL (SELECT {rows.INDEX_COLUMNS} FROM langchain_kronvex.records AS r "
    "WHERE r.scope = s.scope AND r.kind = 'memory' AND r.revision > %s AND r.seq > %s "
    "ORDER BY r.seq LIMIT %s) AS x ON true"
)
_ROUNDS = 50  # of adding what others write meanwhile, before a recall gives up


def consult(
    database: Database,
    cache: IndexCache,
    keeper: SnapshotKeeper,
    request: RecallRequest,
    look: Look[H],
) -> tuple[H, Mapping[int, Record]]:
    """Look at the index of one owner, and fetch the records that are found.

    Args:
        database: The store.
        cache: The indexes.
        keeper: Writes snapshots of the indexes.
        request: What to recall.
        look: Finds something in the index, such as `search`.
    """
    owner = request.scope.owner
    entry = cache.entry(owner)
    begun: State | None = None
    for _ in range(_ROUNDS):
        seen, hits = _look(entry, request, look)
        state, model, records = _fetch(database, owner, hits.seqs if hits else [], request)
        begun = begun or state
        # Later writes are for the next recall, unless they replaced or erased a hit.
        is_recent = seen.generation == state.generation and seen.revision >= begun.revision
        is_whole = hits is not None and len(records) == len(hits.seqs)
        if seen == state or (is_recent and is_whole):
            check_request(database.location, model, request)
            if hits is None:
                width = 0 if request.vector is None else len(request.vector)
                refuse(database.location, model, request.model or "", width)
            return hits, records
        with entry.loading:
            known = entry.state
            if known.generation != state.generation or known.revision < state.revision:
                add_new_rows(database, entry, owner)
        cache.shrink(owner)
        keeper.look(owner, entry)
        if entry.damaged:  # now that no lock is held
            seqs, entry.damaged = entry.damaged, []
            _forget_vectors(database, owner, seqs)
    raise StoreBusy(f"{database.location}: other workers write faster than this one can read.")


def position(tx: Transaction, record: Record) -> int | None:
    """Return the number of a record that is still there."""
    own = Selection(kind="memory", scope=Scope(record.scope.owner or None), ids=(record.id,))
    condition, parameters = rows.where(own, tx.agent_id)
    found = tx.column(
        f"SELECT r.seq FROM langchain_kronvex.records AS r WHERE {condition}", parameters
    )
    return next(iter(found), None)


def _look(entry: CachedIndex, request: RecallRequest, look: Look[H]) -> tuple[State, H | None]:
    """Look at the index as it is; None when its vectors cannot be compared with the request's."""
    try:
        with entry.lock:
            return entry.state, look(entry.index, request)
    except EmbeddingMismatch:
        with entry.lock:
            return entry.state, None  # the memories may have been reindexed since it was read


def add_new_rows(database: Database, entry: CachedIndex, owner: str) -> None:
    """Add new rows to an index, page by page; read all rows again when records have vanished.

    `loading` is held.
    """
    after, target = 0, None
    while True:
        known = entry.state
        state, model, page = _read_page(database, owner, known.revision, after)
        if state.generation != known.generation:
            first, after, target = after, 0, None
            is_read = snapshots.begin(database, entry, owner, state)
            if known.revision or first or is_read:
                continue  # the page is not of all rows, or of too many
        target = state.revision if target is None else target
        is_last = len(page) < _PAGE_ROWS
        with entry.lock:
            entry.apply(page, model)
            if is_last:
                entry.state = State(0, state.generation, target)
        if entry.damaged or any(row.vector is None for row in page):
            database.on_unembedded()
        if is_last:
            return
        after = page[-1].seq


def _forget_vectors(database: Database, owner: str, seqs: Sequence[int]) -> None:
    """Remove the damaged vectors of memories, which then are fetched anew, and report it."""
    scope = rows.scope_key(database.agent_id, owner)
    database.report(damaged(database.location, len(seqs)))
    if database.is_read_only:
        return
    database.run(lambda tx: forget(tx, scope, seqs), (scope,), is_quick=True)


def _fetch(
    database: Database, owner: str, seqs: list[int], request: RecallRequest
) -> tuple[State, Model | None, dict[int, Record]]:
    """Return the owner's state, the model of the vectors, and visible memories by their numbers."""
    columns, scope = f"r.seq, {rows.RECORD_COLUMNS}", rows.scope_key(database.agent_id, owner)
    hits = _HITS if request.include_superseded else f"{_HITS} AND r.superseded_by IS NULL"
    values = [seqs, scope, request.now]
    state, model, found = _read_with_state(database, owner, columns, hits, values)
    return state, model, {seq: from_cells(cells) for seq, *cells in found}


def _read_page(
    database: Database, owner: str, revision: int, after: int
) -> tuple[State, Model | None, Sequence[IndexRow]]:
    """Return the owner's state, the model of the vectors, and memories written after a revision.

    Only those from a number on.
    """
    bounds = [revision, after, _PAGE_ROWS]
    state, model, found = _read_with_state(database, owner, "x.*", _NEW_ROWS, bounds)
    return state, model, list(map(rows.to_index_row, found))


def _read_with_state(
    database: Database, owner: str, columns: str, joined: str, parameters: Sequence[Any]
) -> tuple[State, Model | None, Rows]:
    """Return the owner's state, the model of the vectors, and the joined rows, in one statement.

    The first of the columns is the number of a record.
    """
    scope, agent_id = rows.scope_key(database.agent_id, owner), database.agent_id
    found = database.read(
        f"SELECT s.generation, s.revision, m.model, m.width, {columns} FROM (SELECT 1) AS one "
        "LEFT JOIN langchain_kronvex.scopes AS s "
        "ON s.scope = %s AND s.agent_id = %s AND s.owner = %s "
        "LEFT JOIN langchain_kronvex.models AS m ON m.agent_id = %s AND NOT m.upcoming " + joined,
        [scope, agent_id, owner, agent_id, *parameters],
        (scope,),
    )
    generation, revision, model, width, *_ = found[0]
    state = State(0, generation or 0, revision or 0)
    return state, model and (model, width), [row[4:] for row in found if row[4] is not None]
