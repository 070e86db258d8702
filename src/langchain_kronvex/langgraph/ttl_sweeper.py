"""Sweeping now and then: a thread that removes what has expired, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from langchain_kronvex.core.errors import InvalidInput, MemoryClosed, described
from langchain_kronvex.core.fork_safety import ForkAware

logger = logging.getLogger("langchain_kronvex")
_DEFAULT_MINUTES = 5.0  # as in LangGraph's stores


class TtlSweeper(ForkAware):
    """Calls a method of an object in a daemon thread, for as long as the object lives.

    A forked child starts without: its parent goes on.

    Args:
        sweep: Returns how much it removed. The object is not kept alive by this.
    """

    def __init__(self, sweep: Callable[[], int]) -> None:
        self._sweep = weakref.WeakMethod(sweep)
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start without a thread."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._future: Future[None] = Future()

    def start(self, minutes: float | None) -> Future[None]:
        """Sweep every so many minutes; return what is done at the end, and can be cancelled.

        Raises:
            InvalidInput: the interval does not fit.
        """
        seconds = _seconds(minutes)
        with self._lock:
            if self._thread and self._thread.is_alive() and not self._stop.is_set():
                return self._future
            self._stop, self._future = threading.Event(), Future()
            self._future.add_done_callback(_stopping(self._stop))
            self._thread = threading.Thread(
                target=_work,
                args=(self._sweep, seconds, self._stop, self._future),
                name="langchain-kronvex-sweeper",
                daemon=True,
            )
            weakref.finalize(self, self._stop.set)
            self._thread.start()
            return self._future

    def stop(self, timeout: float | None) -> bool:
        """End the thread; False when `timeout` seconds were not enough for a sweep under way."""
        with self._lock:
            thread = self._thread
            self._stop.set()
        if thread and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True


def _stopping(stop: threading.Event) -> Callable[[Future[None]], None]:
    return lambda future: stop.set()


def _work(
    method: weakref.WeakMethod[Callable[[], int]],
    seconds: float,
    stop: threading.Event,
    future: Future[None],
) -> None:
    while not stop.wait(seconds) and (sweep := method()) is not None:
        try:
            sweep()
        except MemoryClosed:
            break
        except Exception as error:  # noqa: BLE001 - the next sweep may succeed
            logger.warning("sweeping what has expired failed: %s", described(error))
        del sweep  # while it waits, the thread keeps nothing alive
    with suppress(InvalidStateError):  # it was cancelled
        future.set_result(None)


def _seconds(minutes: object) -> float:
    if minutes is None:
        return _DEFAULT_MINUTES * 60
    fits = isinstance(minutes, int | float) and not isinstance(minutes, bool)
    if not fits or not 0 < float(minutes) * 60 <= threading.TIMEOUT_MAX:  # type: ignore[arg-type]
        raise InvalidInput(
            f"sweep_interval_minutes must be a number of minutes above 0, not {minutes!r}."
        )
    return float(minutes) * 60  # type: ignore[arg-type]
