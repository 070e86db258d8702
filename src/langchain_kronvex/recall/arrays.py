"""Growing arrays: columns of numbers, and an inverted index. Writes append and rebuild nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from langchain_kronvex.recall.ranking import Floats

# One posting: the place of a memory, and how often it holds the term.
_POSTING = np.dtype([("place", np.int32), ("count", np.float32)])
_TERM_BYTES = 250  # what a term takes beside its postings


class Column(NamedTuple):
    """The type of a column, the width of its rows, () for plain numbers, and what new rows hold."""

    dtype: DTypeLike
    width: tuple[int, ...] = ()
    fill: float = 0


class Table:
    """Columns of one length, by name. They grow by half, so appending is cheap on average.

    A column read with `[]` is a view, valid until the next `extend`.
    """

    def __init__(self, **columns: Column) -> None:
        self._fill = {name: column.fill for name, column in columns.items()}
        self._room: dict[str, NDArray[Any]] = {
            name: np.empty((0, *column.width), column.dtype) for name, column in columns.items()
        }
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._room[name][: self._size]

    @property
    def nbytes(self) -> int:
        """Bytes held by all columns, the free room included."""
        return sum(room.nbytes for room in self._room.values())

    def extend(self, count: int) -> slice:
        """Add rows that hold the fill values and return where they stand."""
        added = slice(self._size, self._size + count)
        for name, room in self._room.items():
            if added.stop > len(room):
                capacity = max(added.stop, len(room) * 3 // 2, 64)
                self._room[name] = np.empty((capacity, *room.shape[1:]), room.dtype)
                self._room[name][: self._size] = room[: self._size]
            self._room[name][added] = self._fill[name]
        self._size = added.stop
        return added


def value_counts(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the distinct values in order, and how often each occurs.

    As `numpy.unique` does, which imports a good part of numpy when it is first called.
    """
    ordered = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


# -- the inverted index ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TermCounts:
    """How often texts hold terms: three arrays of one length, sorted by term, then by text.

    Attributes:
        names: The distinct terms.
        term: Numbers of terms, which are places in `names`.
        text: Numbers of texts.
        count: How often the text holds the term.
    """

    names: list[str]
    term: NDArray[np.intp]
    text: NDArray[np.intp]
    count: Floats


@dataclass(frozen=True, slots=True)
class Entries:
    """Words found: in which row of a query, at which place, and how much each counts."""

    row: NDArray[np.intp]
    place: NDArray[np.int32]
    value: Floats

    def at(self, numbers: NDArray[np.intp]) -> Entries:
        """Return the entries with these numbers."""
        return Entries(self.row.take(numbers), self.place.take(numbers), self.value.take(numbers))


class Postings:
    """An inverted index of terms; appended to only.

    Each term's postings are the bytes of an array. They grow in place, and Python's garbage
    collector need not visit millions of objects.
    """

    def __init__(self) -> None:
        self._of: dict[str, bytearray] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._of)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        return self._size * _POSTING.itemsize * 9 // 8 + _TERM_BYTES * len(self._of)

    def add(self, terms: TermCounts, places: NDArray[np.intp]) -> None:
        """Add the terms of memories at `places` that have none yet."""
        postings = np.empty(len(terms.term), _POSTING)
        postings["place"] = places[terms.text]
        postings["count"] = terms.count
        data = memoryview(postings.tobytes())
        ends = np.bincount(terms.term, minlength=len(terms.names)).cumsum() * _POSTING.itemsize
        start = 0
        for name, end in zip(terms.names, ends.tolist(), strict=True):
            known = self._of.get(name)
            if known is None:
                self._of[name] = bytearray(data[start:end])
            else:
                known += data[start:end]
            start = end
        self._size += len(postings)

    def add_more(self, place: int, terms: Mapping[str, int]) -> None:
        """Add more terms to a memory that has some."""
        for term, count in terms.items():
            known = self._of.setdefault(term, bytearray())
            postings = np.frombuffer(known, _POSTING)
            at = np.flatnonzero(postings["place"] == place)
            if len(at):
                postings["count"][at] += count
            else:
                del postings  # a buffer in use cannot grow
                known += np.array([(place, count)], _POSTING).tobytes()
                self._size += 1

    def document_frequency(self, term: str) -> int:
        """Return how many memories hold a term."""
        return len(self._of.get(term, b"")) // _POSTING.itemsize

    def entries(self, wanted: Iterable[tuple[int, Iterable[tuple[str, float]]]]) -> Entries:
        """Look terms up.

        Args:
            wanted: Rows, each with the terms it stands for and the weight of one occurrence.
        """
        found = [
            (row, weight, posting)
            for row, terms in wanted
            for term, weight in terms
            if (posting := self._of.get(term))
        ]
        if not found:
            return Entries(np.empty(0, np.intp), np.empty(0, np.int32), np.empty(0, np.float32))
        rows, weights, postings = zip(*found, strict=True)
        every = np.frombuffer(b"".join(postings), _POSTING)
        sizes = np.array([len(posting) for posting in postings]) // _POSTING.itemsize
        weight = np.repeat(np.array(weights, np.float32), sizes)
        row = np.repeat(np.array(rows, np.intp), sizes)
        return Entries(row, every["place"].copy(), every["count"] * weight)
