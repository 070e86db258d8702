"""Recall of huge owners on PostgreSQL: the database finds the likely memories, we weigh them.

An owner with more than `exact_up_to` memories is not read into RAM. Indexes of the owner alone
(`postgres_huge_indexes.py`) find the likely memories, which are then weighed by the same formulas
as everybody's (`search.py`), as if all were there (`parts.py`). Until the indexes are made, or when
they cannot be, the owner is searched in RAM like all others.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from dataclasses import dataclass

from langchain_kronvex.core.effects import Plan, call
from langchain_kronvex.core.errors import EmbeddingMismatch, StoreBusy
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits, search
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.large_owners import candidates as reading
from langchain_kronvex.storage.postgres.large_owners import index_sql as indexes
from langchain_kronvex.storage.postgres.large_owners.candidates import Among, Likely, Standing
from langchain_kronvex.storage.postgres.large_owners.index_builder import IndexMaker
from langchain_kronvex.storage.postgres.large_owners.sampled_index import (
    CandidateIndex,
    Piece,
    Sample,
)
from langchain_kronvex.storage.postgres.reading import State
from langchain_kronvex.storage.postgres.statements import Job

_MOST_SAMPLES = 32  # kept in RAM, of about 3 MB each
_LOOK_AGAIN_SECONDS = 5.0  # for the indexes of an owner that are being made
_ROUNDS = 50  # of drawing a sample while others erase, before a recall gives up


@dataclass(frozen=True, slots=True)
class _Known:
    """A sample of an owner, and the state of the owner when it was drawn."""

    sample: Sample
    standing: Standing


class HugeOwners:
    """The owners of one agent that are searched in the database.

    Args:
        database: Where.
        agent_id: The agent.
        exact_up_to: Owners with more memories are huge.
        maker: Makes their indexes; None when the database cannot have them.
    """

    def __init__(
        self, database: Database, agent_id: str, exact_up_to: int, maker: IndexMaker | None
    ) -> None:
        self._db, self._agent_id, self._maker = database, agent_id, maker
        self._exact_up_to = exact_up_to
        self._samples: OrderedDict[str, _Known] = OrderedDict()
        self._not_ready: dict[str, float] = {}

    def knows(self, owner: str) -> bool:
        """Tell whether an owner was last seen to be huge."""
        return owner in self._samples and not self._db.is_limited

    def may_be(self, owner: str, memories: int) -> bool:
        """Tell whether an owner is to be searched here.

        Args:
            owner: Whose memories.
            memories: About how many.
        """
        if self._maker is None or self._db.is_limited or memories <= self._exact_up_to:
            return False
        seen = self._not_ready.get(owner)
        return seen is None or time.monotonic() - seen >= _LOOK_AGAIN_SECONDS

    def drop(self, owner: str) -> None:
        """Forget an owner."""
        self._samples.pop(owner, None)
        self._not_ready.pop(owner, None)

    def answer(
        self, owner: str, asked: RecallRequest, question: RecallRequest, worker: object
    ) -> Plan[tuple[State, Hits | None] | None]:
        """Search among the likely memories.

        Returns:
            The owner's state with the answer, which is None when the vectors cannot be compared;
            None when the owner is to be searched in RAM.
        """
        among = Among(rows.scope_key(self._agent_id, owner), asked, question.scope.only_session)
        for _ in range(_ROUNDS):
            known = self._samples.get(owner)
            if known is None:
                standing: Standing = yield call(self._db, "run", self._asking(owner))
                if standing.memories <= self._exact_up_to or not reading.is_ready(standing, among):
                    self._left_to_ram(owner, standing, among)
                    return None
                known = yield from self._sampled(owner, worker)
                if known.standing.memories <= self._exact_up_to:
                    return None  # now that they were counted
            found: Likely | Standing = yield call(
                self._db, "run", self._looking(owner, among, known)
            )
            if isinstance(found, Likely):
                self._keep(owner, known)
                work = functools.partial(_weighed, found, known.sample, question)
                answer: Hits | None = yield call(worker, "do", work)
                return found.standing.state, answer
            self._samples.pop(owner, None)
        raise StoreBusy("Other workers write faster than this one can read.")

    def make_indexes(self, owner: str, timeout_seconds: float) -> bool:
        """Have the indexes of a huge owner made now, and wait; tell whether all are there."""
        standing = self._db.run(self._asking(owner))
        width = standing.model[1] if standing.model else None
        scope = rows.scope_key(self._agent_id, owner)
        is_huge = standing.memories > self._exact_up_to and not self._db.is_limited
        if self._maker is not None and is_huge:
            self._maker.wake(scope, width)
            self._maker.join(timeout_seconds)
        return set(indexes.wanted(scope, width)) <= self._db.run(self._asking(owner)).indexes

    def _keep(self, owner: str, known: _Known) -> None:
        self._samples[owner] = known
        self._samples.move_to_end(owner)
        while len(self._samples) > _MOST_SAMPLES:
            self._samples.popitem(last=False)

    def _left_to_ram(self, owner: str, standing: Standing, among: Among) -> None:
        if standing.memories > self._exact_up_to and self._maker is not None:
            self._not_ready[owner] = time.monotonic()
            self._maker.wake(among.scope, standing.model[1] if standing.model else None)

    def _asking(self, owner: str) -> Job[Standing]:
        reach = rows.reach(self._agent_id, owner)
        return Job(
            lambda: reading.asking(self._agent_id, owner), reach, reads_once=True, is_quick=True
        )

    def _looking(self, owner: str, among: Among, known: _Known) -> Job[Likely | Standing]:
        return Job(
            lambda: reading.looking(self._agent_id, owner, among, known.sample, known.standing),
            rows.reach(self._agent_id, owner),
            is_quick=True,
        )

    def _sampled(self, owner: str, worker: object) -> Plan[_Known]:
        job = Job(
            lambda: reading.sampling(self._agent_id, owner), rows.reach(self._agent_id, owner)
        )
        standing: Standing
        pieces: list[Piece]
        standing, pieces = yield call(self._db, "run", job)
        sample: Sample = yield call(worker, "do", lambda: Sample(pieces, standing.memories))
        return _Known(sample, standing)


def _weighed(likely: Likely, sample: Sample, question: RecallRequest) -> Hits | None:
    try:
        return search(CandidateIndex(likely.pieces, sample, likely.counted), question)
    except EmbeddingMismatch:
        return None  # the memories are being reindexed
