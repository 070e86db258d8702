"""What is to be sent to a server, on disk until the server has it.

An entry is acknowledged when it is here. One SQLite file, of its owner alone, for each server,
agent and API key (`outbox_places.py`); several processes may share it, and only the one that holds
`sending` sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_kronvex.core.errors import StoreBusy, StoreUnavailable
from langchain_kronvex.storage.rest.envelope import Stored, from_payload, to_payload, wire_session
from langchain_kronvex.storage.sqlite.file import Schema, SqliteFile

MAX_ENTRIES = 10_000
MAX_BYTES = 256 << 20
_ROOM_PAUSE_SECONDS = 0.05
_LOCK_PAUSE_SECONDS = 0.02
_SCHEMA = Schema("langchain_kronvex.storage.rest.outbox", "entries")
_COLUMNS = "place, session, record, payload, tries, failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be sent; `tries` counts the times that it was begun before."""

    place: int
    session: str
    stored: Stored
    tries: int
    failed: str | None


class Outbox:
    """The entries of one server, agent and API key.

    Args:
        path: The file.
        identity: Whose they are; a file of others is refused. None for whatever it is.
        timeout: Seconds to wait for other processes, and for room.
    """

    def __init__(self, path: Path, identity: str | None, timeout: float) -> None:
        self._timeout = timeout
        self._file = SqliteFile(path, timeout, _SCHEMA)
        self._lock_path = Path(f"{path}.lock")
        if identity is not None and self.setting("identity", identity) != identity:
            self._file.close()
            raise StoreUnavailable(
                f"{path} is the outbox of another server or agent, or of another API key. Choose "
                "another path."
            )

    # -- filling -------------------------------------------------------------------------------

    def put(self, records: Sequence[Stored], tries: Sequence[int] | None = None) -> None:
        """Take records in, all or none; wait for room.

        Args:
            records: What is to be sent.
            tries: How often each was begun before; a record that was may be on the server.

        Raises:
            StoreBusy: no room came; nothing was taken in.
        """
        payloads = [json.dumps(to_payload(stored)) for stored in records]
        deadline = time.monotonic() + self._timeout
        while not self._try_put(records, payloads, tries or [0] * len(records)):
            if time.monotonic() > deadline:
                raise StoreBusy(
                    "The outbox is full: the server has not been reached for long. Nothing was "
                    "stored; try again when the server is back."
                )
            time.sleep(_ROOM_PAUSE_SECONDS)

    async def aput(self, records: Sequence[Stored]) -> None:
        """Twin of `put`."""
        await asyncio.to_thread(self.put, records)

    def _try_put(
        self, records: Sequence[Stored], payloads: Sequence[str], tries: Sequence[int]
    ) -> bool:
        with self._file.transaction() as connection:
            count, size = connection.execute(
                "SELECT count(*), coalesce(sum(length(payload)), 0) FROM entries "
                "WHERE failed IS NULL"
            ).fetchone()
            if count and (
                count + len(records) > MAX_ENTRIES or size + sum(map(len, payloads)) > MAX_BYTES
            ):
                return False
            connection.executemany(
                "INSERT INTO entries (owner, session, record, payload, tries) "
                "VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        stored.record.scope.owner,
                        wire_session(stored.record.kind, stored.record.scope),
                        stored.record.id,
                        payload,
                        begun,
                    )
                    for stored, payload, begun in zip(records, payloads, tries, strict=True)
                ],
            )
        return True

    # -- reading -------------------------------------------------------------------------------

    def waiting(self, owners: Sequence[str] | None = None) -> list[Entry]:
        """Return the entries of owners, or all, in order; also those that were set aside."""
        condition = "" if owners is None else "WHERE owner IN (SELECT value FROM json_each(?))"
        parameters = () if owners is None else (json.dumps(list(owners)),)
        found = self._file.read(
            f"SELECT {_COLUMNS} FROM entries {condition} ORDER BY place", parameters
        )
        return [_entry(row) for row in found]

    def unsent(self, owners: Sequence[str] | None = None) -> int:
        """Return how many entries are still to be sent."""
        condition = "" if owners is None else "AND owner IN (SELECT value FROM json_each(?))"
        parameters = () if owners is None else (json.dumps(list(owners)),)
        sql = f"SELECT count(*) FROM entries WHERE failed IS NULL {condition}"
        return int(self._file.read(sql, parameters)[0][0])

    def set_aside(self) -> int:
        """Return how many entries were set aside."""
        return int(self._file.read("SELECT count(*) FROM entries WHERE failed IS NOT NULL")[0][0])

    # -- sending -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def sending(self, timeout: float = 0.0) -> Iterator[bool]:
        """Be the only one, of all processes, who sends; yields False when another one is.

        The lock is SQLite's own, on a file beside: it goes with the process, however that ends.
        """
        deadline = time.monotonic() + timeout
        connection = sqlite3.connect(
            self._lock_path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._lock_path.chmod(0o600)
            while not _lock(connection):
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(_LOCK_PAUSE_SECONDS)
            yield True
        finally:
            connection.close()

    def next(self, after: int, passing: Sequence[str]) -> Entry | None:
        """Return the first entry to be sent after a place, passing over some sessions."""
        found = self._file.read(
            f"SELECT {_COLUMNS} FROM entries WHERE failed IS NULL AND place > ? "
            "AND session NOT IN (SELECT value FROM json_each(?)) ORDER BY place LIMIT 1",
            (after, json.dumps(list(passing))),
        )
        return _entry(found[0]) if found else None

    def begin(self, entry: Entry) -> bool:
        """Note that an entry may reach the server from now on; False when it is gone."""
        with self._file.transaction() as connection:
            return (
                connection.execute(
                    "UPDATE entries SET tries = tries + 1 WHERE place = ?", (entry.place,)
                ).rowcount
                == 1
            )

    def sent(self, entry: Entry) -> None:
        """Let go of an entry that the server has."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM entries WHERE place = ?", (entry.place,))

    def fail(self, entry: Entry, reason: str) -> None:
        """Set an entry aside: it is not sent again, and still found on this machine."""
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE entries SET failed = ? WHERE place = ?", (reason, entry.place)
            )

    def resend(self, places: Sequence[int]) -> int:
        """Let entries that were set aside be sent after all; return how many."""
        with self._file.transaction() as connection:
            return connection.execute(
                "UPDATE entries SET failed = NULL WHERE failed IS NOT NULL "
                "AND place IN (SELECT value FROM json_each(?))",
                (json.dumps(list(places)),),
            ).rowcount

    # -- erasing -------------------------------------------------------------------------------

    def erase(self, places: Sequence[int]) -> None:
        """Remove entries so that no byte of them is left, nor of any that were sent before."""
        with self._file.transaction() as connection:
            connection.execute(
                "DELETE FROM entries WHERE place IN (SELECT value FROM json_each(?))",
                (json.dumps(list(places)),),
            )
            connection.mark("erasing")
        self._file.erase_freed()

    # -- settings ------------------------------------------------------------------------------

    def setting(self, name: str, default: str | None = None) -> str | None:
        """Return what was noted; notes the default where there is nothing yet."""
        with self._file.transaction() as connection:
            if default is not None:
                connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
            row = connection.execute(
                "SELECT value FROM settings WHERE name = ?", (name,)
            ).fetchone()
            return row[0] if row else None

    def note(self, name: str, value: str | None) -> None:
        """Note a value; None takes the note away."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM settings WHERE name = ?", (name,))
            if value is not None:
                connection.execute("INSERT INTO settings VALUES (?, ?)", (name, value))

    def size_bytes(self) -> int | None:
        """Return what the outbox takes on disk."""
        return self._file.size_bytes()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _entry(row: Sequence[Any]) -> Entry:
    place, session, _, payload, tries, failed = row
    return Entry(place, session, from_payload(json.loads(payload)), tries, failed)


def _lock(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True
