"""The session in which indexes are made: a lock and settings that nobody else finds there later.

No transaction can hold the making of an index, so both belong to the session. Behind a pooler
there is none: the next statement may reach another one, and what is left behind another program.
Then the lock is that of a transaction on a second connection, and the settings are the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from langchain_kronvex.storage.postgres.large_owners import index_sql as indexes
from langchain_kronvex.storage.postgres.options import REACH

Lent = tuple["psycopg.Connection[Any]", Callable[[str], str]]

# Building takes as long as it takes; with less memory than this one of vectors is slow.
_PATIENT = (
    "SELECT name, current_setting(name), set_config(name, CASE name WHEN 'maintenance_work_mem' "
    "THEN greatest(setting::bigint, 262144)::text || 'kB' ELSE '0' END, false) FROM pg_settings "
    "WHERE name IN ('statement_timeout', 'lock_timeout', 'maintenance_work_mem')"
)
_AS_BEFORE = "SELECT set_config(name, before, false) FROM unnest(%s, %s) AS w (name, before)"
_REACHING = "SELECT set_config(%s, '*', true)"
_LOCK = "hashtextextended('langchain-kronvex huge', 0)"
_TRY_LOCK = f"SELECT pg_try_advisory_lock({_LOCK})"
_UNLOCK = f"SELECT pg_advisory_unlock({_LOCK})"
_TRY_LOCK_OF_TRANSACTION = f"SELECT pg_try_advisory_xact_lock({_LOCK})"
_IDLE = (
    "SELECT set_config(name, '0', true) FROM pg_settings "
    "WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
)


class Run:
    """Statements on one connection, each by itself: no transaction may hold an index's making.

    Args:
        connection: Where; it commits by itself.
        text: Puts the schemas' names in SQL.
        apart: Lends another connection.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        text: Callable[[str], str],
        apart: Callable[[], AbstractContextManager[Lent]],
    ) -> None:
        self._connection, self._text, self._apart = connection, text, apart
        ((number,),) = self.rows("SELECT pg_backend_pid()")
        self._has_session = number == connection.info.backend_pid  # a pooler tells one of its own

    def do(self, sql: str) -> None:
        """Run a statement."""
        self._connection.execute(self._text(sql))

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement that reaches all rows, and return what it finds."""
        with self._connection.transaction():
            _rows(self._connection, _REACHING, [REACH])
            return _rows(self._connection, self._text(sql), parameters)

    def owners(self, names: Sequence[str], sql: str, *parameters: Any) -> set[UUID]:
        """Return those of the owners of indexes whom a statement finds."""
        scopes = [scope for name in names if (scope := indexes.owner_of(name)) is not None]
        return {scope for (scope,) in self.rows(sql, [scopes, *parameters])}

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Let statements take their time and memory, where that is nobody else's as well."""
        if not self._has_session:
            yield
            return
        before = _rows(self._connection, _PATIENT)
        with self._left(_AS_BEFORE, [row[0] for row in before], [row[1] for row in before]):
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep other workers from making and dropping; tell whether none does already."""
        if not self._has_session:
            with self._apart() as (other, _), other.transaction():
                other.execute(_IDLE)  # without a snapshot, for whose end an index would wait
                yield _rows(other, _TRY_LOCK_OF_TRANSACTION)[0][0]
            return
        ((locked,),) = _rows(self._connection, _TRY_LOCK)
        if not locked:
            yield False
            return
        with self._left(_UNLOCK):
            yield True

    @contextmanager
    def _left(self, statement: str, *parameters: Any) -> Iterator[None]:
        """Leave the session with a statement; where that is not possible, end it."""
        try:
            yield
        finally:
            try:
                if not self._connection.closed:
                    _rows(self._connection, statement, parameters)
            except psycopg.Error:
                self._connection.close()


def _rows(
    connection: psycopg.Connection[Any], sql: str, parameters: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
