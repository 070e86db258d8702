"""Memories under keys, each of an owner: replaced, listed, found and erased, as plans.

This is what a store of documents is made of. A memory here has a text by which it is found, or
none, and whatever else there is to it stands in its metadata. Unlike the verbs of users these give
records, whose times and keys such a store needs, and they count no access.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from langchain_core.embeddings import Embeddings

from langchain_kronvex import embedder
from langchain_kronvex.backends.base import Match, Page, Record, Selection
from langchain_kronvex.checks import MAX_CONTENT_CHARS
from langchain_kronvex.errors import InvalidInput, MemoryNotFound
from langchain_kronvex.opening import OpenMemory
from langchain_kronvex.plans import Plan, call
from langchain_kronvex.recalling import Wanted
from langchain_kronvex.short_names import short_name
from langchain_kronvex.types import Scope

_SESSION = "keyed"  # with both ids a key is looked up in the store's index
_FOUND = "semantic"
_NOT_FOUND = "context"  # a type that no search here asks for
_NO_TEXT = "-"


class KeyedMemories:
    """The keyed memories of one agent, of which it has no others.

    Args:
        memory: Where they are kept.
    """

    def __init__(self, memory: OpenMemory) -> None:
        self._memory = memory
        self._backend = memory._backend

    @property
    def embeddings(self) -> Embeddings | None:
        """What the memories are found by besides their words."""
        model = self._memory._model.current
        return None if model is None else model.embeddings

    def now(self) -> datetime:
        """Return the time by the memory's clock."""
        return self._memory._clock()

    def find(self, owner: str, keys: Iterable[str]) -> Plan[list[Record]]:
        """Return the memories with these keys, as far as there are any."""
        chosen = _select(owner, keys)
        found: list[Record] = yield call(self._backend, "find", chosen, Page(), self.now())
        return found

    def newest(self, owner: str | None, limit: int | None, offset: int) -> Plan[list[Record]]:
        """Return a page of the memories of an owner, or of all, the last written first."""
        scope = None if owner is None else Scope(owner, _SESSION)
        page = Page(newest_first=True, limit=limit, offset=offset)
        chosen = Selection(kind="memory", scope=scope)
        found: list[Record] = yield call(self._backend, "find", chosen, page, self.now())
        return found

    def matches(self, owner: str, query: str, limit: int) -> Plan[list[Match]]:
        """Return the best matches of an owner, most similar first."""
        wanted = Wanted(query=query, scope=Scope(owner), top_k=limit, memory_type=_FOUND)
        return (yield from self._memory._recaller.matches(wanted))

    def owners(self, beginning: str) -> Plan[list[str]]:
        """Return the owners whose names begin with a text."""
        found: list[str] = yield call(self._backend, "owners", beginning, self.now())
        return found

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        deleted: Mapping[str, Sequence[str]],
    ) -> Plan[None]:
        """Store memories in the place of those with their keys; delete others, by owner and key.

        All of it is done in one step, or nothing. Of what is deleted, no byte is left soon.
        """
        chosen = [_select(owner, keys) for owner, keys in deleted.items()]
        if records or chosen:
            model = self._memory._model.current
            yield from embedder.put(self._backend, model, records, now, chosen)
            if records:
                self._memory.embed_soon(model)
            if chosen:
                self._memory.erase_soon()

    def change(self, record: Record) -> Plan[None]:
        """Write the expiry of a memory that was read, unless it was replaced or erased since."""
        try:
            yield call(self._backend, "change", record, self.now())
        except (MemoryNotFound, InvalidInput):
            return

    def purge(self) -> int:
        """Remove what has expired; return how much."""
        return self._backend.purge(self.now())


def keyed_memory(
    owner: str,
    key: str,
    text: str,
    metadata: Mapping[str, Any],
    now: datetime,
    expires_at: datetime | None,
) -> Record:
    """Return the record of a memory; without a text it is found by its key alone."""
    sayable = text.replace("\0", " ").encode("utf-8", "replace").decode()[:MAX_CONTENT_CHARS]
    found = bool(sayable.strip())
    return Record(
        kind="memory", id=uuid.uuid4().hex, scope=Scope(owner, _SESSION), key=short_name(key),
        type=_FOUND if found else _NOT_FOUND, content=sayable if found else _NO_TEXT,
        metadata=metadata, created_at=now, expires_at=expires_at,
    )  # fmt: skip


def _select(owner: str, keys: Iterable[str]) -> Selection:
    short = tuple(short_name(key) for key in keys)
    return Selection(kind="memory", scope=Scope(owner, _SESSION), keys=short)
