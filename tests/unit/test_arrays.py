"""Arrays that grow."""

from __future__ import annotations

import numpy as np

from inside import Column, Layout, Table


def test_a_table_grows_with_its_fill_values_and_keeps_its_rows() -> None:
    table = Table(Layout(a=Column(np.int32), b=Column(np.int32, (2,), fill=-1)))
    sizes = (1, 2, 63, 64, 65, 1000)
    for size in sizes:
        added = table.extend(size - len(table))
        assert (added.stop, len(table), len(table["a"]), len(table["b"])) == (size,) * 4
        assert (table["a"][size - 1], table["b"][size - 1].tolist()) == (0, [-1, -1])
        table["a"][size - 1] = size
    assert [table["a"][size - 1] for size in sizes] == list(sizes)
    assert (table["b"] == -1).all()
    assert np.count_nonzero(table["a"]) == len(sizes)


def test_growing_one_by_one_seldom_copies() -> None:
    table = Table(Layout(a=Column(np.int64)))
    rooms = set()
    for _ in range(5000):
        table.extend(1)
        rooms.add(table.nbytes)
    assert len(rooms) < 20
    assert 5000 * 8 <= table.nbytes <= 4 * 5000 * 8


def test_extending_by_zero_rows_changes_nothing() -> None:
    table = Table(Layout(a=Column(np.int32)))
    table.extend(0)
    assert len(table) == 0
