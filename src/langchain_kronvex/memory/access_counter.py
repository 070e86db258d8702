"""Counts accesses of recalled memories: in RAM at once, in the store a little later."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.storage.backend import MemoryBackend

_GATHER_SECONDS = 0.5


class AccessCounter(ForkAware):
    """Counts accesses.

    A forked child starts at zero, because the parent stores the earlier counts.
    """

    def __init__(self, backend: MemoryBackend, writer: BackgroundWriter) -> None:
        self._backend, self._writer = backend, writer
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, ids: Iterable[str]) -> None:
        """Count one access of each id, unless a server does so. This never waits or fails."""
        if self._backend.is_remote:
            return
        with self._lock:
            self._counts.update(ids)
        self._writer.submit("accesses", self._store, once=True, delay_seconds=_GATHER_SECONDS)

    def uncounted(self, id_: str) -> int:
        """Return how many accesses of an id are not stored yet."""
        return self._counts.get(id_, 0)

    def _store(self) -> None:
        with self._lock:
            taken, self._counts = self._counts, Counter()
        try:
            self._backend.count_accesses(taken)
        except BaseException:
            with self._lock:
                self._counts.update(taken)
            raise
