"""A server that says nothing is not waited for without end, not even one that stands still.

A lock that somebody holds is the server's own to time (`lock_timeout`), where a session or a
transaction can be told. What remains is heard here: a connection on which nothing has come back
for too long is given up, whatever keeps it: a backend that is stopped, a network that drops
packets, a lock behind a pooler.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import capabilities
from psycopg.abc import PQGen

Connection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

GRACE_SECONDS = 1.0  # for the server's own word about a lock, and for slow statements


class NoAnswer(psycopg.OperationalError):
    """Nothing came back in time; the connection has been given up."""


@contextmanager
def heard(connection: Connection, seconds: float | None) -> Iterator[None]:
    """Give a connection up when nothing comes back on it for so long, and a moment more.

    Args:
        connection: Of either colour.
        seconds: None for any time.

    Raises:
        NoAnswer: it was given up. What was asked may have been done.
    """
    if seconds is None:
        yield
        return
    wait: Any = connection.wait

    def waiting(gen: PQGen[Any], *arguments: Any, **options: Any) -> Any:
        return wait(_listening(gen, connection, seconds + GRACE_SECONDS), *arguments, **options)

    connection.wait = waiting  # type: ignore[method-assign]
    try:
        yield
    finally:
        del connection.wait


def _listening(gen: PQGen[Any], connection: Connection, seconds: float) -> PQGen[Any]:
    """Pass on what a generator of the driver waits for; it is woken ten times a second."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                deadline = time.monotonic() + seconds
            elif time.monotonic() > deadline:
                _give_up(connection)
                raise NoAnswer(f"nothing came back for {seconds:.3g} s")
            wanted = gen.send(ready)
    except StopIteration as stop:
        return stop.value


def _give_up(connection: Connection) -> None:
    """Close a connection at once; let the server know that nobody waits any more, if it hears."""
    with contextlib.suppress(psycopg.Error):
        tell = (
            connection.pgconn.cancel_conn().blocking
            if capabilities.has_cancel_safe()
            else connection.pgconn.get_cancel().cancel
        )
        threading.Thread(target=_quietly, args=[tell], daemon=True).start()
    connection.pgconn.finish()


def _quietly(tell: Any) -> None:
    with contextlib.suppress(psycopg.Error):
        tell()
