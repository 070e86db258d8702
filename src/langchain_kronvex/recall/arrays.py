"""Growing arrays: numpy columns that are appended to without being rebuilt on each write."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray


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
