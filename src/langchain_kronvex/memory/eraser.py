"""Erases deleted records from the store's files, in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.storage.backend import MemoryBackend

_ERASE_AFTER_SECONDS = 0.5
# The pause before the next erasure, in durations of the last: writers have to wait during one.
_PAUSE_FACTOR = 20


class Eraser:
    """Erases many deletions at once.

    Because erasing rewrites the file, it is delayed a little; longer for larger files.

    Attributes:
        pause_seconds: The present delay.
    """

    def __init__(
        self, backend: MemoryBackend, writer: BackgroundWriter, clock: Callable[[], datetime]
    ) -> None:
        self._backend, self._writer, self._clock = backend, writer, clock
        self.pause_seconds = _ERASE_AFTER_SECONDS

    def wake(self) -> None:
        """Erase in the background; cheap enough to call after every deletion."""
        self._writer.submit("erasing", self._erase, once=True, delay_seconds=self.pause_seconds)

    def _erase(self) -> None:
        began = time.monotonic()
        self._backend.finish_erasing(self._clock())
        took = time.monotonic() - began
        self.pause_seconds = max(_ERASE_AFTER_SECONDS, took * _PAUSE_FACTOR)
