"""Behind a pooler: no prepared statements where they are off, and nothing is left in a session."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import psycopg
import pytest

from inside import BOUND_SESSION
from langchain_kronvex import KronvexMemory, MemoryDraft, PostgresOptions, StoreError
from postgres.program import in_both_colours, run_program

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]
PREPARED = "SELECT count(*) FROM pg_prepared_statements"
SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE source = 'session' "
    "AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone')"
)
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


class TransactionPooler:
    """Lends for each transaction the connection that was lent least recently, as new.

    What a session keeps is thrown away in between, as a pooler in transaction mode may at any time.
    """

    timeout = 10.0

    def __init__(self, url: str, *, discard: bool = True) -> None:
        self._free: Queue[psycopg.Connection[Any]] = Queue()
        for _ in range(3):
            self._free.put(psycopg.connect(url))
        self._discard = discard
        self.lent = 0
        self.kept: set[Any] = set()

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[psycopg.Connection[Any]]:
        self.lent += 1
        connection = self._free.get(timeout=timeout)
        try:
            yield connection
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            self._look_at(connection)
            self._free.put(connection)

    def _look_at(self, connection: psycopg.Connection[Any]) -> None:
        connection.autocommit = True
        for statement in (PREPARED, SETTINGS, "SELECT count(*) FROM pg_listening_channels()"):
            with psycopg.ClientCursor(connection) as cursor:
                self.kept.update(cursor.execute(statement).fetchall())
        locks = connection.execute(LOCKS, prepare=False)
        self.kept.update(locks.fetchall())
        if self._discard:
            connection.execute("DISCARD ALL", prepare=False)
        connection.autocommit = False

    def end(self) -> None:
        while not self._free.empty():
            self._free.get().close()


@pytest.mark.slow
@pytest.mark.parametrize("discard", [True, False], ids=["discarding", "keeping"])
def test_a_program_leaves_nothing_in_a_session_and_misses_nothing(
    discard: bool, store_url: str
) -> None:
    pooler = TransactionPooler(store_url, discard=discard)
    options = PostgresOptions(pool=pooler, prepared_statements=False, statement_timeout_seconds=20)
    with KronvexMemory(postgres=options) as memory:
        in_both_colours(memory)
        in_both_colours(memory)
    assert pooler.lent > 100
    assert pooler.kept == {(0,)}
    pooler.end()


def test_a_session_behind_a_pooler_gets_no_settings(store_url: str) -> None:
    with psycopg.connect(store_url, autocommit=True) as connection:
        another = connection.info.backend_pid + 1  # a pooler makes one up
        assert connection.execute(BOUND_SESSION, ["9000", None, "9000", another]).fetchall() == []
        assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_settings_of_a_lent_session_are_as_they_were(store_url: str) -> None:
    pooler = TransactionPooler(store_url, discard=False)
    mine = {("statement_timeout", "77000"), ("lock_timeout", "66000")}
    with contextlib.ExitStack() as lent:
        for connection in [lent.enter_context(pooler.connection()) for _ in range(3)]:
            for name, value in mine:
                connection.execute(f"SET {name} = {value}")
    options = PostgresOptions(pool=pooler)
    pooler.kept.clear()
    with KronvexMemory(postgres=options) as memory:
        run_program(memory, "plain")
    assert {each for each in pooler.kept if len(each) == 2} == mine
    pooler.end()


def test_a_pooler_that_loses_prepared_statements_is_named(store_url: str) -> None:
    pooler = TransactionPooler(store_url)
    memory = KronvexMemory(postgres=PostgresOptions(pool=pooler))
    with pytest.raises(StoreError, match="prepared_statements=False"):
        run_program(memory, "plain")
    memory.close()
    pooler.end()


@pytest.mark.parametrize("wanted", [True, False])
def test_statements_are_prepared_or_not(wanted: bool, open_with: OpenMemory) -> None:
    memory = open_with(prepared_statements=wanted, max_connections=1)
    for number in range(8):
        memory.remember_many(
            [MemoryDraft(f"text {number} {n}", user_id="ana") for n in range(4)]  # executemany
        )
        memory.recall("text", user_id="ana")
    run_program(memory, "plain")
    with memory.engine.backend.db.connections.connection(1) as connection:
        ((prepared,),) = connection.execute(PREPARED, prepare=False).fetchall()
    assert (prepared > 0) is wanted
