"""One owner's memories in RAM: words, neighbours, dates and vectors, as arrays.

The index holds no text. Every write appends to it; none rebuilds it, and only a deletion makes
its keeper throw it away. `search.py` asks it; how features are weighed stands in `ranking.py`.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.columns import Column, Table
from langchain_kronvex.features import TextFeatures, text_features
from langchain_kronvex.lexical import date_of
from langchain_kronvex.ranking import (
    AFTER,
    BEFORE,
    MEANING_AFTER,
    MEANING_BEFORE,
    PRIORS,
    SESSION_GAP_SECONDS,
    SHORT_WORDS,
    Floats,
    Form,
)

_NEAR = len(BEFORE) + len(AFTER)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the index needs to know of a memory. Times in seconds since 1970, UTC.

    `text` is what the memory is found by; it never changes for one `seq`.
    """

    seq: int
    text: str
    memory_type: str
    form: Form
    session_id: str
    created: float
    expires: float
    vector: Floats | None


class Posting:
    """The places of the memories that hold one term, and how often; appended to only."""

    __slots__ = ("counts", "places")

    def __init__(self) -> None:
        self.places = array("i")
        self.counts = array("f")


class ScopeIndex:
    """The memories of one owner. Not safe for threads: its keeper holds a lock.

    A place is a memory's position in every array; later places were written later. Columns:

    - near: who borrows words from this turn: the turns 1, 2, 3 after it and 1, 2 before it.
    - own, length: its number of terms, and the same with what it borrows.
    - priors: see `ranking.PRIORS`.
    """

    def __init__(self) -> None:
        self.table = Table(
            {
                "seq": Column(np.int64),
                "created": Column(np.float64),
                "expires": Column(np.float64),
                "year": Column(np.int16),
                "month": Column(np.int8),
                "day": Column(np.int8),
                "type": Column(np.int32),
                "form": Column(np.int8),
                "session": Column(np.int32),
                "conversation": Column(np.int32, fill=-1),
                "opener": Column(np.int32),
                "short": Column(np.bool_),
                "near": Column(np.int32, _NEAR, fill=-1),
                "own": Column(np.float32),
                "length": Column(np.float32),
                "priors": Column(np.float32, len(PRIORS)),
                "norm": Column(np.float32),
            }
        )
        self.postings: dict[str, Posting] = {}
        self.openers = Table({"count": Column(np.float32), "sum": Column(np.float32, len(PRIORS))})
        self.conversations = 0
        self._vectors: Column | None = None
        self._place_of: dict[int, int] = {}
        self._codes: dict[str, int] = {}
        self._opener_codes: dict[str, int] = {}
        self._tails: dict[int, list[int]] = {}  # the last turns of the running conversation
        self._entries = 0
        self._stale_norms: set[int] = set()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """About how many bytes the index takes."""
        vectors = self._vectors.nbytes if self._vectors else 0
        lists = 12 * self._entries + 400 * len(self.postings) + 120 * len(self)
        return self.table.nbytes + vectors + lists

    def code(self, name: str) -> int:
        """Return the number that stands for a session or type; -1 for one never seen."""
        return self._codes.get(name, -1)

    def opener(self, term: str) -> int:
        """Return the number that stands for an opening word; -1 for one never seen."""
        return self._opener_codes.get(term, -1)

    @property
    def vectors(self) -> NDArray[np.float32] | None:
        """Unit vectors by place, zeros where there is none yet; None when there is none at all."""
        if self._vectors is None:
            return None
        self._vectors.grow(len(self))
        return self._vectors.values

    # -- writing -------------------------------------------------------------------------------

    def apply(self, rows: Iterable[IndexRow]) -> None:
        """Take in new and changed memories, in the order in which they were written."""
        fresh = [row for row in rows if not self._patched(row)]
        for row, features in zip(fresh, text_features([row.text for row in fresh]), strict=True):
            self._append(row, features)

    def _patched(self, row: IndexRow) -> bool:
        place = self._place_of.get(row.seq)
        if place is None:
            return False
        self.table.put(place, **self._plain_cells(row))
        self._put_vector(place, row.vector)
        return True

    def _plain_cells(self, row: IndexRow) -> dict[str, object]:
        year, month, day = date_of(row.created)
        return {
            "created": row.created,
            "expires": row.expires,
            "year": year,
            "month": month,
            "day": day,
            "type": self._codes.setdefault("type " + row.memory_type, len(self._codes)),
            "form": row.form,
        }

    def _append(self, row: IndexRow, features: TextFeatures) -> None:
        session = self._codes.setdefault("session " + row.session_id, len(self._codes))
        own = features.terms.total()
        place = self.table.append(
            seq=row.seq,
            session=session,
            opener=self._opener_codes.setdefault(features.opener, len(self._opener_codes)),
            short=features.word_count <= SHORT_WORDS,
            own=own,
            length=own,
            **self._plain_cells(row),
        )
        self._place_of[row.seq] = place
        for term, count in features.terms.items():
            posting = self.postings.get(term)
            if posting is None:
                posting = self.postings[term] = Posting()
            posting.places.append(place)
            posting.counts.append(count)
        self._entries += len(features.terms)
        if row.form is Form.TURN:
            self._join_conversation(place, session, features)
        self._put_vector(place, row.vector)

    def _join_conversation(self, place: int, session: int, features: TextFeatures) -> None:
        table = self.table
        tail = self._tails.get(session, [])
        created = table["created"]
        if tail and abs(created[place] - created[tail[-1]]) > SESSION_GAP_SECONDS:
            tail = []
        answers = bool(tail) and bool(table["priors"][tail[-1], PRIORS.index("question")])
        conversation = table["conversation"][tail[-1]] if tail else self.conversations
        self.conversations += not tail
        priors = (answers, features.asks, not tail, features.personal, features.timed)
        table.put(place, conversation=conversation, priors=priors)
        self._count_opener(int(table["opener"][place]), priors)
        if table["short"][place]:
            for distance, other in enumerate(reversed(tail)):
                if table["short"][other]:
                    self._link(other, place, distance)
        self._tails[session] = [*tail, place][-len(BEFORE) :]

    def _link(self, earlier: int, later: int, distance: int) -> None:
        near, own, length = self.table["near"], self.table["own"], self.table["length"]
        near[earlier, distance] = later
        length[later] += BEFORE[distance] * own[earlier]
        if distance < len(AFTER):
            near[later, len(BEFORE) + distance] = earlier
            length[earlier] += AFTER[distance] * own[later]

    def _count_opener(self, opener: int, priors: tuple[bool, ...]) -> None:
        while len(self.openers) <= opener:
            self.openers.append()
        self.openers["count"][opener] += 1
        self.openers["sum"][opener] += priors

    # -- vectors -------------------------------------------------------------------------------

    def _put_vector(self, place: int, vector: Floats | None) -> None:
        if vector is None:
            return
        if self._vectors is None:
            self._vectors = Column(np.float32, len(vector))
        self._vectors.grow(len(self))
        self._vectors.values[place] = vector
        self._stale_norms.update([place, *self._neighbours(place)])

    def _neighbours(self, place: int) -> list[int]:
        return [int(other) for other in self.table["near"][place] if other >= 0]

    def windowed(self, own: Floats) -> Floats:
        """Return each memory's own cosines joined with its neighbours', scaled to a unit vector."""
        self._renew_norms()
        near = self.table["near"]
        joined = own.copy()
        padded = np.append(own, np.float32(0))  # place -1, nobody, adds nothing
        for column, weight in _MEANING_WINDOW:
            joined += weight * padded[near[:, column]]
        norm = self.table["norm"]
        return (joined / np.where(norm > 0, norm, 1)).astype(np.float32, copy=False)

    def _renew_norms(self) -> None:
        vectors = self.vectors
        if vectors is None or not self._stale_norms:
            return
        places = np.fromiter(self._stale_norms, np.int64)
        self._stale_norms.clear()
        near = self.table["near"][places]
        joined = vectors[places].copy()
        for column, weight in _MEANING_WINDOW:
            there = near[:, column] >= 0
            joined[there] += weight * vectors[near[there, column]]
        self.table["norm"][places] = np.linalg.norm(joined, axis=1)


# Columns of `near` whose vectors a turn takes in, with their weights.
_MEANING_WINDOW = [
    *((len(BEFORE) + n, weight) for n, weight in enumerate(MEANING_BEFORE)),
    *enumerate(MEANING_AFTER),
]
