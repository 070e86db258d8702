"""How records leave the SQLite store: erased for good, expired, or replaced by a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from langchain_kronvex.storage.backend import Selection
from langchain_kronvex.storage.index_cache import IndexCache
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.vectors import SqliteVectors
from langchain_kronvex.storage.timestamps import to_micros

_EXPIRED = "expires IS NOT NULL AND expires <= ? AND NOT pinned"
_EMPTY = (
    "UPDATE records SET content = '', search_text = NULL, metadata = '{}', vector = NULL, "
    "type = '' WHERE id = ?"
)
_LEAVE = (
    "UPDATE records SET content = '', search_text = NULL, metadata = '{}', vector = NULL, "
    "type = '', key = id, expires = 0, pinned = 0, "
    "revision = (SELECT s.revision FROM scopes AS s WHERE s.scope = records.scope) "
)
_SWEEP_EVERY = 512  # records written or deleted


class SqliteErasing(SqliteVectors):
    """The verbs of a SQLite backend by which records go."""

    _cache: IndexCache

    def delete(self, selection: Selection, now: datetime) -> int:
        """See `MemoryBackend.delete`."""
        condition, parameters = rows.where(selection, self._agent_id)
        chosen = f"seq IN (SELECT r.seq FROM records AS r WHERE {condition})"
        with self._file.transaction() as connection:
            (visible,) = connection.execute(
                f"SELECT count(*) FROM records AS r WHERE {condition} AND {rows.VISIBLE}",
                [*parameters, to_micros(now)],
            ).fetchone()
            owners = connection.execute(
                "UPDATE scopes SET generation = generation + 1 WHERE scope IN "
                f"(SELECT scope FROM records WHERE {chosen}) RETURNING owner",
                parameters,
            ).fetchall()
            deleted = delete_rows(connection, chosen, parameters)
            emptied = connection.execute(
                "DELETE FROM scopes WHERE scope NOT IN (SELECT scope FROM records)"
            ).rowcount
            purged = connection.execute("SELECT 1 FROM settings WHERE name = 'purged'").fetchall()
            if deleted or emptied or purged:
                self._file.mark(connection, "erasing")
        for (owner,) in owners:
            self._cache.drop(owner)
        self._file.erase_freed()
        return int(visible)

    def finish_erasing(self, now: datetime) -> None:
        """See `MemoryBackend.finish_erasing`."""
        ((left,),) = self._file.read("SELECT count(*) FROM records WHERE expires = 0")
        if left >= _SWEEP_EVERY:
            self.purge(now)
        self._file.erase_freed()

    def purge(self, now: datetime) -> int:
        """See `MemoryBackend.purge`."""
        moment = to_micros(now)
        if not self._file.read(f"SELECT 1 FROM records WHERE {_EXPIRED} LIMIT 1", (moment,)):
            return 0
        with self._file.transaction() as connection:
            return self._purge(connection, moment)

    def _purge(self, connection: sqlite3.Connection, moment: int) -> int:
        connection.execute(
            "UPDATE scopes SET generation = generation + 1 "
            f"WHERE scope IN (SELECT scope FROM records WHERE {_EXPIRED})",
            (moment,),
        )
        self._file.mark(connection, "purged")
        return delete_rows(connection, _EXPIRED, [moment])

    # -- giving way ----------------------------------------------------------------------------

    def _leave(self, connection: sqlite3.Connection, selection: Selection) -> None:
        """Leave of the selected records their places alone, as of replaced ones."""
        condition, parameters = rows.where(selection, self._agent_id)
        chosen = f"seq IN (SELECT r.seq FROM records AS r WHERE {condition})"
        owners = connection.execute(
            "UPDATE scopes SET revision = revision + 1 WHERE scope IN "
            f"(SELECT scope FROM records WHERE {chosen})",
            parameters,
        ).rowcount
        if owners:
            _delete_hanging(connection, chosen, parameters)
            connection.execute(f"{_LEAVE} WHERE {chosen}", parameters)
            self._file.mark(connection, "erasing")

    def _vacate(
        self, connection: sqlite3.Connection, deleted: Sequence[Selection], now: datetime
    ) -> list[str]:
        """Forget owners who have nothing left, and the places of what they had; return them."""
        vacant = []
        for owner in {selection.scope.owner for selection in deleted if selection.scope}:
            scope = connection.execute(
                "SELECT scope FROM scopes AS s WHERE agent_id = ? AND owner = ? AND NOT EXISTS "
                f"(SELECT 1 FROM records AS r WHERE r.scope = s.scope AND {rows.VISIBLE})",
                (self._agent_id, owner, to_micros(now)),
            ).fetchone()
            if scope is None:
                continue
            delete_rows(connection, "scope = ?", scope)
            connection.execute("DELETE FROM scopes WHERE scope = ?", scope)
            self._file.mark(connection, "erasing")
            vacant.append(owner)
        return vacant

    def _retire(self, connection: sqlite3.Connection, id_: str, revision: int) -> None:
        """Make a record that gave way to another invisible from now on; it is purged later."""
        connection.execute(
            "UPDATE records SET key = id, expires = 0, pinned = 0, revision = ? WHERE id = ?",
            (revision, id_),
        )

    def _empty(self, connection: sqlite3.Connection, id_: str, revision: int) -> None:
        """Leave of a replaced record its place alone, which indexes in RAM still know."""
        of_id = "seq = (SELECT seq FROM records WHERE id = ?)"
        connection.execute(f"DELETE FROM upcoming_vectors WHERE {of_id}", (id_,))
        connection.execute(_EMPTY, (id_,))
        self._retire(connection, id_, revision)
        self._file.mark(connection, "purged")

    def _sweep(self, connection: sqlite3.Connection, written: int, now: datetime) -> None:
        """Now and then remove what was emptied: it makes every process read its indexes anew."""
        (last,) = connection.execute("SELECT max(seq) FROM records").fetchone()
        if last % _SWEEP_EVERY < written:
            self._purge(connection, to_micros(now))


def delete_rows(connection: sqlite3.Connection, condition: str, parameters: Sequence[Any]) -> int:
    """Delete records, with what hangs on them; return how many."""
    _delete_hanging(connection, condition, parameters)
    return connection.execute(f"DELETE FROM records WHERE {condition}", parameters).rowcount


def _delete_hanging(
    connection: sqlite3.Connection, condition: str, parameters: Sequence[Any]
) -> None:
    of_records = f"SELECT seq FROM records WHERE {condition}"
    for table in ("accesses", "upcoming_vectors"):
        connection.execute(f"DELETE FROM {table} WHERE seq IN ({of_records})", parameters)
