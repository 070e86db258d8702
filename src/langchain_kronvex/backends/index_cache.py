"""The indexes of the owners used last, within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from langchain_kronvex.index import ScopeIndex


@dataclass(slots=True)
class CachedIndex:
    """An index with the state of the store it was read at; `lock` guards all of it.

    Attributes:
        state: Number of the scope in the store, 0 for none; its generation, which changes when
            records vanish and the index must be read anew; the last write that was taken in.
        checked: Version of the store at which all of it was seen to be up to date, and the model
            that its vectors were seen to be of.
    """

    state: tuple[int, int, int] = (0, 0, 0)
    checked: tuple[tuple[int, int] | None, str | None] = (None, None)
    index: ScopeIndex = field(default_factory=ScopeIndex)
    lock: threading.Lock = field(default_factory=threading.Lock)


class IndexCache:
    """Keeps indexes by owner; lets go of the ones not used for longest when over `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, CachedIndex] = OrderedDict()
        self._lock = threading.Lock()

    def entry(self, owner: str) -> CachedIndex:
        """Return the owner's entry, an empty one when there is none."""
        with self._lock:
            entry = self._entries.get(owner)
            if entry is None:
                entry = self._entries[owner] = CachedIndex()
            self._entries.move_to_end(owner)
            return entry

    def drop(self, owner: str) -> None:
        """Forget an owner's index."""
        with self._lock:
            self._entries.pop(owner, None)

    def shrink(self) -> None:
        """Let go of indexes until the rest fits; the last used one always stays."""
        with self._lock:
            total = sum(entry.index.nbytes for entry in self._entries.values())
            while total > self._max_bytes and len(self._entries) > 1:
                _, dropped = self._entries.popitem(last=False)
                total -= dropped.index.nbytes
