"""Texts stored under keys, in a namespace of a memory: read, replaced and erased.

They are stored as items, which no verb of `KronvexMemory` shows. Callers choose the text format.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.records import Record, Replacement, Scope, Selection
from langchain_kronvex.memory.engine import Engine

_SESSION = "key-value"
_KEY = "key"  # in the metadata: the full text of a long key


class KeyedValues:
    """The items of one namespace.

    Args:
        engine: The engine of the memory that keeps them.
        namespace: Matched exactly; a namespace never sees the keys of another.

    Raises:
        InvalidInput: the namespace does not fit.
    """

    def __init__(self, engine: Engine, namespace: str) -> None:
        self._engine = engine
        self._place = Scope(checks.check_id(namespace, "namespace"), _SESSION)

    def find(self, keys: Iterable[str] | None = None) -> dict[str, Record]:
        """Return the existing items by key: those of some keys, or all."""
        chosen = self._select(keys)
        found = [] if chosen.keys == () else self._engine.find(chosen)
        return {record.metadata.get(_KEY, record.key): record for record in found}

    def put(
        self,
        contents: Mapping[str, str],
        expires_at: datetime | None,
        expected: Sequence[str | None] | None = None,
    ) -> bool:
        """Store texts, all or none; return False if the texts there were not those `expected`."""
        if not contents:
            return True
        now = self._engine.clock()
        records = [self._record(key, content, now, expires_at) for key, content in contents.items()]
        return self._engine.backend.put(Replacement(records, expected=expected), now)

    def delete(self, keys: Iterable[str]) -> int:
        """Erase items permanently; return how many there were."""
        chosen = self._select(keys)
        return self._engine.delete(chosen) if chosen.keys else 0

    def _select(self, keys: Iterable[str] | None) -> Selection:
        short = None if keys is None else tuple(checks.short_name(check_key(key)) for key in keys)
        return Selection(kind="item", scope=self._place, keys=short)

    def _record(self, key: str, content: str, now: datetime, expires_at: datetime | None) -> Record:
        short = checks.short_name(check_key(key))
        return Record(
            kind="item", id=uuid.uuid4().hex, scope=self._place, key=short, type=_SESSION,
            content=content, metadata={} if short == key else {_KEY: key},
            created_at=now, expires_at=expires_at,
        )  # fmt: skip


def check_key(value: object) -> str:
    """Return a key: text of any length that can be stored and is not blank.

    Raises:
        InvalidInput: the key is not such a text.
    """
    return checks.check_content(value, "key")
