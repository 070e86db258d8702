"""Arrays that grow."""

from __future__ import annotations

import numpy as np

from langchain_kronvex.recall.arrays import Column, Table


def test_a_column_grows_with_its_fill_value_and_keeps_what_it_holds() -> None:
    column = Column(np.int32, fill=-1)
    assert len(column.values) == 0
    for size in (1, 2, 63, 64, 65, 1000):
        column.grow(size)
        assert len(column.values) == size
        assert column.values[size - 1] == -1
        column.values[size - 1] = size
    assert [column.values[size - 1] for size in (1, 2, 63, 64, 65, 1000)] == [
        1, 2, 63, 64, 65, 1000,
    ]  # fmt: skip
    assert (column.values == -1).sum() == 1000 - 6


def test_a_column_never_shrinks() -> None:
    column = Column(np.float32)
    column.grow(10)
    column.values[:] = 7
    column.grow(3)
    column.grow(10)
    assert column.values.tolist() == [7] * 10


def test_growing_one_by_one_seldom_copies() -> None:
    column = Column(np.int64)
    rooms = set()
    for size in range(1, 5000):
        column.grow(size)
        rooms.add(column.nbytes)
    assert len(rooms) < 15
    assert 5000 * 8 <= column.nbytes <= 4 * 5000 * 8


def test_a_column_may_hold_rows_of_numbers() -> None:
    column = Column(np.float32, 3)
    column.grow(2)
    column.values[1] = [1, 2, 3]
    column.grow(100)
    assert column.values.shape == (100, 3)
    assert column.values[1].tolist() == [1, 2, 3]
    assert column.values[99].tolist() == [0, 0, 0]


def test_a_table_keeps_its_columns_of_one_length() -> None:
    table = Table({"a": Column(np.int32), "b": Column(np.int32, 2, fill=-1)})
    assert len(table) == 0
    first = table.extend(2)
    assert (first.start, first.stop) == (0, 2)
    table["a"][first] = [10, 11]
    second = table.extend(100)
    assert (second.start, second.stop) == (2, 102)
    assert len(table) == len(table["a"]) == len(table["b"]) == 102
    assert table["a"][:3].tolist() == [10, 11, 0]
    assert table["b"][101].tolist() == [-1, -1]
    assert table.nbytes >= 102 * 12
    table["a"][5] = 5
    assert table["a"][5] == 5


def test_extending_by_nothing_is_nothing() -> None:
    table = Table({"a": Column(np.int32)})
    table.extend(0)
    assert len(table) == 0
