"""Failures of PostgreSQL: which ones are worth another attempt, and our errors for the rest.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import random
import re
import time

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from langchain_kronvex.core.errors import MemoryClosed, StoreBusy, StoreError, StoreUnavailable

# Codes of our own, for errors that have none.
_NO_CONNECTION, _CLOSED, _UNREACHABLE = "no connection", "closed", "08000"
_NO_REACH = "KX001"  # raised by 002_statistics.sql
_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock: the other transaction has won
# A broken connection. Then: shut down, crashed, starting, no more connections. At last: idle for
# too long, also in a transaction; a transaction that took too long.
_LOST = ("08", "57P01", "57P02", "57P03", "53300", "57P05", "25P03", "25P04")
_FULL = re.compile("too many (connections|clients)|connection slots are reserved")
_LONGEST_PAUSE_SECONDS = 1.0


class Attempts:
    """The attempts at one piece of work: how long to wait for the next one.

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
        """Return how long to go on; never 0, which would mean without a limit."""
        return max(self._deadline - time.monotonic(), 0.001)

    def pause_after(self, error: Exception) -> float:
        """Return seconds to wait before the next attempt.

        Raises:
            StoreError: another attempt would fail as well, or the time is up.
        """
        pause = min(0.01 * 2**self._failures, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1)  # noqa: S311
        self._failures += 1
        may_pass = _code(error).startswith((*_LOST, *_CONFLICTS))
        if not may_pass or time.monotonic() + pause > self._deadline:
            raise translated(error, self._location, self._patience) from error
        return 0.0 if self._failures == 1 else pause


def is_lost(error: Exception) -> bool:
    """Return whether the connection is gone, or the server unavailable for a while."""
    return _code(error).startswith(_LOST)


def lacks_reach(error: Exception) -> bool:
    """Return whether row-level security refused a transaction that named no reach."""
    return _code(error) == _NO_REACH


def translated(error: Exception, location: str, patience_seconds: float) -> Exception:
    """Return our own error for one of the driver or the pool."""
    code, said = _code(error), _first_line(error)
    if code == _CLOSED:
        return MemoryClosed()
    for kind, advice in _ADVICE:
        for codes, text in advice.items():
            if code.startswith(codes):
                return kind(f"{location}: {text.format(said=said, patience=patience_seconds)}")
    return StoreError(f"{location}: PostgreSQL failed ({type(error).__name__}, {code}).")


def _code(error: Exception) -> str:
    """Return the SQLSTATE of an error, or the code that stands for it."""
    code = getattr(error, "sqlstate", None)
    if isinstance(code, str):
        return code
    if isinstance(error, PoolClosed):
        return _CLOSED
    if isinstance(error, (PoolTimeout, TooManyRequests)):
        return _NO_CONNECTION
    if _FULL.search(str(error)):
        return "53300"
    is_lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, OSError))
    return _UNREACHABLE if is_lost else ""


def _first_line(error: Exception) -> str:
    """Return what the server said, without the details, which may quote stored texts."""
    diagnostic = getattr(error, "diag", None)
    said = diagnostic.message_primary if diagnostic is not None else None
    return said or (str(error).strip() or type(error).__name__).splitlines()[0]


# What to say and do, by the beginnings of codes; of several, the first applies.
_BUSY = {
    (_NO_CONNECTION,): "no connection became free within {patience:g} s ({said}). All are in use, "
    "or the server cannot be reached. Allow more connections (max_connections of PostgresOptions, "
    "or your pool's own limit), or more time (timeout_seconds).",
    ("57014",): "a statement took longer than allowed and was cancelled ({said}). Try again, or "
    "allow more time (timeout_seconds, or statement_timeout_seconds of PostgresOptions).",
    ("55P03",): "another worker kept memories of the same user locked for longer than allowed, or "
    "a whole table is locked ({said}). Try again, or allow more time (timeout_seconds).",
    _CONFLICTS: "other workers kept changing the same memories ({said}). Try again.",
    ("53300",): "the server allows no more connections ({said}). Allow fewer here "
    "(max_connections of PostgresOptions), or more there.",
}
_UNAVAILABLE = {
    ("53",): "the server has run out of a resource ({said}). Nothing was stored; make room, then "
    "try again.",
    ("42501", "25006"): "this role cannot read or write the store ({said}). Grant it the rights "
    "that the documentation lists, or choose another server.",
    _LOST: "the database cannot be reached ({said}). Check that the server runs, and the host, "
    "port, database, user and password of the URL.",
}
_FAILED = {  # a prepared statement is unknown, or known already
    ("26000", "42P05"): "a pooler sent a prepared statement to a connection that does not know it "
    "({said}). Use PostgresOptions(prepared_statements=False).",
}
_ADVICE = ((StoreBusy, _BUSY), (StoreUnavailable, _UNAVAILABLE), (StoreError, _FAILED))
