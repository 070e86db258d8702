"""Columns of numbers, and what all arrays of an index have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
# What an index consists of, by name: arrays that follow each other without gaps. Not copies, so
# that they are valid until the index is changed.
Parts = dict[str, Sequence[Array]]
# The same, read: bytes that may be written to.
Sections = Mapping[str, NDArray[np.uint8]]

_MOST_WITHOUT_VIEWS = 256  # rows; a view takes more than a column of a small table
_LEAST_ROWS = 8


class Column(NamedTuple):
    """The type of a column, the shape of its rows, () for plain numbers, and the first value."""

    dtype: DTypeLike
    width: tuple[int, ...] = ()
    fill: float = 0


class _Place(NamedTuple):
    """A column in the bytes of a table, which begins at `start` times the number of rows."""

    dtype: np.dtype[Any]
    width: tuple[int, ...]
    fill: float
    start: int
    size: int


class Layout:
    """The columns of a table, by name. Large numbers come first, so that all are aligned.

    Attributes:
        places: Where each column is.
        row_bytes: The bytes of a row.
    """

    def __init__(self, **columns: Column) -> None:
        self.places: dict[str, _Place] = {}
        self.row_bytes = 0
        types = {name: np.dtype(column.dtype) for name, column in columns.items()}
        for name in sorted(columns, key=lambda name: -types[name].itemsize):
            width, size = columns[name].width, types[name].itemsize
            for count in width:
                size *= count
            fill = columns[name].fill
            self.places[name] = _Place(types[name], width, fill, self.row_bytes, size)
            self.row_bytes += size


class Table:
    """Columns of one length, by name, in one block of bytes.

    They grow by half, so appending is cheap on average. A column read with `[]` is a view, valid
    until the next `extend`.

    Args:
        layout: The columns.
        block: Bytes to begin with, for some rows, of which all after `size` are zeros.
        size: How many rows they have.
    """

    __slots__ = ("_block", "_capacity", "_layout", "_size", "_views")

    def __init__(
        self, layout: Layout, block: NDArray[np.uint8] | None = None, size: int = 0
    ) -> None:
        self._layout, self._size = layout, size
        self._block = np.zeros(0, np.uint8) if block is None else block
        self._capacity = len(self._block) // layout.row_bytes
        self._views: dict[str, Array] = {}

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> Array:
        view = self._views.get(name)
        if view is None:
            view = self._column(name, self._size)
            if self._size > _MOST_WITHOUT_VIEWS:
                self._views[name] = view
        return view

    def _column(self, name: str, rows: int) -> Array:
        dtype, width, _, start, _ = self._layout.places[name]
        return np.ndarray((rows, *width), dtype, self._block.data, self._capacity * start)

    @property
    def nbytes(self) -> int:
        """Bytes held by all columns, the free room included."""
        return self._block.nbytes

    def extend(self, count: int) -> slice:
        """Add rows with the fill values and return their places."""
        added = slice(self._size, self._size + count)
        if added.stop > self._capacity:
            self._grow(max(added.stop, self._capacity * 3 // 2, _LEAST_ROWS))
        self._views = {}
        for name, place in self._layout.places.items():
            if place.fill:  # all others are zeros
                self._column(name, added.stop)[added] = place.fill
        self._size = added.stop
        return added

    def _grow(self, capacity: int) -> None:
        grown = Table(self._layout, np.zeros(capacity * self._layout.row_bytes, np.uint8))
        for name in self._layout.places if self._size else ():
            grown._column(name, self._size)[:] = self._column(name, self._size)
        # Last, and the capacity with the block: a signal may end this at any line.
        self._block, self._capacity = grown._block, grown._capacity

    def pieces(self, spare: int) -> Sequence[Array]:
        """Return the block for the rows and some more, all zeros, as arrays that make it up."""
        found: list[Array] = []
        for name, place in self._layout.places.items():
            found += [self[name], np.zeros(spare * place.size, np.uint8)]
        return found


def value_counts(values: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the distinct values in order, and how often each occurs.

    `numpy.unique` would import a large part of numpy when it is first called.
    """
    ordered = np.sort(values)
    starts, sizes = runs(ordered)
    return ordered[starts], sizes


def runs(ordered: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each run of equal values begins, and how long it is."""
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    starts = first.nonzero()[0]
    sizes = np.full_like(starts, len(ordered))
    sizes[:-1] = starts[1:]
    sizes -= starts
    return starts, sizes
