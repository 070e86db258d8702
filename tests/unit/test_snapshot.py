"""Snapshots of an index: it finds the same as before, whatever comes later, or nothing is read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inside import IndexRow, Names, ScopeIndex, Snapshot, read_snapshot

from .conversations import (
    NOW,
    VECTOR,
    WAYS,
    answers,
    asked,
    built,
    conversations,
    row,
    search,
)

ABOUT = {"of": "ana"}


def bytes_of(index: ScopeIndex, *, spare: bool = False) -> np.ndarray:
    return whole(Snapshot.of(index, ABOUT, spare=spare))


def whole(made: Snapshot) -> np.ndarray:
    return np.frombuffer(bytearray(b"".join(made.blocks())), np.uint8)


def again(index: ScopeIndex, *, spare: bool = False) -> ScopeIndex:
    found = read_snapshot(bytes_of(index, spare=spare))
    assert found is not None
    assert found[0] == ABOUT
    return found[1]


def changed(data: st.DataObject, rows: list[IndexRow]) -> list[IndexRow]:
    """Draw what later writes do to memories: new expiry, metadata, end, vector, longer reply."""
    found = []
    for each in data.draw(st.lists(st.sampled_from(rows), unique_by=lambda row: row.seq)):
        fields = data.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "expires": st.sampled_from([NOW - 1, NOW + 1]),
                    "true_until": st.just(NOW - 5),
                    "metadata": st.sampled_from(['{"a": 1}', '{"a": "b"}']),
                    "vector": VECTOR,
                    "reply": st.just(f"{each.reply} cello tea tea".strip()),
                },
            )
        )
        if each.reply == "" and each.form.name != "EXCHANGE":
            fields.pop("reply", None)
        found.append(replace(each, **fields))
    return sorted(found, key=lambda row: row.seq)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), vector=VECTOR)
def test_a_snapshot_and_later_rows_find_exactly_what_a_new_index_finds(
    way: str, data: st.DataObject, vector: np.ndarray
) -> None:
    rows = data.draw(conversations())
    spare = data.draw(st.booleans())
    latest = {each.seq: each for each in rows}
    index, start = ScopeIndex(), 0
    while start < len(rows):
        end = data.draw(st.integers(start + 1, len(rows)))
        batch = changed(data, [latest[each.seq] for each in rows[:start]]) if start else []
        latest |= {each.seq: each for each in batch}
        index.apply([*batch, *rows[start:end]])
        start = end
        if data.draw(st.booleans()):
            answers(index, vector, way)
        if data.draw(st.booleans()):
            index = again(index, spare=spare)
    index = again(index, spare=spare)
    assert answers(index, vector, way) == answers(built([*latest.values()]), vector, way)


def test_an_empty_index_and_one_without_vectors() -> None:
    assert len(again(ScopeIndex())) == 0
    index = again(built([row(1, "tea")]))
    index.apply([row(2, "tea", vector=np.full(16, 0.25, np.float32))])
    whole = built([row(1, "tea")], [row(2, "tea", vector=np.full(16, 0.25, np.float32))])
    assert answers(index, None) == answers(whole, None)


def test_what_is_damaged_is_not_read() -> None:
    good = bytes_of(built([row(n, f"tea and cello {n}") for n in range(1, 90)]), spare=True)
    assert read_snapshot(good.copy()) is not None
    for size in (0, 7, 40, 4096, len(good) // 2, len(good) - 1):
        assert read_snapshot(good[:size].copy()) is None
    draw = np.random.default_rng(7)
    for place in [*draw.integers(0, len(good), 150).tolist(), 0, len(good) - 1]:
        bad = good.copy()
        bad[place] ^= 1 << int(draw.integers(0, 8))
        assert read_snapshot(bad) is None, place
    swapped = np.concatenate([good[4096:8192], good[:4096], good[8192:]])
    assert read_snapshot(swapped) is None
    assert read_snapshot(np.zeros(10_000, np.uint8)) is None


def test_what_other_code_wrote_is_not_read() -> None:
    made = Snapshot.of(built([row(1, "tea")]), ABOUT, spare=False)
    assert read_snapshot(whole(made)) is not None
    for header in ({"fingerprint": "0"}, {"places": {}}, {"facts": {}}):
        other = replace(made, header=made.header | header)
        assert read_snapshot(whole(other)) is None


def test_free_room_holds_zeros() -> None:
    index = built([row(n, "secret tea") for n in range(1, 60)])
    made = Snapshot.of(index, ABOUT, spare=True)
    start, size = made.header["places"]["memories"]
    table = whole(made)[start : start + size]
    capacity = size * len(index) // sum(piece.nbytes for piece in index.table.pieces(0))
    years = table[: 8 * capacity].view(np.int64)  # the first column
    assert capacity > len(index)
    assert not years[len(index) :].any()
    assert json.dumps(made.header)  # no object that JSON has not


def test_an_index_that_was_read_takes_in_more_without_copying() -> None:
    index = again(built([row(n, f"tea {n}") for n in range(1, 100)]), spare=True)
    size = index.table.nbytes
    index.apply([row(n, f"tea {n}") for n in range(100, 105)])
    assert index.table.nbytes == size
    assert len(search(index, asked("tea", limit=200)).seqs) == 104


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.text(max_size=5), max_size=80), max_size=4), st.booleans())
def test_names_are_numbered_in_the_order_of_adding(
    batches: list[list[str]], all_at_once: bool
) -> None:
    names, expected = Names(), dict[str, int]()
    for batch in batches:
        known = [expected.setdefault(text, len(expected)) for text in batch]
        assert list(names.numbers(batch) if all_at_once else map(names.number, batch)) == known
        names.pack()
        parts = {name: np.concatenate(arrays) for name, arrays in names.parts("x").items()}
        names = Names.read({name: part.view(np.uint8) for name, part in parts.items()}, "x")
        assert list(names.after(0)) == list(expected)
        assert all(names.get(text) == number for text, number in expected.items())
        assert names.get("never added") == -1


def test_many_names_are_found() -> None:
    texts = [f"{number:x}" for number in range(70_000)]  # so many need four bytes for their places
    names = Names()
    assert list(names.numbers(texts)) == list(range(70_000))
    names.pack()
    assert [names.get(text) for text in texts] == list(range(70_000))
    assert list(names.after(0)) == texts
