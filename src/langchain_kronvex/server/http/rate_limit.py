"""Rate limits: a sliding window for each key, so that the headers are exact."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request is within the limit, and the figures for its headers."""

    allowed: bool
    limit: int
    remaining: int
    retry_after: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the `X-RateLimit-*` headers, and `Retry-After` for a rejected request."""
        values = {
            "x-ratelimit-limit": self.limit,
            "x-ratelimit-remaining": self.remaining,
            "x-ratelimit-window": int(_WINDOW_SECONDS),
            **({} if self.allowed else {"retry-after": self.retry_after}),
        }
        return [(name.encode(), str(value).encode()) for name, value in values.items()]


class RateLimiter:
    """Allows each key `limit` requests in any 60 seconds; rejected ones do not count.

    Args:
        limit: Requests per minute.
        clock: Returns seconds that never go back; for tests.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._times: dict[str, deque[float]] = {}

    def ask(self, key: str) -> Allowance:
        """Count a request of a key, if it is within the limit."""
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(key, deque())
            while times and now - times[0] >= _WINDOW_SECONDS:
                times.popleft()
            allowed = len(times) < self._limit
            if allowed:
                times.append(now)
            wait = _WINDOW_SECONDS - (now - times[0]) if times else 0.0
            return Allowance(allowed, self._limit, self._limit - len(times), math.ceil(wait))
