"""The indexes of the owners used last, within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from langchain_kronvex.recall.index import ScopeIndex

_ENTRY_BYTES = 6_144  # the size of an empty entry

State = tuple[int, int, int]


@dataclass(slots=True)
class CachedIndex:
    """An index with the state of the store it was read at; `lock` guards both.

    Attributes:
        state: The number of the scope in the store, 0 for none; its generation, which changes when
            records vanish and the index must be read anew; the last write the index contains.
        checked: The version of the store at which the index was up to date, and the model of
            its vectors.
        index: The index.
        lock: Held while the index is searched or changed.
        loading: Held while the index is read from the store, where that takes several steps.
    """

    state: State = (0, 0, 0)
    checked: tuple[tuple[int, int] | None, str | None] = (None, None)
    index: ScopeIndex = field(default_factory=ScopeIndex)
    lock: threading.Lock = field(default_factory=threading.Lock)
    loading: threading.Lock = field(default_factory=threading.Lock)


class IndexCache:
    """Keeps indexes by owner; the ones not used for longest go when it exceeds `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, CachedIndex] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._lock = threading.Lock()

    def entry(self, owner: str) -> CachedIndex:
        """Return the owner's entry, an empty one when there is none."""
        with self._lock:
            entry = self._entries.get(owner)
            if entry is None:
                entry = self._entries[owner] = CachedIndex()
                self._resize(owner, _ENTRY_BYTES)
                self._evict()
            self._entries.move_to_end(owner)
            return entry

    def drop(self, *owners: str) -> None:
        """Forget the indexes of owners."""
        with self._lock:
            for owner in owners:
                self._entries.pop(owner, None)
                self._resize(owner, 0)

    def shrink(self, owner: str) -> None:
        """Measure an owner's changed index and drop others until all fit, but not the last used."""
        with self._lock:
            entry = self._entries.get(owner)
            if entry is not None:
                self._resize(owner, entry.index.nbytes + _ENTRY_BYTES)
            self._evict()

    def _evict(self) -> None:
        while self._total > self._max_bytes and len(self._entries) > 1:
            dropped, _ = self._entries.popitem(last=False)
            self._resize(dropped, 0)

    def _resize(self, owner: str, size: int) -> None:
        self._total += size - self._sizes.pop(owner, 0)
        if size:
            self._sizes[owner] = size
