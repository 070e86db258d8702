"""What each key asked for today (UTC), counted in RAM since the server started."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import date
from typing import Literal

Call = Literal["recalls", "stores", "injects"]


class Usage:
    """Counts calls by key; only the current day is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._day: date | None = None
        self._calls: Counter[tuple[str, Call]] = Counter()

    def count(self, owner: str, call: Call, today: date, times: int = 1) -> None:
        """Note calls of a key."""
        with self._lock:
            self._turn_to(today)
            self._calls[owner, call] += times

    def of(self, owner: str, today: date) -> dict[Call, int]:
        """Return the calls of a key."""
        with self._lock:
            self._turn_to(today)
            return {
                "recalls": self._calls[owner, "recalls"],
                "stores": self._calls[owner, "stores"],
                "injects": self._calls[owner, "injects"],
            }

    def _turn_to(self, today: date) -> None:
        if today != self._day:
            self._day = today
            self._calls.clear()
