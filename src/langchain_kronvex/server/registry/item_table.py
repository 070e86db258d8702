"""Key-value tables for the server's own data (agents, API keys), in the store of the memories.

Items are records of a kind of their own. Their agent id holds a slash, so no request can name it:
the id of an agent is one segment of a path.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.types import Scope
from langchain_kronvex.storage.backend import MemoryBackend, Page, Record, Selection

SERVER_AGENT = "langchain-kronvex/server"
_CACHED = 1000  # lookups
_Cache = tuple[object, dict[tuple[str, ...] | None, list[Record]]]


class ItemTable:
    """Items of one type, each found by a key that is unique in the table.

    Args:
        backend: Of the agent `SERVER_AGENT`.
        name: Of the table.
        clock: Returns the time.

    Attributes:
        is_fast: A lookup takes less time than changing to another thread.
    """

    def __init__(self, backend: MemoryBackend, name: str, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._name = name
        self._clock = clock
        self._place = Scope(name, name)  # with both ids a key is looked up in the store's index
        self._cache: _Cache = (None, {})
        self.is_fast = backend.version() is not None

    def put(self, key: str, content: str, metadata: Mapping[str, Any]) -> Record:
        """Add an item; if the key is taken, return the existing item unchanged."""
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
        found = self._read((key,))
        return found[0] if found else None

    def all(self) -> Sequence[Record]:
        """Return every item, newest first."""
        return self._read()

    def change(self, item: Record) -> None:
        """Write the content and the metadata of an item."""
        self._backend.add([replace(item, completes=True)], self._clock())

    def remove(self, key: str) -> None:
        """Erase an item."""
        chosen = Selection(kind="item", scope=self._place, keys=(key,))
        self._backend.delete(chosen, self._clock())

    def _read(self, keys: tuple[str, ...] | None = None) -> list[Record]:
        """Return the items with some keys, or all of them, newest first.

        Every request needs items, so they are cached until anything is written to the store. Asking
        the store whether any process has written is much faster than reading the items.
        """
        version = self._backend.version()
        if version is None or self._cache[0] != version or len(self._cache[1]) > _CACHED:
            self._cache = version, {}
        found = self._cache[1]
        if keys not in found:
            chosen = Selection(kind="item", scope=self._place, keys=keys)
            found[keys] = self._backend.find(chosen, Page(newest_first=True), self._clock())
        return found[keys]
