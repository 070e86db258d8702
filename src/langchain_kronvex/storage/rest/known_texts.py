"""Which texts a wire session is known to hold, and in which of our sessions each.

A server sees one session where we see several of one user, and may take the same text in two of
them for one memory. Knowing of both in time, they are sent so that they differ.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from langchain_kronvex.storage.backend import Record
from langchain_kronvex.storage.rest.envelope import wire_session

_MOST_TEXTS = 200_000


class KnownTexts:
    """Keys by wire session. Not complete for sessions that were never listed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions_of: dict[str, dict[str, set[str]]] = {}
        self._listed: set[str] = set()
        self._count = 0

    def add(self, records: Iterable[Record]) -> None:
        """Take note of records."""
        with self._lock:
            if self._count > _MOST_TEXTS:
                self._clear()
            for record in records:
                keys = self._sessions_of.setdefault(wire_session(record.kind, record.scope), {})
                keys.setdefault(record.key, set()).add(record.scope.session_id or "")
                self._count += 1

    def listed(self, session: str) -> None:
        """Take note that all of a wire session was added."""
        with self._lock:
            self._listed.add(session)

    def is_new(self, record: Record) -> bool:
        """Tell for sure that a text is nowhere in its wire session."""
        session = wire_session(record.kind, record.scope)
        return session in self._listed and not self._sessions_of.get(session, {}).get(record.key)

    def is_elsewhere(self, record: Record) -> bool:
        """Tell whether a text is known to be in another session of the same user."""
        keys = self._sessions_of.get(wire_session(record.kind, record.scope), {})
        return bool(keys.get(record.key, set()) - {record.scope.session_id or ""})

    def forget(self, session: str | None = None) -> None:
        """Know nothing of a wire session, or of all."""
        with self._lock:
            if session is None:
                self._clear()
            self._listed.discard(session or "")

    def _clear(self) -> None:
        self._sessions_of, self._listed, self._count = {}, set(), 0
