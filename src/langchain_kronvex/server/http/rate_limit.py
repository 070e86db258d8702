"""How often a key may ask: a sliding window, so that what the headers say is exact."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request may go on, and what the caller is told."""

    allowed: bool
    limit: int
    remaining: int
    retry_after: int

    def headers(self) -> dict[str, str]:
        """Return the `X-RateLimit-*` headers, and `Retry-After` for a refused request."""
        told = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Window": str(int(WINDOW_SECONDS)),
        }
        return told if self.allowed else {**told, "Retry-After": str(self.retry_after)}


class RateLimiter:
    """Allows each key `limit` requests in any 60 seconds; refused ones do not count.

    Args:
        limit: Requests per minute.
        clock: Seconds that never go back; for tests.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._times: dict[str, deque[float]] = {}

    def ask(self, key: str) -> Allowance:
        """Count a request of a key, if it is allowed."""
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(key, deque())
            while times and now - times[0] >= WINDOW_SECONDS:
                times.popleft()
            allowed = len(times) < self._limit
            if allowed:
                times.append(now)
            wait = WINDOW_SECONDS - (now - times[0]) if times else 0.0
            return Allowance(allowed, self._limit, self._limit - len(times), math.ceil(wait))
