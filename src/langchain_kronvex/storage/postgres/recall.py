"""Recall on PostgreSQL: an owner's index in RAM, checked by the statement that fetches the result.

The index is searched first, as it is. The one statement that then fetches the chosen records also
returns the state of the owner's records. When others have written meanwhile, their writes are
added to the index and the search is repeated. So a worker sees the writes of all others at its
next recall, at the cost of one round trip.
"""

from __future__ import annotations

from collections.abc import Callable

from langchain_kronvex.core.errors import EmbeddingMismatch, StoreBusy
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits, search
from langchain_kronvex.storage.backend import Match
from langchain_kronvex.storage.indexes import CachedIndex, IndexCache, matches_of, recall_owners
from langchain_kronvex.storage.model_check import check_request, refuse
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.reading import (
    Found,
    State,
    find_numbers,
    index_page,
)

_PAGE_ROWS = 2000
_ROUNDS = 50  # of adding what others write meanwhile, before a recall gives up


def recall(
    database: Database,
    cache: IndexCache,
    request: RecallRequest,
    on_unembedded: Callable[[], None],
) -> list[Match]:
    """Return the best matches, most similar first.

    Args:
        database: The store.
        cache: The indexes.
        request: What to recall.
        on_unembedded: Called when an index takes in memories without a vector.
    """
    return recall_owners(request, lambda each: _recall_owner(database, cache, each, on_unembedded))


def _recall_owner(
    database: Database,
    cache: IndexCache,
    request: RecallRequest,
    on_unembedded: Callable[[], None],
) -> list[Match]:
    owner = request.scope.owner
    entry = cache.entry(owner)
    asked_at: State | None = None
    for _ in range(_ROUNDS):
        state, hits = _search(entry, request)
        seqs = hits.seqs if hits else []
        found = database.read(find_numbers, owner, seqs, request.now)
        asked_at = asked_at or found.state
        if found.state == state or _is_recent(state, hits, found, asked_at):
            check_request(database.location, found.model, request)
            if hits is None:
                width = 0 if request.vector is None else len(request.vector)
                refuse(database.location, found.model, request.model or "", width)
            return matches_of(hits, found.records)
        with entry.loading:
            known = State(*entry.state[1:])
            if known.generation != found.state.generation or known.revision < found.state.revision:
                _add_new_rows(database, entry, owner, on_unembedded)
        cache.shrink(owner)
    raise StoreBusy(f"{database.location}: other workers write faster than this one can read.")


def _add_new_rows(
    database: Database, entry: CachedIndex, owner: str, on_unembedded: Callable[[], None]
) -> None:
    """Add the rows written since, page by page; all rows anew when records vanished."""
    after, target = 0, None
    while True:
        generation, revision = entry.state[1:]
        page = database.read(index_page, owner, revision, after, _PAGE_ROWS)
        if page.state.generation != generation:
            first, after, target = after, 0, None
            with entry.lock:
                entry.index = ScopeIndex()
                entry.state = (0, page.state.generation, 0)
            if revision or first:
                continue  # the page is not of all rows
        target = page.state.revision if target is None else target
        with entry.lock:
            entry.index.apply(page.rows)
        if any(row.vector is None for row in page.rows):
            on_unembedded()
        if len(page.rows) < _PAGE_ROWS:
            with entry.lock:
                entry.state = (0, page.state.generation, target)
            return
        after = page.rows[-1].seq


def _search(entry: CachedIndex, request: RecallRequest) -> tuple[State, Hits | None]:
    """Search the index as it is; None when its vectors cannot be compared with the request's."""
    with entry.lock:
        state = State(*entry.state[1:])
        try:
            return state, search(entry.index, request)
        except EmbeddingMismatch:
            return state, None  # the memories may have been reindexed since it was read


def _is_recent(state: State, hits: Hits | None, found: Found, asked_at: State) -> bool:
    """Return whether a search saw everything written before the recall began.

    Later writes are for the next recall, unless they replaced or erased a hit.
    """
    seen = state.generation == found.state.generation and state.revision >= asked_at.revision
    return seen and hits is not None and len(found.records) == len(hits.seqs)
