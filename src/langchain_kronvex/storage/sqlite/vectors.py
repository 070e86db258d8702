"""The vectors of the SQLite store: whose they are, who has none yet, how all are replaced.

A vector is only ever compared with vectors of the same model; each transaction that writes one
asks first which model the store's are of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import MemoryBackend, Record, Unembedded
from langchain_kronvex.storage.model_check import Model, fits, mismatched, refuse
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.file import SqliteFile
from langchain_kronvex.storage.timestamps import to_micros

_MODEL = "SELECT model, width FROM models WHERE agent_id = ? AND upcoming = ?"
_PUT_MODEL = "INSERT OR REPLACE INTO models (agent_id, upcoming, model, width) VALUES (?, ?, ?, ?)"
_OF_AGENT = "kind = 'memory' AND scope IN (SELECT scope FROM scopes WHERE agent_id = ?)"
_UPCOMING = "SELECT 1 FROM upcoming_vectors AS u WHERE u.seq = r.seq"
_STORE_UPCOMING = (
    "INSERT OR REPLACE INTO upcoming_vectors SELECT seq, ? FROM records "
    f"WHERE id = ? AND {_OF_AGENT}"
)


class SqliteVectors(MemoryBackend):
    """The verbs of a SQLite backend that are about vectors."""

    _file: SqliteFile
    _agent_id: str

    # -- one model -----------------------------------------------------------------------------

    def settle_embeddings(self, model: str, width: int | None) -> int | None:
        """See `MemoryBackend.settle_embeddings`."""
        with self._file.transaction() as connection:
            known = self._model(connection)
            if known and not fits(known, model, width) and self._has_vectors(connection):
                raise mismatched(self.location, known, model, width)
            if known and known[0] == model:
                width = width or known[1]
            connection.execute(_PUT_MODEL, (self._agent_id, 0, model, width))
            return width

    def _model(self, connection: sqlite3.Connection, *, upcoming: bool = False) -> Model | None:
        found: Model | None = connection.execute(_MODEL, (self._agent_id, upcoming)).fetchone()
        return found

    def _is_current(self, connection: sqlite3.Connection, model: str | None) -> bool:
        known = self._model(connection) if model is not None else None
        return known is not None and known[0] == model

    def _models_are(self, model: str) -> bool:
        """Tell whether the store's vectors are of a model."""
        found = self._file.read(_MODEL, (self._agent_id, False))
        return bool(found) and found[0][0] == model

    def _takes(self, connection: sqlite3.Connection, model: str, width: int) -> bool:
        """Tell whether vectors can be stored; their width is that of the store's from now on."""
        known = self._model(connection)
        if known is None or not fits(known, model, width):
            return False
        connection.execute(_PUT_MODEL, (self._agent_id, 0, model, width))
        return True

    def _has_vectors(self, connection: sqlite3.Connection) -> bool:
        return bool(
            connection.execute(
                f"SELECT 1 FROM records WHERE {_OF_AGENT} AND vector IS NOT NULL LIMIT 1",
                (self._agent_id,),
            ).fetchall()
        )

    def _check_model(self, request: RecallRequest) -> None:
        """Refuse a search whose vector cannot be compared with those of the memories."""
        if request.vector is None or request.model is None:
            return
        found = self._file.read(_MODEL, (self._agent_id, False))
        if found and not fits(found[0], request.model, len(request.vector)):
            self._refuse(found[0], request.model, len(request.vector))

    def _refuse(self, known: Model | None, model: str, width: int | None) -> NoReturn:
        refuse(self.location, known, model, width)

    # -- one vector after the other ------------------------------------------------------------

    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """See `MemoryBackend.unembedded`."""
        missing = f"NOT EXISTS ({_UPCOMING})" if upcoming else "r.vector IS NULL"
        # The + keeps SQLite to the order of writing, so that it stops at the limit.
        found = self._file.read(
            "SELECT r.seq, r.id, coalesce(r.search_text, r.content) FROM records AS r "
            "WHERE +r.scope IN (SELECT scope FROM scopes WHERE agent_id = ?) AND r.seq > ? "
            f"AND r.kind = 'memory' AND {missing} AND {rows.VISIBLE} ORDER BY r.seq LIMIT ?",
            (self._agent_id, after, to_micros(now), limit),
        )
        return [Unembedded(*row) for row in found]

    def embed(self, vectors: Mapping[str, Floats], model: str, *, upcoming: bool = False) -> None:
        """See `MemoryBackend.embed`."""
        blobs = {id_: rows.to_blob(vector) for id_, vector in vectors.items()}
        width = next((len(vector) for vector in vectors.values()), 0)
        with self._file.transaction() as connection:
            known = self._model(connection, upcoming=upcoming)
            if known is None or not fits(known, model, width):
                self._refuse(known or self._model(connection), model, width)
            if upcoming:
                connection.executemany(
                    _STORE_UPCOMING, [(blob, id_, self._agent_id) for id_, blob in blobs.items()]
                )
                return
            for id_, blob in blobs.items():
                _store(connection, id_, blob)
            connection.execute(_PUT_MODEL, (self._agent_id, 0, model, width))

    def _renew_vector(self, connection: sqlite3.Connection, record: Record) -> None:
        """Keep the vectors of a record that is about to be completed, unless its text changes.

        If it does, the index is read anew, since it keeps the words of the old text.
        """
        blob = None if record.vector is None else rows.to_blob(record.vector)
        connection.execute(
            "UPDATE records SET vector = coalesce(?, CASE WHEN coalesce(search_text, content) = ? "
            "THEN vector END) WHERE id = ?",
            (blob, record.found_by, record.id),
        )
        changed = "SELECT {} FROM records WHERE id = ? AND coalesce(search_text, content) <> ?"
        for statement, column in (
            ("DELETE FROM upcoming_vectors WHERE seq IN", "seq"),
            ("UPDATE scopes SET generation = generation + 1 WHERE scope IN", "scope"),
        ):
            connection.execute(
                f"{statement} ({changed.format(column)})", (record.id, record.found_by)
            )

    # -- all of them ---------------------------------------------------------------------------

    def prepare_reindex(self, model: str, width: int) -> int:
        """See `MemoryBackend.prepare_reindex`."""
        with self._file.transaction() as connection:
            if self._model(connection, upcoming=True) != (model, width):
                self._drop_upcoming(connection)
                connection.execute(_PUT_MODEL, (self._agent_id, 1, model, width))
            return self._count_upcoming(connection)

    def finish_reindex(self, model: str) -> int:
        """See `MemoryBackend.finish_reindex`."""
        with self._file.transaction() as connection:
            known = self._model(connection, upcoming=True)
            if known is None or known[0] != model:
                self._refuse(known or self._model(connection), model, None)
            count = self._count_upcoming(connection)
            connection.execute(
                "UPDATE records SET vector = (SELECT u.vector FROM upcoming_vectors AS u "
                f"WHERE u.seq = records.seq) WHERE {_OF_AGENT}",
                (self._agent_id,),
            )
            # A new generation: every process reads the vectors anew.
            connection.execute(
                "UPDATE scopes SET generation = generation + 1 WHERE agent_id = ?",
                (self._agent_id,),
            )
            self._drop_upcoming(connection)
            connection.execute("DELETE FROM models WHERE agent_id = ?", (self._agent_id,))
            connection.execute(_PUT_MODEL, (self._agent_id, 0, *known))
            return count

    def _count_upcoming(self, connection: sqlite3.Connection) -> int:
        (count,) = connection.execute(
            f"SELECT count(*) FROM records AS r WHERE {_OF_AGENT} AND EXISTS ({_UPCOMING})",
            (self._agent_id,),
        ).fetchone()
        return int(count)

    def _drop_upcoming(self, connection: sqlite3.Connection) -> None:
        of_agent = f"SELECT seq FROM records WHERE {_OF_AGENT}"
        connection.execute(
            f"DELETE FROM upcoming_vectors WHERE seq IN ({of_agent})", (self._agent_id,)
        )


def _store(connection: sqlite3.Connection, id_: str, blob: bytes) -> None:
    row = connection.execute(
        "UPDATE scopes SET revision = revision + 1 WHERE scope = "
        "(SELECT scope FROM records WHERE id = ?) RETURNING revision",
        (id_,),
    ).fetchone()
    if row:
        connection.execute(
            "UPDATE records SET vector = ?, revision = ? WHERE id = ?", (blob, row[0], id_)
        )
