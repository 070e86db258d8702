"""What a memory does in the background: counting accesses, and erasing what was deleted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.storage.backend import MemoryBackend

_GATHER_SECONDS = 0.5
_ERASE_AFTER_SECONDS = 0.5
_REST = 20  # times as long as the last erasing took: others cannot write meanwhile


class AccessCounter(ForkAware):
    """Counts what recall returns: in RAM at once, in the store a little later."""

    def __init__(self, backend: MemoryBackend, writer: BackgroundWriter) -> None:
        self._backend, self._writer = backend, writer
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start from nothing: what was counted before is the parent's to store."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, ids: Iterable[str]) -> None:
        """Note one access of each id, unless a server does; never waits and never fails."""
        if self._backend.is_service:
            return
        with self._lock:
            self._counts.update(ids)
        self._writer.submit("accesses", self._store, once=True, delay_seconds=_GATHER_SECONDS)

    def uncounted(self, id_: str) -> int:
        """Return the accesses of an id that the store does not know yet."""
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


class Eraser:
    """Erases from the files what was deleted, many deletions at once.

    It rewrites the file, so it comes a little later, and the larger the file the later.
    """

    def __init__(
        self, backend: MemoryBackend, writer: BackgroundWriter, clock: Callable[[], datetime]
    ) -> None:
        self._backend, self._writer, self._clock = backend, writer, clock
        self._pause_seconds = _ERASE_AFTER_SECONDS

    def wake(self) -> None:
        """Erase in the background; cheap to call after every deletion."""
        self._writer.submit("erasing", self._erase, once=True, delay_seconds=self._pause_seconds)

    def _erase(self) -> None:
        began = time.monotonic()
        self._backend.finish_erasing(self._clock())
        took = time.monotonic() - began
        self._pause_seconds = max(_ERASE_AFTER_SECONDS, took * _REST)
