"""The outbox: writes on disk until the server has them.

A write is acknowledged once it is in the outbox. There is one SQLite file for each server, agent
and API key (`files.py`), readable by its owner alone. Several processes may share it; only the one
that holds `sending` sends.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from langchain_kronvex.core.errors import ErasurePending, StoreBusy
from langchain_kronvex.storage.client_envelope import VersionedRecord, wire_session
from langchain_kronvex.storage.rest.envelope import from_payload, to_payload
from langchain_kronvex.storage.sqlite.file import AgentConnection, Schema, SqliteFile

MAX_BYTES = 256 << 20
_ROOM_PAUSE_SECONDS = 0.05
_LOCK_PAUSE_SECONDS = 0.02
_SCHEMA = Schema("langchain_kronvex.storage.rest.outbox", "entries")
_COLUMNS = "place, session, payload, tries, failed"
_INSERT = "INSERT INTO entries (owner, session, record, payload, tries) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be sent.

    Attributes:
        place: Its place in the order of sending.
        session: The server's session; entries of one session are sent in order.
        stored: The record.
        tries: How often sending it was begun before.
        failed: Why the server refused it for good; None while it is to be sent.
    """

    place: int
    session: str
    stored: VersionedRecord
    tries: int
    failed: str | None


class Outbox:
    """The entries of one server, agent and API key.

    Args:
        path: The file; None for RAM.
        timeout: Seconds to wait for other processes, and for room.
        max_entries: How many entries may wait to be sent.
        read_only: Only look at it; nothing is sent from here.
    """

    def __init__(
        self,
        path: Path | None,
        timeout: float,
        *,
        max_entries: int = 10_000,
        read_only: bool = False,
    ) -> None:
        self._timeout, self._max_entries, self.is_read_only = timeout, max_entries, read_only
        self._file = SqliteFile(path, timeout, _SCHEMA, read_only=read_only)
        self._lock_path = Path(f"{path}.lock")
        self._senders: set[sqlite3.Connection] = set()

    # -- filling -------------------------------------------------------------------------------

    def put(self, records: Sequence[VersionedRecord], tries: Sequence[int] | None = None) -> None:
        """Store records to be sent, all or none; wait for room.

        Args:
            records: The records.
            tries: How often sending each was begun before; if it was, the server may have it.

        Raises:
            StoreBusy: there was no room in time; nothing was stored.
        """
        begun = tries or [0] * len(records)
        rows = [(*_cells(stored), times) for stored, times in zip(records, begun, strict=True)]

        def put(connection: sqlite3.Connection) -> bool:
            count, size = connection.execute(
                "SELECT count(*), coalesce(sum(length(payload)), 0) FROM entries "
                "WHERE failed IS NULL"
            ).fetchone()
            size += sum(len(payload) for *_, payload, _ in rows)
            if count and (count + len(rows) > self._max_entries or size > MAX_BYTES):
                return False
            connection.executemany(_INSERT, rows)
            return True

        room = partial(self._file.in_transaction, put)
        if not is_true_within(self._timeout, room, _ROOM_PAUSE_SECONDS):
            raise StoreBusy(
                "The outbox is full: the server has not been reached for a long time. Nothing "
                "was stored; try again when the server is back."
            )

    # -- reading -------------------------------------------------------------------------------

    def waiting(self, owners: Sequence[str] | None = None) -> list[Entry]:
        """Return the entries of owners, or all, in order; including those that were refused."""
        return self._entries(*_of_owners(owners))

    def refused(self) -> list[Entry]:
        """Return the entries that the server refused for good."""
        return self._entries("failed IS NOT NULL")

    def _entries(
        self, condition: str, parameters: Sequence[Any] = (), limit: int = -1
    ) -> list[Entry]:
        sql = f"SELECT {_COLUMNS} FROM entries WHERE {condition} ORDER BY place LIMIT {limit}"
        return [
            Entry(place, session, from_payload(json.loads(payload)), tries, failed)
            for place, session, payload, tries, failed in self._file.read(sql, parameters)
        ]

    def records(self, owners: Sequence[str] | None = None) -> list[VersionedRecord]:
        """Return the records of `waiting`."""
        return [entry.stored for entry in self.waiting(owners)]

    def unsent(self, owners: Sequence[str] | None = None) -> int:
        """Return how many entries are still to be sent."""
        condition, parameters = _of_owners(owners)
        sql = f"SELECT count(*) FROM entries WHERE failed IS NULL AND {condition}"
        return int(self._file.read(sql, parameters)[0][0])

    # -- sending -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def sending(self, *, patiently: bool = False) -> Iterator[None]:
        """Hold the right to send, which one process has at a time.

        The lock is SQLite's own, on a file beside the outbox: it ends with the process.

        Args:
            patiently: Wait for the process that is sending, at most for the timeout.

        Raises:
            StoreBusy: another process is sending.
        """
        connection = sqlite3.connect(
            self._lock_path, timeout=0, isolation_level=None, check_same_thread=False
        )
        self._senders.add(connection)
        try:
            self._lock_path.chmod(0o600)
            seconds, lock = self._timeout if patiently else 0.0, partial(_lock, connection)
            if not is_true_within(seconds, lock, _LOCK_PAUSE_SECONDS):
                raise StoreBusy("Another process is sending what is in the outbox; try again.")
            yield
        finally:
            self._senders.discard(connection)
            connection.close()

    def next(self, after: int, skipped: Sequence[str]) -> Entry | None:
        """Return the first entry to be sent after a place, skipping some sessions."""
        condition = "failed IS NULL AND place > ? AND session NOT IN "
        condition += "(SELECT value FROM json_each(?))"
        found = self._entries(condition, (after, json.dumps(list(skipped))), limit=1)
        return found[0] if found else None

    def begin(self, entry: Entry) -> bool:
        """Note that an entry may reach the server from now on; return False if it is gone."""
        sql = "UPDATE entries SET tries = tries + 1 WHERE place = ?"
        return self._execute(sql, entry.place) == 1

    def sent(self, entry: Entry) -> None:
        """Remove an entry that the server has."""
        self._execute("DELETE FROM entries WHERE place = ?", entry.place)

    def refuse(self, entry: Entry, reason: str) -> None:
        """Keep an entry as refused: it is not sent again, and still found on this machine."""
        self._execute("UPDATE entries SET failed = ? WHERE place = ?", reason, entry.place)

    def resend(self, places: Sequence[int]) -> int:
        """Let refused entries be sent again; return how many."""
        sql = "UPDATE entries SET failed = NULL WHERE failed IS NOT NULL AND place IN "
        return self._execute(f"{sql}(SELECT value FROM json_each(?))", json.dumps(list(places)))

    def _execute(self, sql: str, *parameters: Any) -> int:
        """Run one statement; return how many entries it changed."""
        return self._file.in_transaction(lambda db: db.execute(sql, parameters).rowcount)

    # -- erasing -------------------------------------------------------------------------------

    def erase(self, places: Sequence[int]) -> None:
        """Remove entries; their bytes go now, if nobody else uses the file, or at the next call."""

        def erase(connection: AgentConnection) -> None:
            connection.execute(
                "DELETE FROM entries WHERE place IN (SELECT value FROM json_each(?))",
                (json.dumps(list(places)),),
            )
            connection.mark("erasing")

        self._file.in_transaction(erase)
        with contextlib.suppress(ErasurePending):
            self.finish_erasing()

    def finish_erasing(self) -> None:
        """Leave no byte of entries that were removed or sent.

        Raises:
            ErasurePending: another process uses the file.
        """
        self._file.erase_freed()

    # -- settings ------------------------------------------------------------------------------

    def setting(self, name: str, default: str | None = None) -> str | None:
        """Return a value that was noted; note the default if there is none."""
        if default is not None:
            self._execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", name, default)
        rows = self._file.read("SELECT value FROM settings WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def note(self, name: str, value: str) -> None:
        """Note a value, unless nothing is to be written."""
        if self.is_read_only:
            return
        self._execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)

    def close(self) -> None:
        """Close the file. A request that still hangs no longer keeps others from sending."""
        for connection in list(self._senders):
            connection.close()
        self._file.close()


def _of_owners(owners: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    """Return the SQL condition for the entries of owners, or of all, and its parameters."""
    if owners is None:
        return "TRUE", ()
    return "owner IN (SELECT value FROM json_each(?))", (json.dumps(list(owners)),)


def _cells(stored: VersionedRecord) -> tuple[str, str, str, str]:
    """Return owner, session, id and payload of an entry."""
    record, payload = stored.record, json.dumps(to_payload(stored))
    return record.scope.owner, wire_session(record.kind, record.scope), record.id, payload


def is_true_within(seconds: float, ask: Callable[[], bool], pause: float) -> bool:
    """Ask repeatedly, with pauses, until the answer is yes; return False if time runs out."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(pause)
    return answer


def _lock(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True
