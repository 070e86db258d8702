"""One owner's memories in RAM: words, neighbours, dates and vectors, as arrays; and views of them.

The index contains no text. Writes append to it and never rebuild it; only after a deletion is it
read anew. `search.py` searches it, and `ranking.py` has the weights of the features.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.records import Floats
from langchain_kronvex.recall.arrays import columns
from langchain_kronvex.recall.arrays.names import Names
from langchain_kronvex.recall.arrays.postings import Entries, Postings
from langchain_kronvex.recall.arrays.table import Table, value_counts
from langchain_kronvex.recall.arrays.vectors import QuantizedVectors
from langchain_kronvex.recall.features import instructs, knows_nothing, only_asks, text_features
from langchain_kronvex.recall.metadata import MetadataTable
from langchain_kronvex.recall.neighbours import VECTOR_WINDOW, ConversationOrder, Neighbours, Turn
from langchain_kronvex.recall.ranking import Form
from langchain_kronvex.recall.request import IndexRow
from langchain_kronvex.recall.spelling import Spelling
from langchain_kronvex.recall.tokenizer import terms

Places = NDArray[np.intp]
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_SECOND = 253_402_300_799  # of the calendar; a float may be rounded up beyond it
_SCALES_AT_ONCE = 4096
T = TypeVar("T")


class ScopeIndex:
    """The memories of one owner. Not thread-safe: callers hold a lock.

    A place is a memory's position in every array; later places were written later. Columns:

    - neighbours: the turns 1, 2, 3 after this turn and 1, 2 before it, which borrow its words.
    - own_length, length: the number of its terms, and the same with the terms it borrows.
    - priors: see `ranking.PRIORS`.
    - vector_scale: one over the length of the sum of its vector and its neighbours'.
    - reply_length: the number of terms of the reply to it.
    - language: the number of the language of the text, in `languages`; its reply counts as another
      text of that language.
    - asks, unanswered: whether the text only asks a question; whether the reply says that the
      answer is not known.
    - instructs: whether the text says how to answer from now on.
    - metadata: the number of its metadata, in `metadata`.

    Attributes:
        table: The columns.
        postings: The terms of the texts.
        replies: The terms of the replies.
        spelling: Finds terms of the texts by what is spelt nearly alike.
        first_words: For each first word, how many turns open with it, and the sum of their priors.
        neighbours: The links between turns.
        codes: The numbers that stand for sessions and types.
        first_word_codes: The numbers that stand for first words.
        forms: The forms that occur, or have occurred.
        languages: The numbers that stand for languages.
        texts_in: How many texts there are in each language.
        metadata: What filters test.
        derived: What was computed from the memories alone, until they change; see `IndexView`.
        soonest_expiry: No memory expires before this moment; seconds since 1970.
        has_superseded: Whether a memory may have been superseded.
        has_former: Whether it may hold words or metadata that its memories had before.
        own_lengths: The sum of `own_length`.
        changes: Counts the changes.
    """

    def __init__(self) -> None:
        self.table = Table(columns.MEMORIES)
        self.first_words = Table(columns.FIRST_WORDS)
        self.postings, self.replies = Postings(), Postings()
        self.spelling = Spelling(self.postings)
        self.neighbours = Neighbours(self.table, self.first_words)
        self.forms: set[Form] = set()
        self.metadata = MetadataTable()
        self.derived: dict[object, Any] = {}
        self.soonest_expiry, self.has_superseded, self.has_former = math.inf, False, False
        self._vectors: QuantizedVectors | None = None
        self._stale_scales: list[NDArray[np.intp]] = []
        self._order: ConversationOrder | None = None
        self.codes, self.first_word_codes = Names(), Names()
        self.languages: dict[str, int] = {}
        self.texts_in: Counter[str] = Counter()
        self.own_lengths = self.changes = 0

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """About how many bytes the index takes."""
        vectors = self._vectors.nbytes if self._vectors else 0
        tables = (self.table, self.first_words, self.neighbours.tails)
        names = (self.codes, self.first_word_codes, self.metadata)
        parts = (*tables, self.postings, self.replies, *names)
        return vectors + sum(part.nbytes for part in parts)

    @property
    def average_length(self) -> float:
        """The mean of `length`, at least 1."""
        total = self.own_lengths + self.neighbours.borrowed_length
        return max(total / max(len(self), 1), 1.0)

    @property
    def average_reply_length(self) -> float:
        """The mean number of terms of a reply, at least 1."""
        lengths = self.table["reply_length"]
        return max(float(lengths.sum()) / max(int(np.count_nonzero(lengths)), 1), 1.0)

    @property
    def neighbour_density(self) -> float:
        """From 0, when turns have no neighbours, to 1, when they have two each on average."""
        turns = float(self.first_words["count"].sum())
        return min(self.neighbours.links / max(2.0 * turns, 1.0), 1.0)

    def document_frequency(self, term: str) -> int:
        """Return in how many memories a term occurs, in their text or else in the reply to it."""
        return self.postings.document_frequency(term) or self.replies.document_frequency(term)

    def kept(self, name: object, compute: Callable[[], T]) -> T:
        """Return what follows from the memories alone, computed only once."""
        if name not in self.derived:
            self.derived[name] = compute()
        kept: T = self.derived[name]
        return kept

    # -- writing -------------------------------------------------------------------------------

    def apply(self, rows: Iterable[IndexRow]) -> None:
        """Add new and changed memories, in the order in which they were written."""
        rows = list(rows)
        self.changes += 1
        self.derived.clear()
        places = self._places_of(rows)
        for place, row in zip(places.tolist(), rows, strict=True):
            if place >= 0:
                is_same = self.table["metadata"][place] == self.metadata.texts.number(row.metadata)
                self.has_former |= not (is_same and row.text)
                self._put_cells(slice(place, place + 1), [row])
        fresh = np.flatnonzero(places < 0)
        if len(fresh):
            places[fresh] = len(self) + np.arange(len(fresh))
            self._append([rows[number] for number in fresh.tolist()])
        self._put_vectors(rows, places)
        self._put_replies(rows, places)
        for each in (self.postings, self.replies, self.codes, self.first_word_codes):
            each.pack()
        self.metadata.texts.pack()

    def _places_of(self, rows: Sequence[IndexRow]) -> Places:
        """Return the places of rows; -1 for new ones."""
        known, seqs = self.table["seq"], np.array([row.seq for row in rows], np.int64)
        if not len(known) or (seqs > known[-1]).all():  # the usual case
            return np.full(len(rows), -1)
        order = np.argsort(known, kind="stable")  # quick: they ascend, or nearly so
        at = np.searchsorted(known, seqs, sorter=order)
        places = np.append(order, -1)[at]
        return np.where(np.append(known, -1)[places] == seqs, places, -1)

    def _put_cells(self, places: slice, rows: Sequence[IndexRow]) -> None:
        """Write the cells that may change during the life of a memory."""
        table = self.table
        for name in ("expires", "created", "true_from", "true_until", "form"):
            table[name][places] = [getattr(row, name) for row in rows]
        table["metadata"][places] = self.metadata.texts.numbers([row.metadata for row in rows])
        self.has_superseded |= any(row.true_until < math.inf for row in rows)
        self.forms.update(row.form for row in rows)
        self.soonest_expiry = min(self.soonest_expiry, *(row.expires for row in rows))
        table["type"][places] = self.codes.numbers(["type " + row.memory_type for row in rows])
        dates = [_EPOCH + timedelta(seconds=min(row.created, _LAST_SECOND)) for row in rows]
        for part in ("year", "month", "day"):
            table[part][places] = [getattr(date, part) for date in dates]

    def _append(self, rows: Sequence[IndexRow]) -> None:
        features = text_features([row.text for row in rows])
        table, codes = self.table, self.first_word_codes
        places = table.extend(len(rows))
        self._put_cells(places, rows)
        sessions = self.codes.numbers(["session " + row.session_id for row in rows])
        table["seq"][places] = [row.seq for row in rows]
        table["session"][places] = sessions
        first_words = codes.numbers(features.first_words)
        table["first_word"][places] = first_words
        self.first_words.extend(len(codes) - len(self.first_words))
        table["own_length"][places] = table["length"][places] = features.term_count
        known = self.languages
        self.texts_in.update(features.languages)
        numbers = [known.setdefault(each, len(known)) for each in features.languages]
        table["language"][places] = numbers
        table["asks"][places] = [only_asks(row.text) for row in rows]
        table["instructs"][places] = [instructs(row.text) for row in rows]
        self.own_lengths += int(features.term_count.sum())
        self.postings.add(features.terms, np.arange(places.start, places.stop))
        self._stale_scales.append(np.arange(places.start, places.stop))
        turns = [
            Turn(n, sessions[n], row.said) for n, row in enumerate(rows) if row.form is Form.TURN
        ]
        if turns:
            self.neighbours.add(turns, places.start, features)
            self._order = None

    def _put_replies(self, rows: Sequence[IndexRow], places: Places) -> None:
        lengths = self.table["reply_length"]
        fresh = []
        unanswered = self.table["unanswered"]
        for place, row in zip(places.tolist(), rows, strict=True):
            if not (reply := row.reply):
                continue
            unanswered[place] = knows_nothing(reply)
            if lengths[place]:
                of_reply = terms(reply, self._language_at(place))
                more = of_reply[int(lengths[place]) :]  # a reply may grow, not change
                self.replies.add_more(place, Counter(more))
                lengths[place] += len(more)
            else:
                fresh.append((place, reply))
        if fresh:
            languages = [self._language_at(place) for place, _ in fresh]
            found = text_features([reply for _, reply in fresh], languages)
            at = np.array([place for place, _ in fresh], np.intp)
            self.replies.add(found.terms, at)
            lengths[at] = found.term_count

    def _language_at(self, place: int) -> str:
        language: int = self.table["language"][place]
        return list(self.languages)[language]

    def conversation_order(self) -> ConversationOrder:
        """Return all turns by conversation; computed again only after a turn was added."""
        if self._order is None:
            self._order = ConversationOrder.of(self.table["conversation"])
        return self._order

    # -- vectors -------------------------------------------------------------------------------

    @property
    def vectors(self) -> QuantizedVectors | None:
        """The vectors, with `vector_scale` up to date; None if there are none."""
        if self._vectors is not None and self._stale_scales:
            self._vectors.grow(len(self))
            self._renew_scales(self._vectors)
        return self._vectors

    def begin_with(self, vectors: QuantizedVectors | None) -> None:
        """Take over vectors of all memories, or none, with `vector_scale` up to date."""
        self._vectors = vectors
        self._stale_scales = [np.arange(len(self))] if vectors is None else []

    def _put_vectors(self, rows: Sequence[IndexRow], places: Places) -> None:
        found = [row.vector for row in rows if row.vector is not None]
        if not found:
            return
        places = places[[row.vector is not None for row in rows]]
        vectors = np.array(found, np.float32)
        if self._vectors is None:
            self._vectors = QuantizedVectors(vectors.shape[1])
        self._vectors.grow(len(self))
        self._vectors.put(places, vectors)
        near = self.table["neighbours"][places]
        self._stale_scales += [places, near[near >= 0]]

    def _renew_scales(self, vectors: QuantizedVectors) -> None:
        stale, _ = value_counts(np.concatenate(self._stale_scales))
        for start in range(0, len(stale), _SCALES_AT_ONCE):
            places = stale[start : start + _SCALES_AT_ONCE]
            near = self.table["neighbours"][places]
            joined = vectors.at(places)
            for column, weight in VECTOR_WINDOW:
                there = near[:, column] >= 0
                joined[there] += weight * vectors.at(near[there, column])
            length = np.linalg.norm(joined, axis=1)
            self.table["vector_scale"][places] = 1 / np.where(length > 0, length, 1)
        self._stale_scales.clear()  # last: a signal may end this at any line


class IndexView:
    """Some memories of an index, numbered from 0. Their numbers are called slots.

    Args:
        index: The index of one owner.
        places: The places of the memories, ascending; None for all memories.
        now: Memories that have expired by then do not count. Seconds since 1970, UTC.
        is_current: Superseded memories do not count either.

    Attributes:
        gone: Marks the memories that do not count; None if there are none.
    """

    def __init__(
        self, index: ScopeIndex, places: Places | None, now: float, *, is_current: bool = True
    ) -> None:
        self.index = index
        self.places = places
        self.gone: NDArray[np.bool_] | None = None
        if index.soonest_expiry <= now:
            self.gone = self.column("expires") <= now
        if index.has_superseded and is_current:
            superseded = self.column("true_until") < math.inf
            self.gone = superseded if self.gone is None else self.gone | superseded
        self._slot_of: NDArray[np.int32] | None = None
        if places is not None:
            # The last one is for place -1, no memory.
            self._slot_of = np.full(len(index) + 1, -1, np.int32)
            self._slot_of[places] = np.arange(len(places))

    def __len__(self) -> int:
        return len(self.index) if self.places is None else len(self.places)

    def kept(self, name: object, compute: Callable[[], T]) -> T:
        """Return what follows from the memories alone: of all of them, computed only once."""
        return self.index.kept(name, compute) if self.places is None else compute()

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the index's table, by slot."""
        return self.of(self.index.table[name])

    def marked(self, name: str) -> Places:
        """Return the slots that a column of marks has marked."""
        return self.kept(name, lambda: self.column(name).nonzero()[0])

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of all memories for those of the view, by slot."""
        return values if self.places is None else values.take(self.places, axis=0)

    @cached_property
    def only_form(self) -> Form | None:
        """The form of all memories; None if there are several."""
        return next(iter(self.index.forms)) if len(self.index.forms) == 1 else None

    @cached_property
    def turns(self) -> NDArray[np.bool_] | None:
        """Marks the turns; None if all memories are turns."""
        if self.only_form is Form.TURN:
            return None
        marked: NDArray[np.bool_] = self.column("form") == Form.TURN
        return marked

    def blank_gone(self, values: Floats, blank: float) -> None:
        """Replace the values of memories that do not count."""
        if self.gone is not None:
            values[self.gone] = blank

    @cached_property
    def neighbours(self) -> NDArray[np.int32]:
        """The column `neighbours` in slots; -1 for no memory, and for those outside the view."""
        near = self.column("neighbours")
        return near if self._slot_of is None else self._slot_of.take(near)

    def inside(self, entries: Entries) -> Entries:
        """Return the entries of memories that are in the view and not gone, by slot."""
        if self._slot_of is not None:
            entries = Entries(entries.row, self._slot_of.take(entries.place), entries.value)
            entries = entries.at((entries.place >= 0).nonzero()[0])
        if self.gone is not None:
            entries = entries.at((~self.gone[entries.place]).nonzero()[0])
        return entries

    def placed(self, slots: Places) -> Places:
        """Return the places of slots."""
        return slots if self.places is None else self.places[slots]

    def conversation_order(self) -> ConversationOrder:
        """Return the turns of the view by conversation."""
        if self.places is None:
            return self.index.conversation_order()
        return ConversationOrder.of(self.column("conversation"))
