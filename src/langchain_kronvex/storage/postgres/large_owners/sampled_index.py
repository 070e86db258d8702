"""Indexes of a part of an owner's memories: pieces of conversations, and what all have in common.

An owner with very many memories is searched among the likely ones alone, read from the store for
each question. What relevance asks of all memories (how many hold a word, how long they are, who
speaks) is estimated from a sample of pieces, or counted by the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.bm25 import matching_dates
from langchain_kronvex.recall.index import IndexRow, ScopeIndex
from langchain_kronvex.recall.neighbours import Tail
from langchain_kronvex.recall.ranking import SESSION_GAP_SECONDS, Floats


@dataclass(frozen=True, slots=True)
class Piece:
    """Memories of one session without a gap between them, oldest first.

    Attributes:
        rows: The memories.
        opens: No turn stands before the first of them.
    """

    rows: list[IndexRow]
    opens: bool


class Counted(NamedTuple):
    """How many memories a store has found for a term: of all, and of those that were read."""

    everywhere: int
    here: int


class PiecesIndex(ScopeIndex):
    """The memories of some pieces, each joined with its neighbours inside the piece alone."""

    whole: ClassVar[bool] = False

    def __init__(self, pieces: Iterable[Piece]) -> None:
        super().__init__()
        self._opens: dict[int, bool] = {}
        rows: list[IndexRow] = []
        known: set[int] = set()
        for piece in pieces:
            fresh = [row for row in piece.rows if row.seq not in known]
            if fresh:
                known.update(row.seq for row in fresh)
                self._opens[fresh[0].seq] = piece.opens
                rows += fresh
        self.apply(rows)

    def _tail_before(self, row: IndexRow, session: int) -> Tail:
        opens = self._opens.get(row.seq)
        if opens is None:
            return super()._tail_before(row, session)
        before = self._tails.get(session)
        if before is not None and 0 <= row.said - before.said <= SESSION_GAP_SECONDS:
            conversation = before.conversation
        else:
            conversation = self.conversations
            self.conversations += 1
        # Somebody who is not here has spoken before, but lends nothing.
        tail = self._tails[session] = Tail(conversation, [] if opens else [-1])
        tail.said = row.said
        return tail


class Sample(PiecesIndex):
    """Pieces drawn at random, from which to tell what holds for all memories of the owner.

    Args:
        pieces: Drawn at random.
        population: How many memories the owner has.
    """

    def __init__(self, pieces: Iterable[Piece], population: int) -> None:
        super().__init__(pieces)
        self._population = max(population, len(self))

    @property
    def population(self) -> int:
        """How many memories the owner has."""
        return self._population

    @property
    def one_in(self) -> float:
        """For how many memories each of the sample stands."""
        return self._population / max(len(self), 1)

    def share(self, term: str) -> float:
        """Return the share of the memories that hold a term; small for one that was not seen."""
        found = self.postings.holding(term) + self.replies.holding(term)
        return (found + _UNSEEN) / (len(self) + 1)


_UNSEEN = 0.3  # what counts as seen of a term that the sample does not hold


class CandidateIndex(PiecesIndex):
    """The likely memories, searched as if all of the owner's were here.

    Args:
        pieces: The likely memories and their neighbours.
        sample: Of all memories.
        counted: By term, where the store has counted.
    """

    def __init__(
        self, pieces: Iterable[Piece], sample: Sample, counted: Mapping[str, Counted]
    ) -> None:
        self._sample, self._counted = sample, counted
        super().__init__(pieces)
        self._count_openers(sample)

    def _count_openers(self, sample: Sample) -> None:
        """Take from the sample how many memories open with which words, and what of these."""
        there = [
            (code, theirs)
            for term, code in self._opener_codes.items()
            if (theirs := sample.opener(term)) >= 0
        ]
        if there:
            codes, theirs = np.array(there).T
            for column in ("count", "sum"):
                self.openers[column][codes] = sample.openers[column][theirs] * np.float32(
                    sample.one_in
                )

    @property
    def population(self) -> int:
        """How many memories the owner has."""
        return max(self._sample.population, len(self))

    def holding(self, term: str) -> int:
        """Return about how many memories of the owner hold a term."""
        return self._estimated(term, self._sample.holding(term), self.postings.holding(term))

    def replying(self, term: str) -> int:
        """Return about how many replies of the owner's exchanges hold a term."""
        return self._estimated(term, self._sample.replying(term), self.replies.holding(term))

    def _estimated(self, term: str, sampled: int, here: int) -> int:
        counted = self._counted.get(term)
        if counted is None:
            return max(round(sampled * self._sample.one_in), here)
        # The store may have counted in words that are a little different.
        share = min(here / counted.here, 1.0) if counted.here else 1.0
        return max(round(counted.everywhere * share), here)

    def dated(self, term: str, same: NDArray[np.bool_]) -> float:
        """Return the share of the owner's memories whose date a term names."""
        sampled = matching_dates(self._sample.table, term)
        return super().dated(term, same if sampled is None else sampled)

    @property
    def centre(self) -> Floats:
        """The mean of the owner's vectors."""
        return self._sample.centre

    @property
    def average_length(self) -> float:
        """The mean of `length`."""
        return self._sample.average_length

    @property
    def average_reply(self) -> float:
        """The mean number of terms of a reply."""
        return self._sample.average_reply

    @property
    def average_neighbours(self) -> float:
        """From how many others a memory borrows words, on average."""
        return self._sample.average_neighbours

    @property
    def context(self) -> float:
        """How embedded the turns are."""
        return self._sample.context
