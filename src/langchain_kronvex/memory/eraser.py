"""Erasing deleted records from the store's files, in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.storage.backend import MemoryBackend

_ERASE_AFTER_SECONDS = 0.5
_REST = 20  # times the duration of the last erasure, because nobody can write during one


class Eraser:
    """Erases many deletions at once.

    An erasure rewrites the file, so it waits a little; the larger the file, the longer.
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
