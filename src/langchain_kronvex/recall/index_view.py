"""The memories among which a search chooses: all of them, or the likely ones of very many."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.neighbours import ConversationOrder
from langchain_kronvex.recall.postings import Entries
from langchain_kronvex.recall.ranking import Floats, Form

Places = NDArray[np.intp]


class IndexView:
    """Some memories of an index, numbered from 0: a slot is to the view what a place is to it.

    Args:
        index: Of one owner.
        places: Ascending; None for all memories.
        now: Memories that expired by then lend nothing. Seconds since 1970, UTC.

    Attributes:
        expired: Marks the expired memories; None when there are none.
    """

    def __init__(self, index: ScopeIndex, places: Places | None, now: float) -> None:
        self.index = index
        self.places = places
        self.expired: NDArray[np.bool_] | None = None
        if index.soonest_expiry <= now:
            self.expired = self.column("expires") <= now
        self._slot_of: NDArray[np.int32] | None = None
        if places is not None:
            # The last one is for place -1, no memory.
            self._slot_of = np.full(len(index) + 1, -1, np.int32)
            self._slot_of[places] = np.arange(len(places))

    def __len__(self) -> int:
        return len(self.index) if self.places is None else len(self.places)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the index's table, by slot."""
        return self.of(self.index.table[name])

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of all memories for those of the view, by slot."""
        return values if self.places is None else values.take(self.places, axis=0)

    @cached_property
    def turns(self) -> NDArray[np.bool_] | None:
        """Marks the turns; None when all memories are turns."""
        if self.index.forms == {Form.TURN}:
            return None
        marked: NDArray[np.bool_] = self.column("form") == Form.TURN
        return marked

    def blank_expired(self, values: Floats, blank: float) -> None:
        """Replace the values of expired memories."""
        if self.expired is not None:
            values[self.expired] = blank

    @cached_property
    def neighbours(self) -> NDArray[np.int32]:
        """The column `neighbours` in slots; -1 for no memory, and for those outside the view."""
        near = self.column("neighbours")
        return near if self._slot_of is None else self._slot_of.take(near)

    def inside(self, entries: Entries) -> Entries:
        """Return the entries of memories that are in the view and not expired, by slot."""
        if self._slot_of is not None:
            entries = Entries(entries.row, self._slot_of.take(entries.place), entries.value)
            entries = entries.at(np.flatnonzero(entries.place >= 0))
        if self.expired is not None:
            entries = entries.at(np.flatnonzero(~self.expired[entries.place]))
        return entries

    def placed(self, slots: Places) -> Places:
        """Return the places of slots."""
        return slots if self.places is None else self.places[slots]

    def conversation_order(self) -> ConversationOrder:
        """Return the turns of the view by conversation."""
        if self.places is None:
            return self.index.neighbours.order()
        return ConversationOrder.of(self.column("conversation"))
