"""Unit vectors of one byte for each dimension."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.records import Floats
from langchain_kronvex.recall.arrays.table import Column, Layout, Parts, Sections, Table

# Rows converted to floats at a time: so few that they do not drive all else out of a core's cache,
# and that numpy uses one thread. Several threads on busy cores would wait for each other.
_ROWS_AT_ONCE = 256

_SIGNS_AT_ONCE = 2**16

# So few vectors are summed only when their mean is asked for: the sum takes a third of their room.
_MOST_UNSUMMED = 32

# The mean of a few vectors says little, so this many vectors of zeros are averaged with them.
_CENTRE_WEIGHT = 20

# Of the sum of all vectors. Whole numbers: in whatever order it is computed, the sum is the same.
_UNIT = 2.0**32

_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def _bits_set_by_bytes(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    of_bytes = _BITS_OF_BYTE[words.view(np.uint8)].reshape(*words.shape, 8)
    counts: NDArray[np.uint8] = of_bytes.sum(axis=-1, dtype=np.uint8)
    return counts


bits_set = getattr(np, "bitwise_count", _bits_set_by_bytes)  # numpy 1 has none


@functools.cache
def _signs_of(width: int) -> list[str]:
    return [f"signs{n}" for n in range(-(-width // 64))]


@functools.cache
def _layout(width: int) -> Layout:
    signs = dict.fromkeys(_signs_of(width), Column(np.uint64))
    return Layout(codes=Column(np.int8, (width,)), scale=Column(np.float32), **signs)


class QuantizedVectors:
    """Unit vectors by place, one byte for each dimension; zeros where a memory has none.

    A stored vector differs from the given one by about half a percent of its largest component; no
    loss of recall was measured. One more bit for each dimension, the sign, is enough to
    find the few hundred vectors among which the nearest are (Charikar, "Similarity estimation
    techniques from rounding algorithms", 2002).

    Args:
        width: Dimensions.
        table: The rows to begin with.
        total: Their sum, in units of 2^-32, and how many there are; None if they are few.
    """

    __slots__ = ("_signs", "_table", "_total", "width")

    def __init__(
        self, width: int, table: Table | None = None, total: NDArray[np.int64] | None = None
    ) -> None:
        self.width = width
        self._signs = _signs_of(width)
        self._table = Table(_layout(width)) if table is None else table
        self._total = total

    @classmethod
    def read(cls, sections: Sections, rows: int) -> QuantizedVectors:
        """Return the vectors of sections, for so many places; see `parts`."""
        total = sections["vectors total"].view(np.int64)
        width = len(total) - 1
        return cls(width, Table(_layout(width), sections["vectors"], rows), total)

    def parts(self, spare: int) -> Parts:
        """Return the vectors as arrays, with room for some more."""
        return {"vectors": self._table.pieces(spare), "vectors total": [self._sum()]}

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes + (0 if self._total is None else self._total.nbytes)

    @property
    def centre(self) -> Floats:
        """The mean of the vectors; near zero while there are few."""
        total = self._sum()
        mean: Floats = (total[:-1] / ((total[-1] + _CENTRE_WEIGHT) * _UNIT)).astype(np.float32)
        return mean

    def _sum(self) -> NDArray[np.int64]:
        every = np.arange(len(self._table))
        return self._sum_of(every) if self._total is None else self._total

    def _sum_of(self, places: NDArray[np.intp]) -> NDArray[np.int64]:
        exact = np.rint(self.at(places) * np.float64(_UNIT)).astype(np.int64).sum(axis=0)
        return np.append(exact, np.count_nonzero(self._table["scale"][places]))

    def grow(self, size: int) -> None:
        """Make room for places below `size`."""
        self._table.extend(max(size - len(self._table), 0))
        if self._total is None and size > _MOST_UNSUMMED:
            self._total = self._sum()

    def put(self, places: NDArray[np.intp], vectors: Floats) -> None:
        """Set the vectors of places, shape (places, width), of length 1 or 0."""
        if self._total is not None:
            self._total -= self._sum_of(places)
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        codes = np.rint(vectors * (127 / np.where(largest > 0, largest, 1)))
        length = np.linalg.norm(codes, axis=1)
        self._table["codes"][places] = codes
        self._table["scale"][places] = np.divide(1, length, where=length > 0, out=length)
        for name, signs in zip(self._signs, _signs(codes).T, strict=True):
            self._table[name][places] = signs
        if self._total is not None:
            self._total += self._sum_of(places)

    def at(self, places: NDArray[np.intp]) -> Floats:
        """Return the vectors of places."""
        codes = self._table["codes"].take(places, axis=0).astype(np.float32)
        codes *= self._table["scale"].take(places)[:, None]
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
        return (distance <= min(least, far - 1)).nonzero()[0]


def _signs(vectors: Floats) -> NDArray[np.uint64]:
    """Return one bit for each component, shape (vectors, words of 64 bits)."""
    packed = np.packbits(vectors > 0, axis=1)
    words = np.zeros((len(packed), -(-packed.shape[1] // 8)), np.uint64)
    words.view(np.uint8)[:, : packed.shape[1]] = packed
    return words
