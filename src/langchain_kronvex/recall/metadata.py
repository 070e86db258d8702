"""Metadata of memories in RAM, so that a filter marks all memories of a user at once.

Equal metadata is kept once, as JSON. When a filter first names a field, the values of that field
are read into a column, in which equal values have one number. Then a filter tests each value once.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.filters import ORDERS, FieldFilter, Filter, field_of, number_of
from langchain_kronvex.recall.arrays.names import Names

Mask = NDArray[np.bool_]
_MOST_COLUMNS = 32  # any user may name fields; those used last stay
_EXACT = 2**53  # larger whole numbers are not exact as floats
_ENTRY_BYTES = 150  # about, beyond the text


class MetadataTable:
    """The distinct metadata of an owner's memories, numbered in order of appearance; 0 is none.

    Attributes:
        texts: The metadata, as JSON.
    """

    def __init__(self, texts: Names | None = None) -> None:
        self.texts = texts or Names()
        self.texts.number("{}")
        self._columns: OrderedDict[Any, _Column] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes."""
        columns = sum(column.nbytes for column in self._columns.values())
        return self.texts.nbytes + columns

    def mask(self, wanted: Filter) -> Mask:
        """Mark which metadata passes a filter, by number."""
        if isinstance(wanted, FieldFilter):
            return self._column(wanted.name).mask(wanted)
        masks = [self.mask(part) for part in wanted.parts]
        if wanted.operator in ("$or", "$nor"):
            joined: Mask = np.logical_or.reduce(masks)
        else:
            every = np.ones(len(self.texts), np.bool_)  # what a filter without conditions passes
            joined = np.logical_and.reduce([every, *masks])
        return joined if wanted.operator in ("$and", "$or") else ~joined

    def _column(self, name: Any) -> _Column:
        column = self._columns.pop(name, None) or _Column(name)
        column.extend(list(self.texts.after(len(column))))
        self._columns[name] = column
        if len(self._columns) > _MOST_COLUMNS:
            self._columns.popitem(last=False)
        return column


class _Column:
    """The values of one field in all metadata."""

    def __init__(self, name: Any) -> None:
        self._name = name
        self._values: list[Any] = []
        self._numbers: dict[str, int] = {}  # of values, by their JSON
        self._of = np.zeros(0, np.int32)  # the number of the value in each metadata
        self._floats: NDArray[np.float64] | None = np.zeros(0)

    def __len__(self) -> int:
        return len(self._of)

    @property
    def nbytes(self) -> int:
        return self._of.nbytes + 2 * _ENTRY_BYTES * len(self._values)

    def extend(self, texts: list[str]) -> None:
        """Add the values of more metadata."""
        if not texts:
            return
        known = len(self._values)
        self._of = np.append(self._of, np.array([self._add(text) for text in texts], np.int32))
        found = [number_of(value) for value in self._values[known:]]
        if any(number is not None and abs(number) >= _EXACT for number in found):
            self._floats = None
        if self._floats is not None:
            fresh = np.array([np.nan if n is None else n for n in found], np.float64)
            self._floats = np.append(self._floats, fresh)

    def _add(self, text: str) -> int:
        value = field_of(json.loads(text), self._name)
        key, count = json.dumps(value, sort_keys=True), len(self._values)
        number = self._numbers.setdefault(key, count)
        if number == count:
            self._values.append(value)
        return number

    def mask(self, wanted: FieldFilter) -> Mask:
        """Mark the metadata with a value that meets a condition."""
        passed: Mask = self._passed(wanted)[self._of]
        return passed

    def _passed(self, wanted: FieldFilter) -> Mask:
        """Mark the values that meet a condition; the usual conditions without a loop."""
        need, values, floats = wanted.need, self._values, self._floats
        if isinstance(need, str):
            same: Mask = np.arange(len(values)) == self._numbers.get(json.dumps(need), -1)
            return same
        if need and isinstance(need, dict) and need.keys() <= ORDERS.keys() and floats is not None:
            bounds = {name: number_of(bound) for name, bound in need.items()}
            if all(b is not None and abs(b) < _EXACT for b in bounds.values()):
                within: Mask = np.logical_and.reduce(
                    [ORDERS[name](floats, bound) for name, bound in bounds.items()]
                )
                if any(isinstance(bound, str) for bound in need.values()):  # texts compare too
                    others = np.flatnonzero(np.isnan(floats))
                    within[others] = [wanted.test(values[number]) for number in others]
                return within
        return np.array([wanted.test(value) for value in values], np.bool_)
