"""What can go wrong with PostgreSQL: what is worth another attempt, and our errors for the rest.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import random
import re
import time

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from langchain_kronvex.core.errors import MemoryClosed, StoreBusy, StoreError, StoreUnavailable

_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock: the other one has won
# Shut down, crashed, starting, full; idle for too long, also in a transaction; a long transaction.
_COMING_BACK = ("57P01", "57P02", "57P03", "53300", "57P05", "25P03", "25P04")
_CANCELLED, _LOCKED = "57014", "55P03"
_NO_REACH = "KX001"  # of ours, see 002_statistics.sql
_FULL, _FULLY = "53300", re.compile("too many (connections|clients)|connection slots are reserved")
_PREPARED = ("26000", "42P05")  # unknown, or known already
_BUSY = {
    _CANCELLED: "a statement took longer than allowed and was cancelled",
    _LOCKED: "another worker kept memories of the same user locked for longer than allowed, or "
    "somebody a whole table",
    **dict.fromkeys(_CONFLICTS, "other workers kept changing the same memories"),
}
_AGAIN = {
    _CANCELLED: "Try again, or allow more time (timeout_seconds, or statement_timeout_seconds of "
    "PostgresOptions).",
    _LOCKED: "Try again, or allow more time (timeout_seconds).",
    **dict.fromkeys(_CONFLICTS, "Try again."),
}
_LONGEST_PAUSE_SECONDS = 1.0


class Attempts:
    """One piece of work's attempts: how long to wait for the next one, or why there is none.

    Args:
        location: Of the store, for messages.
        patience_seconds: How long to go on trying.
    """

    def __init__(self, location: str, patience_seconds: float) -> None:
        self._location = location
        self._patience = patience_seconds
        self._deadline = time.monotonic() + patience_seconds
        self._failures = 0

    def seconds_left(self) -> float:
        """Return how long to go on; never quite nothing, which would mean for ever."""
        return max(self._deadline - time.monotonic(), 0.001)

    def pause_after(self, error: Exception) -> float:
        """Return seconds to wait before the next attempt.

        Raises:
            StoreError: another attempt would be in vain, or the time is up.
        """
        pause = min(0.01 * 2**self._failures, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1)  # noqa: S311
        self._failures += 1
        if not is_passing(error) or time.monotonic() + pause > self._deadline:
            raise translated(error, self._location, self._patience) from error
        return 0.0 if self._failures == 1 else pause


def is_passing(error: Exception) -> bool:
    """Tell whether the same work may succeed when it is run again."""
    if isinstance(error, (PoolTimeout, PoolClosed, TooManyRequests)):
        return False
    return is_lost(error) or getattr(error, "sqlstate", None) in _CONFLICTS


def is_full(error: Exception) -> bool:
    """Tell whether the server refused one more connection, for which libpq gives no code."""
    code = getattr(error, "sqlstate", None)
    return code == _FULL or (
        code is None
        and isinstance(error, psycopg.OperationalError)
        and bool(_FULLY.search(str(error)))
    )


def is_lost(error: Exception) -> bool:
    """Tell whether the connection is gone, or the server not there for a while."""
    code: str | None = getattr(error, "sqlstate", None)
    if code is None:
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, OSError))
    return code.startswith("08") or code in _COMING_BACK


def lacks_reach(error: Exception) -> bool:
    """Tell whether row-level security refused a transaction that does not say what it reaches."""
    diagnostic = getattr(error, "diag", None)
    return diagnostic is not None and diagnostic.sqlstate == _NO_REACH


def translated(error: Exception, location: str, patience_seconds: float) -> Exception:
    """Return our own error for one of the driver's or the pool's."""
    said = _first_line(error)
    if isinstance(error, PoolClosed):
        return MemoryClosed()
    busy = _busy(error, location, patience_seconds)
    if busy is not None:
        return busy
    code = getattr(error, "sqlstate", None)
    if code is not None and code.startswith("53"):
        return StoreUnavailable(
            f"{location}: the server has run out of a resource ({said}). Nothing was stored; make "
            "room, then try again."
        )
    if code in ("42501", "25006"):
        return StoreUnavailable(
            f"{location} cannot be written or read with this role ({said}). Grant it the rights "
            "that the documentation lists, or choose another server."
        )
    if is_lost(error):
        return StoreUnavailable(
            f"{location} cannot be reached ({said}). Check that the server runs, and the host, "
            "port, database, user and password of the URL."
        )
    if code in _PREPARED:
        return StoreError(
            f"{location}: a pooler gave a statement to a connection that does not know it "
            f"({said}). Say PostgresOptions(prepared_statements=False)."
        )
    return StoreError(f"{location}: PostgreSQL failed ({type(error).__name__}, {code}).")


def _busy(error: Exception, location: str, patience_seconds: float) -> StoreBusy | None:
    """Return our error where the store may serve the same call a little later."""
    said = _first_line(error)
    if isinstance(error, (PoolTimeout, TooManyRequests)):
        return StoreBusy(
            f"{location}: no connection became free within {patience_seconds:g} s ({said}). All "
            "are in use, or the server cannot be reached. Allow more connections (max_connections "
            "of PostgresOptions, or your pool's own limit), or more time (timeout_seconds)."
        )
    code = getattr(error, "sqlstate", None)
    if code in _BUSY:
        return StoreBusy(f"{location}: {_BUSY[code]} ({said}). {_AGAIN[code]}")
    if is_full(error):
        return StoreBusy(
            f"{location}: the server gives out no more connections ({said}). Allow fewer here "
            "(max_connections of PostgresOptions), or more there."
        )
    return None


def _first_line(error: Exception) -> str:
    """Return what the server said, without the details, which may quote what was stored."""
    diagnostic = getattr(error, "diag", None)
    said = diagnostic.message_primary if diagnostic is not None else None
    return said or (str(error).strip() or type(error).__name__).splitlines()[0]
