"""Consolidation in the background: each user some time after they last said something."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial

from langchain_kronvex.consolidation.owner_run import OUT_OF_CALLS, OwnerRun, RunOptions
from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.errors import KronvexError, MemoryClosed
from langchain_kronvex.memory.engine import Engine

logger = logging.getLogger("langchain_kronvex")

DEFAULT_AFTER_SECONDS = 30.0
SWEEP_SECONDS = 60.0  # from one look for what other workers have left to the next


class BackgroundConsolidation:
    """Runs consolidations in a thread, one after the other.

    Args:
        engine: The memory.
        options: How users are consolidated.
        waiting: Returns the users who have something to consolidate.

    Attributes:
        sweep_seconds: How often to look for users whom other workers have left.
    """

    def __init__(
        self, engine: Engine, options: RunOptions, waiting: Callable[[], list[str]]
    ) -> None:
        self._engine, self._options, self._waiting = engine, options, waiting
        self.sweep_seconds = SWEEP_SECONDS
        self._after_seconds = DEFAULT_AFTER_SECONDS
        self._woken: dict[str, float] = {}  # when each user last said something
        self._lock = threading.Lock()
        self._is_flushing = False
        self._stopped: threading.Event | None = None
        self._writer: BackgroundWriter | None = None

    def start(self, after_seconds: float = DEFAULT_AFTER_SECONDS) -> None:
        """Start, or change the time."""
        self._after_seconds = after_seconds
        with self._lock:
            if self._writer is not None or self._engine.closing.is_set():
                return
            self._stopped = threading.Event()
            self._writer = BackgroundWriter(
                backoff_seconds=1.0, longest_pause_seconds=300.0,
                on_error=self._engine.settings.on_error,
            )  # fmt: skip
            self._engine.further_writers.append(self._writer)
            sweeping = (weakref.ref(self), self._writer, self._stopped)
            name = "langchain-kronvex-consolidation"
            threading.Thread(target=_sweep, args=sweeping, name=name, daemon=True).start()

    def wake(self, owner: str) -> None:
        """Consolidate a user soon."""
        if self._writer is None:
            self.start(self._after_seconds)
        self._woken[owner] = time.monotonic()
        self._submit(owner, self._after_seconds)

    def flush(self, timeout: float | None) -> bool:
        """Consolidate all who wait, without a pause."""
        writer = self._writer
        if writer is None:
            return True
        self._is_flushing = True
        try:
            return writer.flush(timeout)
        finally:
            self._is_flushing = False

    def stop(self, timeout: float | None) -> None:
        """End the thread after the batch under way."""
        with self._lock:
            writer, stopped = self._writer, self._stopped
            self._writer = self._stopped = None
        if writer is not None and stopped is not None:
            stopped.set()
            writer.discard(lambda lane: True, timeout)
            writer.close(0)

    def sweep(self) -> None:
        """Wake the users who wait for a consolidation."""
        if self._engine.closing.is_set():
            self.stop(0)
            return
        try:
            for owner in self._waiting():  # those that wait here already stay as they are
                self._woken.setdefault(owner, time.monotonic())
                self._submit(owner, self._after_seconds)
        except (KronvexError, OSError) as error:  # the next one may succeed
            logger.warning("looking for users to consolidate failed: %s", type(error).__name__)

    def _submit(self, owner: str, delay_seconds: float) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            lane = ("consolidation", owner)
            writer.submit(lane, partial(self._run, owner), once=True, delay_seconds=delay_seconds)
        except MemoryClosed:
            logger.debug("consolidation was stopped")

    def _run(self, owner: str) -> None:
        writer = self._writer
        if writer is None or self._engine.closing.is_set():
            return
        woken = self._woken.get(owner, 0.0)
        left = woken + self._after_seconds - time.monotonic()
        if left > 0 and not self._is_flushing:
            self._submit(owner, left)
            return
        run = OwnerRun(
            self._engine, self._options, owner,
            is_ending=lambda: self._writer is not writer or self._engine.closing.is_set(),
        )  # fmt: skip
        report = run.complete()
        if report.stopped == OUT_OF_CALLS and not self._is_flushing:
            self._submit(owner, max(run.seconds_to_wait, self._after_seconds))
        elif self._woken.get(owner) == woken:  # if others work on the user, the next sweep tells
            self._woken.pop(owner, None)


def _sweep(
    of: weakref.ref[BackgroundConsolidation], writer: BackgroundWriter, stopped: threading.Event
) -> None:
    while background := of():
        background.sweep()
        seconds = background.sweep_seconds
        del background  # the memory is closed when nobody uses it any more
        if stopped.wait(seconds):
            return
    writer.close(0)
