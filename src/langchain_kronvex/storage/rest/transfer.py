"""Moving house with a Kronvex server: read out and stored by the verbs that its API has.

What the API has no word for does not move: access counts and vectors are the server's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from langchain_kronvex.core.types import Scope
from langchain_kronvex.storage.backend import MemoryBackend, Page, Record, Selection, moved_id


class RemoteTransfer(MemoryBackend):
    """The verbs of a backend by which records move, made of others."""

    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """See `MemoryBackend.export_page`: all that there is, since a server lists everything."""
        if after:
            return []
        scope = None if owner is None else Scope(owner or None)
        found = self.find(Selection(kind=None, scope=scope), Page(), now)
        return list(enumerate(found, 1))

    def restore(self, records: Sequence[Record], now: datetime, model: str | None = None) -> int:
        """See `MemoryBackend.restore`; nobody else must be writing the same records meanwhile."""
        there = {record.id: record for record in self.find(_EVERYTHING, Page(), now)}
        places = {_place(record): record for record in there.values()}
        new, fresh = [], 0
        for given in records:
            record = given
            while record.id in there and _place(there[record.id])[:3] != _place(record)[:3]:
                record = replace(record, id=moved_id(record, self.location))
            if record.id in there:
                continue
            older = places.get(_place(record))
            if older is not None and older.content != record.content:
                if older.created_at >= record.created_at:
                    continue
                record = replace(record, id=older.id, completes=True)
                fresh += 1
            elif older is None:
                fresh += 1
            there[record.id] = places[_place(record)] = record
            new.append(record)
        self.add(new, now)
        return fresh


_EVERYTHING = Selection(kind=None, scope=None)


def _place(record: Record) -> tuple[str, str, str, str]:
    return (record.kind, record.scope.owner, record.scope.session_id or "", record.key)
