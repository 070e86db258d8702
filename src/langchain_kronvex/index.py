"""One owner's memories in RAM: words, neighbours, dates and vectors, as arrays.

The index holds no text. Every write appends to it; none rebuilds it, and only a deletion makes
its keeper throw it away. `search.py` asks it; how features are weighed stands in `ranking.py`.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.columns import Column, Table
from langchain_kronvex.features import TextFeatures, text_features
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

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NEAR = len(BEFORE) + len(AFTER)
Cells = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the index needs to know of a memory. Times in seconds since 1970, UTC.

    `text` is what the memory is found by and `said` when it was first said; neither changes for
    one `seq`, and with them stand its neighbours. `created` is when it was last said.
    """

    seq: int
    text: str
    memory_type: str
    form: Form
    session_id: str
    said: float
    created: int
    expires: float
    vector: Floats | None


class Posting:
    """The places of the memories that hold one term, and how often; appended to only."""

    __slots__ = ("counts", "places")

    def __init__(self) -> None:
        self.places = array("i")
        self.counts = array("f")


@dataclass(slots=True)
class _Tail:
    """The end of a session's running conversation.

    Attributes:
        conversation: Its number.
        turns: Places of the last turns; -1 for one too long to lend its words.
        asks: The last turn asks a question.
        said: When the last turn was said.
    """

    conversation: int
    turns: list[int] = field(default_factory=list)
    asks: bool = False
    said: float = 0.0


@dataclass(frozen=True, slots=True)
class _Order:
    """All turns sorted by conversation: their places, where each conversation starts among them,
    and the conversation of each.
    """

    places: NDArray[np.intp]
    starts: NDArray[np.intp]
    conversation: NDArray[np.int32]


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
        self._tails: dict[int, _Tail] = {}
        self._order: _Order | None = None
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
        fresh: list[IndexRow] = []
        for row in rows:
            place = self._place_of.get(row.seq)
            if place is None:
                fresh.append(row)
            else:
                self._put_cells(slice(place, place + 1), [row])
                self._put_vector(place, row.vector)
        if fresh:
            self._append(fresh, text_features([row.text for row in fresh]))

    def _put_cells(self, places: slice, rows: Sequence[IndexRow]) -> None:
        """Write what may change in the life of a memory."""
        table = self.table
        table["expires"][places] = [row.expires for row in rows]
        table["form"][places] = [row.form for row in rows]
        table["type"][places] = [self._coded("type " + row.memory_type) for row in rows]
        dates = [_EPOCH + timedelta(seconds=row.created) for row in rows]
        table["year"][places] = [date.year for date in dates]
        table["month"][places] = [date.month for date in dates]
        table["day"][places] = [date.day for date in dates]

    def _coded(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def _append(self, rows: Sequence[IndexRow], features: Sequence[TextFeatures]) -> None:
        table = self.table
        places = table.extend(len(rows))
        self._put_cells(places, rows)
        table["seq"][places] = [row.seq for row in rows]
        table["session"][places] = [self._coded("session " + row.session_id) for row in rows]
        openers = [
            self._opener_codes.setdefault(f.opener, len(self._opener_codes)) for f in features
        ]
        table["opener"][places] = openers
        self.openers.extend(len(self._opener_codes) - len(self.openers))
        table["short"][places] = [f.word_count <= SHORT_WORDS for f in features]
        table["own"][places] = table["length"][places] = [f.terms.total() for f in features]
        cells = table.views()
        for place, (row, found) in enumerate(zip(rows, features, strict=True), places.start):
            self._place_of[row.seq] = place
            self._post(place, found)
            if row.form is Form.TURN:
                self._join_conversation(cells, place, row.said, found)
            self._put_vector(place, row.vector)

    def _post(self, place: int, features: TextFeatures) -> None:
        postings = self.postings
        for term, count in features.terms.items():
            posting = postings.get(term)
            if posting is None:
                posting = postings[term] = Posting()
            posting.places.append(place)
            posting.counts.append(count)
        self._entries += len(features.terms)

    def _join_conversation(
        self, cells: Cells, place: int, said: float, features: TextFeatures
    ) -> None:
        session = int(cells["session"][place])
        tail = self._tails.get(session)
        if tail is None or abs(said - tail.said) > SESSION_GAP_SECONDS:
            tail = self._tails[session] = _Tail(self.conversations)
            self.conversations += 1
        priors = (tail.asks, features.asks, not tail.turns, features.personal, features.timed)
        cells["conversation"][place] = tail.conversation
        cells["priors"][place] = priors
        opener = cells["opener"][place]
        self.openers["count"][opener] += 1
        self.openers["sum"][opener] += priors
        short = features.word_count <= SHORT_WORDS
        for distance, other in enumerate(reversed(tail.turns)):
            if short and other >= 0:
                _link(cells, other, place, distance)
        tail.turns = [*tail.turns, place if short else -1][-len(BEFORE) :]
        tail.asks, tail.said = features.asks, said
        self._order = None

    def conversation_order(self) -> _Order:
        """Return the turns conversation by conversation; made anew only after a turn was added."""
        if self._order is None:
            conversation = self.table["conversation"]
            turns = np.flatnonzero(conversation >= 0)
            places = turns[np.argsort(conversation[turns], kind="stable")]
            starts = np.searchsorted(conversation[places], np.arange(self.conversations))
            self._order = _Order(places, starts, conversation[places])
        return self._order

    # -- vectors -------------------------------------------------------------------------------

    def _put_vector(self, place: int, vector: Floats | None) -> None:
        if vector is None:
            if self._vectors is not None:  # then its neighbours may have some
                self._stale_norms.add(place)
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


def _link(cells: Cells, earlier: int, later: int, distance: int) -> None:
    """Let two turns of a conversation borrow each other's words."""
    near, own, length = cells["near"], cells["own"], cells["length"]
    near[earlier, distance] = later
    length[later] += BEFORE[distance] * own[earlier]
    if distance < len(AFTER):
        near[later, len(BEFORE) + distance] = earlier
        length[earlier] += AFTER[distance] * own[later]
