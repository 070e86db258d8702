"""Some memories of an index, seen as if they were all."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.recall.index_view import IndexView
from langchain_kronvex.recall.postings import Entries

from .conversations import NOW, built, conversations, row


def entries(*places: int) -> Entries:
    return Entries(
        np.arange(len(places)), np.array(places, np.int32), np.ones(len(places), np.float32)
    )


@settings(deadline=None)
@given(conversations(vectors=st.none()), st.data())
def test_slots_stand_for_places(rows: list[IndexRow], data: st.DataObject) -> None:
    index = built(rows)
    chosen = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1).map(sorted))
    view = IndexView(index, np.array(chosen), NOW)
    slots = np.arange(len(chosen))
    assert len(view) == len(chosen)
    assert view.placed(slots).tolist() == chosen
    assert view.seqs(slots) == [rows[place].seq for place in chosen]
    assert view.column("first_word").tolist() == index.table["first_word"][chosen].tolist()
    for slot, place in enumerate(chosen):
        expected = [
            chosen.index(n) if n in chosen else -1 for n in index.table["neighbours"][place]
        ]
        assert view.neighbours[slot].tolist() == expected


@settings(deadline=None)
@given(conversations(vectors=st.none()), st.data())
def test_only_what_is_inside_and_not_expired_counts(
    rows: list[IndexRow], data: st.DataObject
) -> None:
    index = built(rows)
    everything = list(range(len(rows)))
    chosen = data.draw(st.none() | st.sets(st.sampled_from(everything), min_size=1).map(sorted))
    view = IndexView(index, None if chosen is None else np.array(chosen), NOW)
    found = view.inside(entries(*everything))
    inside = everything if chosen is None else chosen
    assert view.placed(found.place).tolist() == [n for n in inside if rows[n].expires > NOW]
    assert found.row.tolist() == view.placed(found.place).tolist()


@settings(deadline=None)
@given(conversations(vectors=st.none()), st.data())
def test_turns_stand_in_their_conversations(rows: list[IndexRow], data: st.DataObject) -> None:
    index = built(rows)
    chosen = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1).map(sorted))
    of_place = index.table["conversation"]
    for places in (None, np.array(chosen)):
        view = IndexView(index, places, NOW)
        order = view.conversation_order()
        found = view.placed(order.places).tolist()
        inside = range(len(rows)) if places is None else chosen
        assert sorted(found) == [n for n in inside if of_place[n] >= 0]
        sessions = [
            of_place[found[start : start + size]].tolist()
            for start, size in zip(order.starts, order.sizes, strict=True)
        ]
        assert all(len(set(session)) == 1 for session in sessions)
        assert [session[0] for session in sessions] == sorted({of_place[n] for n in found})
        assert sum(map(len, sessions)) == len(found)


def test_all_memories_are_a_view_of_their_own() -> None:
    index = built([row(n, f"tea {n}") for n in range(5)])
    view = IndexView(index, None, NOW)
    assert len(view) == 5
    assert view.placed(np.array([3, 1])).tolist() == [3, 1]
    assert np.array_equal(view.neighbours, index.table["neighbours"])
