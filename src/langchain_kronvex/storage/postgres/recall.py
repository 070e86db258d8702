"""Recall on PostgreSQL: an owner's index in RAM, checked by the statement that fetches the result.

The index is searched first, as it is. The one statement that then fetches the chosen records also
returns the state of the owner's records. When others have written meanwhile, their writes are
added to the index and the search is repeated. So a worker sees the writes of all others at its
next recall, at the cost of one round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest
from typing import NoReturn

from langchain_kronvex.core.errors import EmbeddingMismatch, StoreBusy
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits, search
from langchain_kronvex.storage.backend import Match
from langchain_kronvex.storage.index_cache import CachedIndex, IndexCache
from langchain_kronvex.storage.model_check import fits, refuse
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.reading import (
    Found,
    IndexPage,
    State,
    find_numbers,
    index_page,
)
from langchain_kronvex.storage.postgres.row_level_security import reach_of

_PAGE_ROWS = 2000
_ROUNDS = 50  # of adding what others write meanwhile, before a recall gives up


class Recaller:
    """Answers requests for one agent.

    Args:
        database: The records.
        cache: The indexes of their owners.

    Attributes:
        on_unembedded: Called when the index takes in memories without a vector.
    """

    def __init__(self, database: Database, cache: IndexCache) -> None:
        self.on_unembedded: Callable[[], None] = lambda: None
        self._db, self._cache = database, cache

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`."""
        requests = request.by_owner()
        matches = [match for each in requests for match in self._recall(each)]
        if len(requests) == 1:
            return matches
        return nlargest(request.top_k, matches, key=lambda match: match.similarity)

    def _recall(self, request: RecallRequest) -> list[Match]:
        entry = self._cache.entry(request.scope.owner)
        asked_at: State | None = None
        for _ in range(_ROUNDS):
            state, hits = _search(entry, request)
            found = self._found(request, hits)
            asked_at = asked_at or found.state
            if found.state == state or _is_recent(state, hits, found, asked_at):
                self._check_model(found, request)
                if hits is not None:
                    return _matches(hits, found)
                self._refuse(found, request)
            self._bring_up_to_date(entry, request, found.state)
        raise StoreBusy(f"{self._db.location}: other workers write faster than this one can read.")

    def _found(self, request: RecallRequest, hits: Hits | None) -> Found:
        seqs = hits.seqs if hits else ()
        return self._db.run(
            lambda tx: find_numbers(tx, request.scope.owner, seqs, request.now),
            reach_of(self._db.agent_id, [request.scope]),
            reads_once=True,
        )

    def _check_model(self, found: Found, request: RecallRequest) -> None:
        """Refuse a request whose vector cannot be compared with those of the memories."""
        if request.vector is None or request.model is None or found.model is None:
            return
        if not fits(found.model, request.model, len(request.vector)):
            self._refuse(found, request)

    def _refuse(self, found: Found, request: RecallRequest) -> NoReturn:
        width = 0 if request.vector is None else len(request.vector)
        refuse(self._db.location, found.model, request.model or "", width)

    def _bring_up_to_date(self, entry: CachedIndex, request: RecallRequest, wanted: State) -> None:
        entry.loading.enter()
        try:
            known = State(*entry.state[1:])
            if known.generation != wanted.generation or known.revision < wanted.revision:
                self._add_new_rows(entry, request)
        finally:
            entry.loading.leave()
        self._cache.shrink(request.scope.owner)

    def _add_new_rows(self, entry: CachedIndex, request: RecallRequest) -> None:
        """Add the rows written since, page by page; all rows anew when records vanished."""
        after, target = 0, None
        while True:
            generation, revision = entry.state[1:]
            page = self._page(request, revision, after)
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
                self.on_unembedded()
            if len(page.rows) < _PAGE_ROWS:
                with entry.lock:
                    entry.state = (0, page.state.generation, target)
                return
            after = page.rows[-1].seq

    def _page(self, request: RecallRequest, revision: int, after: int) -> IndexPage:
        return self._db.run(
            lambda tx: index_page(tx, request.scope.owner, revision, after, _PAGE_ROWS),
            reach_of(self._db.agent_id, [request.scope]),
            reads_once=True,
        )


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


def _matches(hits: Hits, found: Found) -> list[Match]:
    scored = zip(hits.seqs, hits.similarity, hits.probability, strict=True)
    return [
        Match(found.records[seq], similarity, probability)
        for seq, similarity, probability in scored
        if seq in found.records
    ]
