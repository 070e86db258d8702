"""The growing arrays of an index: columns of numbers, an inverted index, and vectors.

A write appends to them and never rebuilds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from langchain_kronvex.recall.ranking import Floats

# One posting: the place of a memory, and how often the term occurs in it.
_POSTING = np.dtype([("place", np.int32), ("count", np.float32)])
_TERM_BYTES = 250  # the size of a term without its postings

# Rows converted to floats at a time: few enough to stay in a core's cache, and for numpy to use
# one thread. Several threads on busy cores would wait for each other.
_ROWS_AT_ONCE = 512

_SIGNS_AT_ONCE = 2**16

# The mean of a few vectors says little, so this many vectors of zeros are averaged with them.
_CENTRE_WEIGHT = 20

_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


class Column(NamedTuple):
    """The type of a column, the shape of its rows, () for plain numbers, and the first value."""

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
        """Add rows with the fill values and return their places."""
        added = slice(self._size, self._size + count)
        for name, room in self._room.items():
            if added.stop > len(room):
                capacity = max(added.stop, len(room) * 3 // 2, 64)
                grown = np.empty((capacity, *room.shape[1:]), room.dtype)
                grown[: self._size] = room[: self._size]
                self._room[name] = grown  # last: a signal may end this at any line
            self._room[name][added] = self._fill[name]
        self._size = added.stop
        return added


def value_counts(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the distinct values in order, and how often each occurs.

    `numpy.unique` would import a large part of numpy when it is first called.
    """
    ordered = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


# -- the inverted index ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TermCounts:
    """How often terms occur in texts: three arrays of one length, sorted by term, then by text.

    Attributes:
        names: The distinct terms.
        term: Numbers of terms, which are places in `names`.
        text: Numbers of texts.
        count: How often the term occurs in the text.
    """

    names: list[str]
    term: NDArray[np.intp]
    text: NDArray[np.intp]
    count: Floats


@dataclass(frozen=True, slots=True)
class Entries:
    """Occurrences of words: the row of the query, the place of the memory, and the weight."""

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

    def __iter__(self) -> Iterator[str]:
        """Yield the terms, in the order in which they were added."""
        return iter(self._of)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        return self._size * _POSTING.itemsize * 9 // 8 + _TERM_BYTES * len(self._of)

    def add(self, terms: TermCounts, places: NDArray[np.intp]) -> None:
        """Add the terms of new memories at `places`."""
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
        """Return in how many memories a term occurs."""
        return len(self._of.get(term, b"")) // _POSTING.itemsize

    def entries(self, wanted: Iterable[tuple[int, Iterable[tuple[str, float]]]]) -> Entries:
        """Look terms up.

        Args:
            wanted: Rows, each with its terms and the weight of one occurrence.
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


# -- vectors -----------------------------------------------------------------------------------


def _bits_set_by_bytes(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    of_bytes = _BITS_OF_BYTE[words.view(np.uint8)].reshape(*words.shape, 8)
    counts: NDArray[np.uint8] = of_bytes.sum(axis=-1, dtype=np.uint8)
    return counts


bits_set = getattr(np, "bitwise_count", _bits_set_by_bytes)  # numpy 1 has none


class QuantizedVectors:
    """Unit vectors by place, one byte for each dimension; zeros where a memory has none.

    A stored vector differs from the given one by about half a percent of its largest component; no
    loss of recall was measured. One more bit for each dimension, the sign, is enough to
    find the few hundred vectors among which the nearest are (Charikar, "Similarity estimation
    techniques from rounding algorithms", 2002).

    Args:
        width: Dimensions.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._signs = [f"signs{n}" for n in range(-(-width // 64))]
        signs = dict.fromkeys(self._signs, Column(np.uint64))
        self._table = Table(codes=Column(np.int8, (width,)), scale=Column(np.float32), **signs)
        self._sum = np.zeros(width, np.float64)
        self._count = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes

    @property
    def centre(self) -> Floats:
        """The mean of the vectors; near zero while there are few."""
        mean: Floats = (self._sum / (self._count + _CENTRE_WEIGHT)).astype(np.float32)
        return mean

    def grow(self, size: int) -> None:
        """Make room for places below `size`."""
        self._table.extend(max(size - len(self._table), 0))

    def put(self, places: NDArray[np.intp], vectors: Floats) -> None:
        """Set the vectors of places, shape (places, width), of length 1 or 0."""
        self._count_in(places, -1)
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        codes = np.rint(vectors * (127 / np.where(largest > 0, largest, 1)))
        length = np.linalg.norm(codes, axis=1)
        self._table["codes"][places] = codes
        self._table["scale"][places] = np.divide(1, length, where=length > 0, out=length)
        for name, signs in zip(self._signs, _signs(codes).T, strict=True):
            self._table[name][places] = signs
        self._count_in(places, 1)

    def _count_in(self, places: NDArray[np.intp], times: int) -> None:
        self._sum += times * self.at(places).sum(axis=0, dtype=np.float64)
        self._count += times * int(np.count_nonzero(self._table["scale"][places]))

    def at(self, places: NDArray[np.intp]) -> Floats:
        """Return the vectors of places."""
        codes = self._table["codes"][places].astype(np.float32)
        codes *= self._table["scale"][places, None]
        return codes

    def products(self, vector: Floats, places: NDArray[np.intp] | None = None) -> Floats:
        """Return the products of a vector with those of places, of all by default."""
        codes, scales = self._table["codes"], self._table["scale"]
        size = len(codes) if places is None else len(places)
        found = np.empty(size, np.float32)
        for start in range(0, size, _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            rows = codes[part] if places is None else codes.take(places[part], axis=0)
            np.matmul(rows.astype(np.float32), vector, out=found[part])
        found *= scales if places is None else scales.take(places)
        return found

    def nearest(
        self, vector: Floats, count: int, among: NDArray[np.bool_] | None
    ) -> NDArray[np.intp]:
        """Return the places of about the `count` nearest vectors by their signs alone.

        Args:
            vector: Of length 1.
            count: How many at least, if there are so many.
            among: Marks the places that may be returned.
        """
        signs, has_vector = _signs(vector[None])[0], self._table["scale"] > 0
        distance = np.zeros(len(self._table), np.uint16)
        eligible = has_vector if among is None else has_vector & among
        is_all = bool(eligible.all())
        far = 64 * len(self._signs) + 1  # more bits than may differ
        histogram = np.zeros(far + 1, np.intp)
        for start in range(0, len(distance), _SIGNS_AT_ONCE):
            part = slice(start, start + _SIGNS_AT_ONCE)
            for name, bits in zip(self._signs, signs, strict=True):
                distance[part] += bits_set(self._table[name][part] ^ bits)
            if not is_all:
                distance[part][~eligible[part]] = far
            histogram += np.bincount(distance[part], minlength=far + 1)
        within = np.cumsum(histogram[:far])
        least = int(np.searchsorted(within, min(count, int(within[-1]))))
        return np.flatnonzero(distance <= min(least, far - 1))


def _signs(vectors: Floats) -> NDArray[np.uint64]:
    """Return one bit for each component, shape (vectors, words of 64 bits)."""
    packed = np.packbits(vectors > 0, axis=1)
    words = np.zeros((len(packed), -(-packed.shape[1] // 8)), np.uint64)
    words.view(np.uint8)[:, : packed.shape[1]] = packed
    return words
