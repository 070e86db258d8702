"""One owner's memories in RAM: words, neighbours, dates and vectors, as arrays.

The index holds no text. Every write appends to it; none rebuilds it, and only a deletion makes
its keeper throw it away. `search.py` asks it; how features are weighed stands in `ranking.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.arrays import Column, Table, value_counts
from langchain_kronvex.recall.neighbours import Joined, Tail
from langchain_kronvex.recall.postings import Postings
from langchain_kronvex.recall.quantized_vectors import Meanings
from langchain_kronvex.recall.ranking import (
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
from langchain_kronvex.recall.text_features import TextFeatures, text_features
from langchain_kronvex.recall.tokenizer import terms

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NEAR = len(BEFORE) + len(AFTER)
_SCALES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What the index needs to know of a memory. Times in seconds since 1970, UTC.

    `text` is what the memory is found by and `said` when it was first said; neither changes for
    one `seq`, and with them stand its neighbours. `created` is when it was last said. `reply` is
    what else an exchange is found by; it may come later, and go on.
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
    reply: str = ""


@dataclass(frozen=True, slots=True)
class ConversationOrder:
    """Turns sorted by conversation.

    Attributes:
        places: Of the turns.
        starts: Where each conversation begins among them.
        sizes: How many turns each conversation has.
        base: For each turn a number that grows by `apart` from conversation to conversation.
    """

    places: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    base: NDArray[np.float64]
    apart: ClassVar[float] = 64.0  # more than any relevance

    @classmethod
    def of(cls, conversation: NDArray[np.int32]) -> ConversationOrder:
        """Sort what has a conversation, the rest being marked by -1."""
        turns = np.flatnonzero(conversation >= 0)
        places = turns[np.argsort(conversation[turns], kind="stable")]
        of = conversation[places]
        starts = np.flatnonzero(np.append(True, of[1:] != of[:-1])[: len(of)])
        sizes = np.diff(np.append(starts, len(of)))
        return cls(places, starts, sizes, np.repeat(cls.apart * np.arange(len(starts)), sizes))


class ScopeIndex:
    """The memories of one owner. Not safe for threads: its keeper holds a lock.

    A place is a memory's position in every array; later places were written later. Columns:

    - near: who borrows words from this turn: the turns 1, 2, 3 after it and 1, 2 before it.
    - own, length: its number of terms, and the same with what it borrows.
    - priors: see `ranking.PRIORS`.
    - scale: one over the length of its vector joined with its neighbours'.
    - reply: the number of terms of the reply to it.

    Attributes:
        forms: Those that occur, or once did.
        soonest_expiry: No memory expires before; seconds since 1970.
        whole: All memories of the owner are here.
    """

    whole: ClassVar[bool] = True

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
                "near": Column(np.int32, _NEAR, fill=-1),
                "own": Column(np.float32),
                "length": Column(np.float32),
                "priors": Column(np.float32, len(PRIORS)),
                "scale": Column(np.float32, fill=1),
                "reply": Column(np.float32),
            }
        )
        self.postings = Postings()
        self.replies = Postings()
        self.openers = Table({"count": Column(np.float32), "sum": Column(np.float32, len(PRIORS))})
        self.conversations = 0
        self._meanings: Meanings | None = None
        self._place_of: dict[int, int] = {}
        self._codes: dict[str, int] = {}
        self._opener_codes: dict[str, int] = {}
        self._tails: dict[int, Tail] = {}
        self._order: ConversationOrder | None = None
        self._stale_scales: list[NDArray[np.intp]] = []
        self.forms: set[Form] = set()
        self.soonest_expiry = math.inf
        self._links = 0
        self._total_length = 0.0
        self._replies = 0
        self._reply_lengths = 0.0

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """About how many bytes the index takes."""
        vectors = self._meanings.nbytes if self._meanings else 0
        return (
            self.table.nbytes
            + vectors
            + self.postings.nbytes
            + self.replies.nbytes
            + 100 * len(self)
        )

    def code(self, name: str) -> int:
        """Return the number that stands for a session or type; -1 for one never seen."""
        return self._codes.get(name, -1)

    def opener(self, term: str) -> int:
        """Return the number that stands for an opening word; -1 for one never seen."""
        return self._opener_codes.get(term, -1)

    # -- what a search asks of all memories of the owner ---------------------------------------

    @property
    def population(self) -> int:
        """How many memories the owner has: these, unless `whole` says that they are a part."""
        return len(self)

    def holding(self, term: str) -> int:
        """Return how many memories hold a term."""
        return self.postings.holding(term)

    def replying(self, term: str) -> int:
        """Return how many replies hold a term."""
        return self.replies.holding(term)

    def dated(self, term: str, same: NDArray[np.bool_]) -> float:
        """Return the share of memories whose date a term names; `same` marks those here."""
        del term
        return float(np.mean(same))

    @property
    def centre(self) -> Floats:
        """The mean of the vectors, when there are some."""
        return self._meanings.centre if self._meanings else np.zeros(0, np.float32)

    @property
    def average_length(self) -> float:
        """The mean of `length`, at least 1."""
        return max(self._total_length / max(len(self), 1), 1.0)

    @property
    def average_reply(self) -> float:
        """The mean number of terms of a reply, at least 1."""
        return max(self._reply_lengths / max(self._replies, 1), 1.0)

    @property
    def average_neighbours(self) -> float:
        """From how many others a memory borrows words, on average."""
        return self._links / max(len(self), 1)

    @property
    def context(self) -> float:
        """How embedded the turns are: 0 with no neighbours, 1 with two each, on average."""
        return min(self._links / max(2.0 * float(self.openers["count"].sum()), 1.0), 1.0)

    @property
    def meanings(self) -> Meanings | None:
        """The vectors, with `scale` up to date; None when there is none at all."""
        if self._meanings is not None and self._stale_scales:
            self._meanings.grow(len(self))
            self._renew_scales(self._meanings)
        return self._meanings

    # -- writing -------------------------------------------------------------------------------

    def apply(self, rows: Iterable[IndexRow]) -> None:
        """Take in new and changed memories, in the order in which they were written."""
        fresh: list[IndexRow] = []
        known: list[IndexRow] = []
        for row in rows:
            (known if row.seq in self._place_of else fresh).append(row)
        for row in known:
            place = self._place_of[row.seq]
            self._put_cells(slice(place, place + 1), [row])
        if fresh:
            self._append(fresh, text_features([row.text for row in fresh]))
        self._put_vectors([*known, *fresh])
        self._put_replies([*known, *fresh])

    def _put_cells(self, places: slice, rows: Sequence[IndexRow]) -> None:
        """Write what may change in the life of a memory."""
        table = self.table
        table["expires"][places] = [row.expires for row in rows]
        table["form"][places] = [row.form for row in rows]
        self.forms.update(row.form for row in rows)
        self.soonest_expiry = min(self.soonest_expiry, *(row.expires for row in rows))
        table["type"][places] = [self._coded("type " + row.memory_type) for row in rows]
        dates = [_EPOCH + timedelta(seconds=row.created) for row in rows]
        table["year"][places] = [date.year for date in dates]
        table["month"][places] = [date.month for date in dates]
        table["day"][places] = [date.day for date in dates]

    def _coded(self, name: str) -> int:
        return self._codes.setdefault(name, len(self._codes))

    def _append(self, rows: Sequence[IndexRow], features: TextFeatures) -> None:
        table = self.table
        places = table.extend(len(rows))
        self._put_cells(places, rows)
        sessions = [self._coded("session " + row.session_id) for row in rows]
        codes = self._opener_codes
        table["seq"][places] = [row.seq for row in rows]
        table["session"][places] = sessions
        table["opener"][places] = [codes.setdefault(each, len(codes)) for each in features.openers]
        self.openers.extend(len(codes) - len(self.openers))
        table["own"][places] = table["length"][places] = features.term_count
        self._total_length += float(features.term_count.sum())
        self._place_of.update((row.seq, place) for place, row in enumerate(rows, places.start))
        self.postings.add(features.terms, np.arange(places.start, places.stop))
        self._put_joined(self._conversations_of(rows, places.start, sessions, features))
        self._stale_scales.append(np.arange(places.start, places.stop))

    def _conversations_of(
        self, rows: Sequence[IndexRow], start: int, sessions: list[int], features: TextFeatures
    ) -> Joined:
        joined = Joined()
        short = (features.word_count <= SHORT_WORDS).tolist()
        personal, timed = features.personal.tolist(), features.timed.tolist()
        for n, row in enumerate(rows):
            if row.form is not Form.TURN:
                continue
            tail = self._tail_before(row, sessions[n])
            asks = features.asks[n]
            joined.priors.append((tail.asks, asks, not tail.turns, personal[n], timed[n]))
            joined.add(tail, start + n, short=short[n])
            tail.asks, tail.said = asks, row.said
        return joined

    def _tail_before(self, row: IndexRow, session: int) -> Tail:
        """Return the end of the conversation that a turn of a session goes on, or begins."""
        tail = self._tails.get(session)
        if tail is None or abs(row.said - tail.said) > SESSION_GAP_SECONDS:
            tail = self._tails[session] = Tail(self.conversations)
            self.conversations += 1
        return tail

    def _put_joined(self, joined: Joined) -> None:
        if not joined.places:
            return
        self._order = None
        table, openers = self.table, self.openers
        priors = np.array(joined.priors, np.float32)
        table["conversation"][joined.places] = joined.conversations
        table["priors"][joined.places] = priors
        opener = table["opener"][joined.places]
        np.add.at(openers["count"], opener, 1)
        np.add.at(openers["sum"], opener, priors)
        earlier, later = np.array(joined.earlier, np.intp), np.array(joined.later, np.intp)
        distance = np.array(joined.distance, np.intp)
        back = distance < len(AFTER)
        near, own = table["near"], table["own"]
        near[earlier, distance] = later
        near[later[back], len(BEFORE) + distance[back]] = earlier[back]
        # In the order of the links, so that one batch and many make the same sums.
        lent = np.stack([_BEFORE[distance] * own[earlier], _AFTER[distance] * own[later]], 1)
        np.add.at(table["length"], np.stack([later, earlier], 1), lent)
        self._links += len(earlier) + int(back.sum())
        self._total_length += float(lent.sum(dtype=np.float64))

    def conversation_order(self) -> ConversationOrder:
        """Return all turns by conversation; made anew only after a turn was added."""
        if self._order is None:
            self._order = ConversationOrder.of(self.table["conversation"])
        return self._order

    def _put_replies(self, rows: Sequence[IndexRow]) -> None:
        lengths = self.table["reply"]
        replied = [(self._place_of[row.seq], row.reply) for row in rows if row.reply]
        fresh = [(place, reply) for place, reply in replied if not lengths[place]]
        for place, reply in replied:
            if lengths[place]:
                more = terms(reply)[int(lengths[place]) :]  # an answer may go on, not change
                self.replies.add_more(place, Counter(more))
                self._count_reply(place, len(more))
        if fresh:
            found = text_features([reply for _, reply in fresh])
            places = np.array([place for place, _ in fresh], np.intp)
            self.replies.add(found.terms, places)
            for place, count in zip(places.tolist(), found.term_count.tolist(), strict=True):
                self._replies += count > 0
                self._count_reply(place, count)

    def _count_reply(self, place: int, terms: int) -> None:
        self.table["reply"][place] += terms
        self._reply_lengths += terms

    # -- vectors -------------------------------------------------------------------------------

    def _put_vectors(self, rows: Sequence[IndexRow]) -> None:
        found = [(self._place_of[row.seq], row.vector) for row in rows if row.vector is not None]
        if not found:
            return
        places = np.array([place for place, _ in found], np.intp)
        vectors = np.array([vector for _, vector in found], np.float32)
        if self._meanings is None:
            self._meanings = Meanings(vectors.shape[1])
        self._meanings.grow(len(self))
        self._meanings.put(places, vectors)
        near = self.table["near"][places]
        self._stale_scales += [places, near[near >= 0]]

    def _renew_scales(self, meanings: Meanings) -> None:
        stale, _ = value_counts(np.concatenate(self._stale_scales))
        self._stale_scales.clear()
        for start in range(0, len(stale), _SCALES_AT_ONCE):
            places = stale[start : start + _SCALES_AT_ONCE]
            near = self.table["near"][places]
            joined = meanings.at(places)
            for column, weight in MEANING_WINDOW:
                there = near[:, column] >= 0
                joined[there] += weight * meanings.at(near[there, column])
            length = np.linalg.norm(joined, axis=1)
            self.table["scale"][places] = 1 / np.where(length > 0, length, 1)


_BEFORE = np.array(BEFORE, np.float32)
_AFTER = np.array([*AFTER, *[0] * (len(BEFORE) - len(AFTER))], np.float32)

# Columns of `near` whose vectors a turn takes in, with their weights.
MEANING_WINDOW = [
    *((len(BEFORE) + n, weight) for n, weight in enumerate(MEANING_BEFORE)),
    *enumerate(MEANING_AFTER),
]
