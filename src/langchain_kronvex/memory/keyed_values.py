"""Texts under keys, in a namespace of a memory: read, replaced and erased.

They are items, so no verb of users sees them. What the texts hold is their caller's affair.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import short_name
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.storage.backend import Record, Selection

_SESSION = "key-value"
_KEY = "key"  # in the metadata: the whole of a long key


class KeyedItems:
    """The items of one namespace.

    Args:
        engine: Of the memory that keeps them.
        namespace: Matched exactly; no namespace sees another.

    Raises:
        InvalidInput: the namespace does not fit.
    """

    def __init__(self, engine: Engine, namespace: str) -> None:
        self._engine = engine
        self._place = Scope(checks.check_id(namespace, "namespace"), _SESSION)

    def now(self) -> datetime:
        """Return the time by the memory's clock."""
        return self._engine.clock()

    def find(self, keys: Iterable[str] | None = None) -> dict[str, Record]:
        """Return the items there are, of some keys or all, by key."""
        chosen = self._select(keys)
        if chosen.keys == ():
            return {}
        found = self._engine.find(chosen)
        return {key_of(record): record for record in found}

    def put(
        self,
        contents: Mapping[str, str],
        expires_at: datetime | None,
        expected: Sequence[str | None] | None = None,
    ) -> bool:
        """Store texts, all or none; False when others were there than `expected`."""
        if not contents:
            return True
        now = self.now()
        records = [self._record(key, content, now, expires_at) for key, content in contents.items()]
        return bool(self._engine.backend.put(records, now, expected=expected))

    def delete(self, keys: Iterable[str]) -> int:
        """Erase items for good; return how many there were."""
        chosen = self._select(keys)
        if not chosen.keys:
            return 0
        count = self._engine.backend.delete(chosen, self.now())
        return count

    def _select(self, keys: Iterable[str] | None) -> Selection:
        short = None if keys is None else tuple(short_name(check_key(key)) for key in keys)
        return Selection(kind="item", scope=self._place, keys=short)

    def _record(self, key: str, content: str, now: datetime, expires_at: datetime | None) -> Record:
        short = short_name(check_key(key))
        metadata: dict[str, Any] = {} if short == key else {_KEY: key}
        return Record(
            kind="item", id=uuid.uuid4().hex, scope=self._place, key=short, type=_SESSION,
            content=content, metadata=metadata, created_at=now, expires_at=expires_at,
        )  # fmt: skip


def key_of(record: Record) -> str:
    """Return the key under which an item was stored."""
    key: str = record.metadata.get(_KEY, record.key)
    return key


def check_key(value: object) -> str:
    """Return a key: a text that is not blank and can be stored, of any length.

    Raises:
        InvalidInput: it is not.
    """
    return checks.check_content(value, "key")
