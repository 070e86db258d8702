"""Recall on PostgreSQL: an owner's index in RAM, checked by the statement that fetches the result.

The index is searched first, as it is. The one statement that then fetches the chosen records also
tells how far the owner's records have come; when others have written meanwhile, what they wrote is
taken in and the search is repeated. So a worker sees the writes of all others at its next recall,
and pays one round trip for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import nlargest

from langchain_kronvex.core.errors import EmbeddingMismatch, StoreBusy
from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits, search
from langchain_kronvex.storage.backend import Match, MemoryBackend
from langchain_kronvex.storage.index_cache import CachedIndex, IndexCache
from langchain_kronvex.storage.model_check import fits, refuse
from langchain_kronvex.storage.postgres import reading, rows
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.reading import Found, IndexPage, State
from langchain_kronvex.storage.postgres.statements import Job

_LOAD_ROWS = 2000
_ROUNDS = 50  # of taking in what others write meanwhile, before a recall gives up


class PostgresRecall(MemoryBackend):
    """The verb of a PostgreSQL backend that finds."""

    _db: Database
    _agent_id: str
    _cache: IndexCache
    _tell_of_unembedded: Callable[[], None]

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`."""
        return self._recall(request)

    def _recall(self, asked: RecallRequest) -> list[Match]:
        matches = self._of_owner(asked.scope.owner, asked)
        if asked.include_shared and asked.scope:
            shared = self._of_owner("", asked)
            return nlargest(asked.top_k, [*matches, *shared], key=lambda match: match.similarity)
        return matches

    def _of_owner(self, owner: str, asked: RecallRequest) -> list[Match]:
        question = replace(asked, scope=asked.scope if owner else Scope())
        entry = self._cache.entry(owner)
        asked_at: State | None = None
        for _ in range(_ROUNDS):
            state, answer = _searched(entry, question)
            found = self._db.run(self._matching(owner, answer, asked))
            asked_at = asked_at or found.state
            if found.state == state or _is_recent(state, answer, found, asked_at):
                self._check_model(found, asked)
                if answer is not None:
                    return _matches(answer, found)
                refuse(self.location, found.model, asked.model or "", len(asked.vector or ()))
            self._bring_up_to_date(entry, owner, found.state)
        raise StoreBusy(f"{self.location}: other workers write faster than this one can read.")

    def _matching(self, owner: str, answer: Hits | None, asked: RecallRequest) -> Job[Found]:
        return Job(
            lambda: reading.matching(
                self._agent_id, owner, answer.seqs if answer else (), asked.now
            ),
            rows.reach(self._agent_id, owner),
            reads_once=True,
            is_quick=True,
        )

    def _check_model(self, found: Found, asked: RecallRequest) -> None:
        """Refuse a search whose vector cannot be compared with those of the memories."""
        if asked.vector is None or asked.model is None or found.model is None:
            return
        if not fits(found.model, asked.model, len(asked.vector)):
            refuse(self.location, found.model, asked.model, len(asked.vector))

    # -- the index -----------------------------------------------------------------------------

    def _bring_up_to_date(self, entry: CachedIndex, owner: str, wanted: State) -> None:
        entry.loading.enter()
        try:
            known = State(*entry.state[1:])
            if known.generation != wanted.generation or known.revision < wanted.revision:
                self._take_in(entry, owner)
        finally:
            entry.loading.leave()
        self._cache.shrink(owner)

    def _take_in(self, entry: CachedIndex, owner: str) -> None:
        """Add what was written since, some rows at a time; all anew when records vanished."""
        after, target = 0, None
        while True:
            generation, revision = entry.state[1:]
            page = self._db.run(self._page(owner, revision, after))
            if page.state.generation != generation:
                first, after, target = after, 0, None
                with entry.lock:
                    entry.index = ScopeIndex()
                    entry.state = (0, page.state.generation, 0)
                if revision or first:
                    continue  # not all of them were asked for
            target = page.state.revision if target is None else target
            with entry.lock:
                entry.index.apply(page.rows)
            if any(row.vector is None for row in page.rows):
                self._tell_of_unembedded()
            if len(page.rows) < _LOAD_ROWS:
                with entry.lock:
                    entry.state = (0, page.state.generation, target)
                return
            after = page.rows[-1].seq

    def _page(self, owner: str, revision: int, after: int) -> Job[IndexPage]:
        return Job(
            lambda: reading.index_page(self._agent_id, owner, revision, after, _LOAD_ROWS),
            rows.reach(self._agent_id, owner),
            reads_once=True,
            is_quick=True,
        )


def _searched(entry: CachedIndex, question: RecallRequest) -> tuple[State, Hits | None]:
    """Search the index as it is; no answer when its vectors cannot be compared with the query's."""
    with entry.lock:
        state = State(*entry.state[1:])
        try:
            return state, search(entry.index, question)
        except EmbeddingMismatch:
            return state, None  # the memories may have been reindexed since it was read


def _is_recent(state: State, answer: Hits | None, found: Found, asked_at: State) -> bool:
    """Tell whether a search saw all that was written before it was asked for.

    Then what others have written since is for the next recall, unless they have replaced or
    erased what was found.
    """
    seen = state.generation == found.state.generation and state.revision >= asked_at.revision
    return seen and answer is not None and len(found.records) == len(answer.seqs)


def _matches(answer: Hits, found: Found) -> list[Match]:
    scored = zip(answer.seqs, answer.similarity, answer.probability, strict=True)
    return [
        Match(found.records[seq], similarity, probability)
        for seq, similarity, probability in scored
        if seq in found.records
    ]
