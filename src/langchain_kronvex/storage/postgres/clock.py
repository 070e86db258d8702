"""The server's time: all workers' clock, whatever the clocks of their machines say."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

_ASK_EVERY_SECONDS = 60.0


def _elapsed() -> float:
    """Return seconds since some moment, those during which the machine slept among them."""
    return time.clock_gettime(_SLEEPLESS) if _SLEEPLESS is not None else time.monotonic()


_SLEEPLESS: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # on Linux


class ServerClock:
    """Goes on from what the server said last; asks again once a minute, in the background.

    The machine's own clock is not looked at. Nobody waits but for the first answer: it may be an
    event loop that asks for the time.

    Args:
        ask: Returns the time there.
    """

    def __init__(self, ask: Callable[[], datetime]) -> None:
        self._ask = ask
        self._told: tuple[datetime, float] | None = None  # a time, and when that was here
        self._next_at = 0.0

    def now(self) -> datetime:
        """Return the time there."""
        if self._told is None:
            self._renew()
        elif _elapsed() >= self._next_at:
            self._next_at = _elapsed() + _ASK_EVERY_SECONDS
            threading.Thread(target=self._try_to_renew, daemon=True).start()
        assert self._told is not None  # noqa: S101 - told by now
        told, at = self._told
        return told + timedelta(seconds=_elapsed() - at)

    def _renew(self) -> None:
        before = _elapsed()
        # A time of a zone with summer time would be reckoned with by the hands of its clocks.
        told = self._ask().astimezone(timezone.utc)
        after = _elapsed()
        self._told = told, (before + after) / 2
        self._next_at = after + _ASK_EVERY_SECONDS

    def _try_to_renew(self) -> None:
        with contextlib.suppress(Exception):  # the next one will succeed; until then it goes on
            self._renew()
