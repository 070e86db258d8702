"""Growing arrays: numpy columns that are appended to without being rebuilt on each write."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Column:
    """A numpy array that grows at its end by half its room, so appending is cheap on average."""

    def __init__(self, dtype: DTypeLike, *width: int, fill: float = 0) -> None:
        self._fill = fill
        self._room: NDArray[Any] = np.empty((0, *width), dtype)
        self._used = 0

    @property
    def values(self) -> NDArray[Any]:
        """The rows in use: a view, valid until the next `grow`."""
        return self._room[: self._used]

    @property
    def nbytes(self) -> int:
        """Bytes held, the free room included."""
        return self._room.nbytes

    def grow(self, size: int) -> None:
        """Make it `size` rows long; new rows hold the fill value."""
        if size > len(self._room):
            capacity = max(size, len(self._room) * 3 // 2, 64)
            room = np.empty((capacity, *self._room.shape[1:]), self._room.dtype)
            room[: self._used] = self.values
            self._room = room
        self._room[self._used : size] = self._fill
        self._used = max(size, self._used)


class Table:
    """Columns of one length, by name."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name].values

    @property
    def nbytes(self) -> int:
        """Bytes held by all columns."""
        return sum(column.nbytes for column in self._columns.values())

    def extend(self, count: int) -> slice:
        """Add rows that hold the fill values and return where they stand."""
        added = slice(self._size, self._size + count)
        self._size += count
        for column in self._columns.values():
            column.grow(self._size)
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
