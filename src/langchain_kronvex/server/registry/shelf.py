"""Where the server keeps what is no memory: a shelf of items, by the verbs of any backend.

Items are records of a kind of their own, under an agent id that no request can name: an agent's
id is one segment of a path and so never holds a slash.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.types import Scope
from langchain_kronvex.storage.backend import MemoryBackend, Page, Record, Selection
from langchain_kronvex.storage.sqlite.backend import SqliteBackend

SERVER_AGENT = "langchain-kronvex/server"
_KNOWN = 1000  # answers
_Known = tuple[object, dict[tuple[tuple[str, ...] | None, int | None], list[Record]]]


class Shelf:
    """Items of one type, each found by a key that is unique on the shelf.

    Args:
        backend: Of the agent `SERVER_AGENT`.
        name: Tells shelves apart.
        clock: Tells the time.

    Attributes:
        is_at_hand: Looking an item up takes less than changing to another thread.
    """

    def __init__(self, backend: MemoryBackend, name: str, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._name = name
        self._clock = clock
        self._place = Scope(name, name)  # with both ids a key is looked up in the store's index
        self._known: _Known = (None, {})
        self.is_at_hand = _version(backend) is not None

    def put(self, key: str, content: str, metadata: Mapping[str, Any]) -> Record:
        """Add an item; when the key is taken, the one there is returned with its own content."""
        now = self._clock()
        item = Record(
            kind="item",
            id=uuid.uuid4().hex,
            scope=self._place,
            key=key,
            type=self._name,
            content=content,
            metadata=metadata,
            created_at=now,
        )
        return self._backend.add([item], now)[0]

    def find(self, key: str) -> Record | None:
        """Return the item with this key, as it is now."""
        found = self._remembered((key,), None)
        return found[0] if found else None

    def all(self) -> Sequence[Record]:
        """Return every item, newest first."""
        return self._all()

    def is_empty(self) -> bool:
        """Tell whether there is no item."""
        return not self._remembered(None, 1)

    def change(self, item: Record) -> None:
        """Write the metadata of an item."""
        self._backend.change(item, self._clock())

    def rewrite(self, item: Record, content: str) -> None:
        """Write the content of an item."""
        self._backend.add([replace(item, content=content, completes=True)], self._clock())

    def remove(self, item: Record) -> None:
        """Erase an item."""
        chosen = Selection(kind="item", scope=self._place, ids=(item.id,))
        self._backend.delete(chosen, self._clock())

    def _remembered(self, keys: tuple[str, ...] | None, limit: int | None) -> list[Record]:
        """Ask the store, unless nothing at all was written since the same was asked.

        Items stand in the way of every request. Whether somebody wrote, in whatever process, is
        known far sooner than what.
        """
        version = _version(self._backend)
        if version is None:
            return self._all(keys=keys, limit=limit)
        known_at, known = self._known
        if known_at != version or len(known) > _KNOWN:
            known = {}
            self._known = version, known
        if (keys, limit) not in known:
            known[keys, limit] = self._all(keys=keys, limit=limit)
        return known[keys, limit]

    def _all(
        self, *, keys: tuple[str, ...] | None = None, limit: int | None = None
    ) -> list[Record]:
        chosen = Selection(kind="item", scope=self._place, keys=keys)
        return self._backend.find(chosen, Page(newest_first=True, limit=limit), self._clock())


def _version(backend: MemoryBackend) -> object | None:
    """Return what changes with every write to the store; None when only asking can tell."""
    return backend.version() if isinstance(backend, SqliteBackend) else None
