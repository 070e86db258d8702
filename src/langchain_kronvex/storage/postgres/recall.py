"""Recall on PostgreSQL: an owner's index in RAM, checked by the statement that fetches the result.

The index is searched first, as it is. The one statement that then fetches the chosen records also
tells how far the owner's records have come; when others have written meanwhile, what they wrote is
taken in and the search is repeated. So a worker sees the writes of all others at its next recall,
and pays one round trip for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import nlargest
from typing import TypeVar

from langchain_kronvex.core.effects import Plan, arun, call, run
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
from langchain_kronvex.storage.postgres.large_owners.search import HugeOwners
from langchain_kronvex.storage.postgres.reading import Found, IndexPage, State
from langchain_kronvex.storage.postgres.statements import Job

T = TypeVar("T")
_LOAD_ROWS = 2000
_FEW_ROWS = 20  # that are indexed within the event loop, likewise
_ROUNDS = 50  # of taking in what others write meanwhile, before a recall gives up
_SHORT_SEARCH = (
    20_000  # memories searched within the event loop, in a millisecond; a thread costs more
)


@dataclass(frozen=True, slots=True)
class _Worker:
    """Does what keeps a processor busy: in this thread, or beside the event loop."""

    beside_loop: bool

    def do(self, work: Callable[[], T]) -> T:
        """Return what the work returns."""
        return work()

    async def ado(self, work: Callable[[], T]) -> T:
        """Twin of `do`."""
        return await asyncio.to_thread(work) if self.beside_loop else work()


class PostgresRecall(MemoryBackend):
    """The verb of a PostgreSQL backend that finds."""

    _db: Database
    _agent_id: str
    _cache: IndexCache
    _huge: HugeOwners
    _tell_of_unembedded: Callable[[], None]

    def make_indexes(self, owner: str, timeout_seconds: float) -> bool:
        """Have the indexes of a huge owner made now, and wait; tell whether all are there."""
        return self._huge.make_indexes(owner, timeout_seconds)

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`."""
        return run(self._recall(request))

    async def arecall(self, request: RecallRequest) -> list[Match]:
        """Twin of `recall`."""
        return await arun(self._recall(request))

    def _recall(self, asked: RecallRequest) -> Plan[list[Match]]:
        matches = yield from self._of_owner(asked.scope.owner, asked)
        if asked.include_shared and asked.scope:
            shared = yield from self._of_owner("", asked)
            return nlargest(asked.top_k, [*matches, *shared], key=lambda match: match.similarity)
        return matches

    def _of_owner(self, owner: str, asked: RecallRequest) -> Plan[list[Match]]:
        question = replace(asked, scope=asked.scope if owner else Scope())
        if self._huge.knows(owner):
            matches = yield from self._of_huge(owner, asked, question)
            if matches is not None:
                return matches
        entry = self._cache.entry(owner)
        asked_at: State | None = None
        for _ in range(_ROUNDS):
            worker = _Worker(len(entry.index) > _SHORT_SEARCH)
            state, answer = yield call(worker, "do", lambda: _searched(entry, question))
            found: Found = yield call(self._db, "run", self._matching(owner, answer, asked))
            if self._huge.may_be(owner, found.memories):
                matches = yield from self._of_huge(owner, asked, question)
                if matches is not None:
                    self._cache.drop(owner)
                    return matches
            asked_at = asked_at or found.state
            if found.state == state or _is_recent(state, answer, found, asked_at):
                self._check_model(found, asked)
                if answer is not None:
                    return _matches(answer, found)
                refuse(self.location, found.model, asked.model or "", len(asked.vector or ()))
            yield from self._bring_up_to_date(entry, owner, found.state)
        raise StoreBusy(f"{self.location}: other workers write faster than this one can read.")

    def _of_huge(
        self, owner: str, asked: RecallRequest, question: RecallRequest
    ) -> Plan[list[Match] | None]:
        """Search an owner in the database; None when that is to be done in RAM."""
        for _ in range(_ROUNDS):
            told = yield from self._huge.answer(owner, asked, question, _Worker(beside_loop=True))
            if told is None:
                return None
            state, answer = told
            found: Found = yield call(self._db, "run", self._matching(owner, answer, asked))
            if found.state.generation == state.generation:
                self._check_model(found, asked)
                if answer is not None:
                    return _matches(answer, found)
        raise StoreBusy(f"{self.location}: other workers erase faster than this one can read.")

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

    def _bring_up_to_date(self, entry: CachedIndex, owner: str, wanted: State) -> Plan[None]:
        yield call(entry.loading, "enter")
        try:
            known = State(*entry.state[1:])
            if known.generation != wanted.generation or known.revision < wanted.revision:
                yield from self._take_in(entry, owner)
        finally:
            entry.loading.leave()
        self._cache.shrink(owner)

    def _take_in(self, entry: CachedIndex, owner: str) -> Plan[None]:
        """Add what was written since, some rows at a time; all anew when records vanished."""
        after, target = 0, None
        while True:
            generation, revision = entry.state[1:]
            page: IndexPage = yield call(self._db, "run", self._page(owner, revision, after))
            if page.state.generation != generation:
                first, after, target = after, 0, None
                with entry.lock:
                    entry.index = ScopeIndex()
                    entry.state = (0, page.state.generation, 0)
                if revision or first:
                    continue  # not all of them were asked for
            target = page.state.revision if target is None else target
            worker = _Worker(len(page.rows) > _FEW_ROWS)
            yield call(worker, "do", lambda page=page: _apply(entry, page))
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


def _apply(entry: CachedIndex, page: IndexPage) -> None:
    with entry.lock:
        entry.index.apply(page.rows)


def _matches(answer: Hits, found: Found) -> list[Match]:
    scored = zip(answer.seqs, answer.similarity, answer.probability, strict=True)
    return [
        Match(found.records[seq], similarity, probability)
        for seq, similarity, probability in scored
        if seq in found.records
    ]
