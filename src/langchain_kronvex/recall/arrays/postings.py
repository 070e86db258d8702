"""The inverted index of terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.records import Floats
from langchain_kronvex.recall.arrays.names import Names, packed_numbers
from langchain_kronvex.recall.arrays.table import Parts, Sections

# One posting: the place of a memory, and how often the term occurs in it.
_POSTING = np.dtype([("place", np.int32), ("count", np.float32)])
_BYTES = _POSTING.itemsize
_MORE_BYTES = 170  # about, of a term with postings that were added since


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

    Most postings are packed: one array, sorted by the number of the term, and by place. So they are
    few objects, and can be read from a snapshot as they are. Those of a term that were added since
    are bytes, which grow in place.

    Args:
        terms: The numbers of the terms.
        starts: Where the packed postings of each term begin, and those of the last one end.
        packed: The packed postings.

    Attributes:
        terms: The numbers of the terms.
    """

    __slots__ = ("_more", "_packed", "_size", "_starts", "terms")

    def __init__(
        self,
        terms: Names | None = None,
        starts: NDArray[np.uint32] | None = None,
        packed: NDArray[np.uint8] | None = None,
    ) -> None:
        self.terms = terms or Names()
        self._starts = (_NO_STARTS if starts is None else starts).data
        self._packed = (_NO_POSTINGS if packed is None else packed).data
        self._more: dict[int, bytearray] = {}
        self._size = 0  # postings in `_more`

    @classmethod
    def read(cls, sections: Sections, prefix: str) -> Postings:
        """Return the postings of sections; see `parts`."""
        starts = sections[f"{prefix} starts"].view(np.uint32)
        return cls(Names.read(sections, prefix), starts, sections[f"{prefix} postings"])

    def parts(self, prefix: str) -> Parts:
        """Return the postings as arrays; all are packed before."""
        self._pack()
        starts = np.asarray(self._starts).astype(np.uint32, copy=False)
        packed = np.frombuffer(self._packed, np.uint8)
        own: Parts = {f"{prefix} starts": [starts], f"{prefix} postings": [packed]}
        return own | self.terms.parts(prefix)

    def __len__(self) -> int:
        return len(self.terms)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        packed = self._starts.nbytes - _NO_STARTS.nbytes + len(self._packed)
        more = self._size * _BYTES * 9 // 8 + _MORE_BYTES * len(self._more)
        return packed + more + self.terms.nbytes

    def add(self, terms: TermCounts, places: NDArray[np.intp]) -> None:
        """Add the terms of new memories at `places`."""
        postings = np.empty(len(terms.term), _POSTING)
        postings["place"] = places[terms.text]
        postings["count"] = terms.count
        sizes = np.bincount(terms.term, minlength=len(terms.names))
        numbers, start = self.terms.numbers(terms.names), 0
        if not self._more and len(postings) >= self._enough:
            of = np.repeat(numbers, sizes)
            self._merge(np.array(numbers, np.intp), sizes, postings[np.argsort(of, kind="stable")])
            return
        data = memoryview(postings.tobytes())
        for number, end in zip(numbers, (sizes.cumsum() * _BYTES).tolist(), strict=True):
            known = self._more.get(number)
            if known is None:
                self._more[number] = bytearray(data[start:end])
            else:
                known += data[start:end]
            start = end
        self._size += len(postings)

    def add_more(self, place: int, terms: Mapping[str, int]) -> None:
        """Add more terms to a memory that has some."""
        for term, count in terms.items():
            number = self.terms.number(term)
            more = self._more.setdefault(number, bytearray())
            for known in (self._packed_of(number), more):
                postings = np.frombuffer(known, _POSTING)
                at = np.flatnonzero(postings["place"] == place)
                if len(at):
                    postings["count"][at] += count
                    break
                del postings  # a buffer in use cannot grow
            else:
                more += np.array([(place, count)], _POSTING).tobytes()
                self._size += 1

    def _packed_of(self, number: int) -> memoryview:
        if number + 1 >= len(self._starts):
            return self._packed[:0]
        return self._packed[_BYTES * self._starts[number] : _BYTES * self._starts[number + 1]]

    def document_frequency(self, term: str) -> int:
        """Return in how many memories a term occurs."""
        number = self.terms.get(term)
        if number < 0:
            return 0
        more = len(self._more.get(number, b"")) // _BYTES
        if number + 1 >= len(self._starts):
            return more
        return self._starts[number + 1] - self._starts[number] + more

    def entries(self, wanted: Iterable[tuple[int, Iterable[tuple[str, float]]]]) -> Entries:
        """Look terms up.

        Args:
            wanted: Rows, each with its terms and the weight of one occurrence.
        """
        number_of, more = self.terms.get, self._more
        found = [
            (row, weight, posting)
            for row, terms in wanted
            for term, weight in terms
            if (number := number_of(term)) >= 0
            for posting in (self._packed_of(number), more.get(number))
            if posting
        ]
        if not found:
            return Entries(np.empty(0, np.intp), np.empty(0, np.int32), np.empty(0, np.float32))
        rows, weights, postings = zip(*found, strict=True)
        every = np.frombuffer(b"".join(postings), _POSTING)
        sizes = np.array([len(posting) for posting in postings]) // _BYTES
        weight = np.repeat(np.array(weights, np.float32), sizes)
        row = np.repeat(np.array(rows, np.intp), sizes)
        return Entries(row, every["place"].copy(), every["count"] * weight)

    def pack(self) -> None:
        """Pack the postings, if enough were added to be worth it."""
        if self._size >= self._enough:
            self._pack()
        self.terms.pack()

    @property
    def _enough(self) -> int:
        """The number of postings from which on it is worth it to pack them."""
        return max(_LEAST_PACKED, len(self._packed) // _BYTES // 4)

    def _pack(self) -> None:
        if self._more:
            numbers = sorted(self._more)
            added = np.frombuffer(b"".join([self._more[n] for n in numbers]), _POSTING)
            sizes = np.array([len(self._more[n]) for n in numbers]) // _BYTES
            self._merge(np.array(numbers), sizes, added)
            self._more, self._size = {}, 0

    def _merge(
        self, numbers: NDArray[np.intp], sizes: NDArray[np.intp], added: NDArray[Any]
    ) -> None:
        """Insert postings, sorted by term; so many of each of some terms."""
        starts, known = np.asarray(self._starts), len(self._starts) - 1
        total = np.zeros(len(self.terms), np.int64)
        total[:known] = np.diff(starts)
        total[numbers] += sizes
        packed = np.frombuffer(self._packed, _POSTING)
        if len(packed):
            ends = np.append(starts[1:], np.repeat(starts[-1], len(total) - known))
            at = np.repeat(ends[np.sort(numbers)], sizes[np.argsort(numbers)])
            added = np.insert(packed, at.astype(np.intp), added)
        self._starts = packed_numbers(np.append(0, total.cumsum()))
        self._packed = np.ascontiguousarray(added).view(np.uint8).data


_LEAST_PACKED = 64  # postings
_NO_STARTS = np.zeros(1, np.uint16)
_NO_POSTINGS = np.zeros(0, np.uint8)
