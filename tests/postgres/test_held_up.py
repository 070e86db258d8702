"""A store that has to wait: for a table that somebody locks, for a statement that takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from contract.drivers import Driver
from langchain_kronvex import KronvexMemory, PostgresOptions, StoreBusy
from postgres.server import Server

Sql = Callable[..., list[Any]]
TIMEOUT_SECONDS = 0.3
AFTER_SECONDS = 4.0  # generous, for a machine that is busy; without a bound it is for ever
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@contextmanager
def locked(url: str, table: str = "records") -> Iterator[None]:
    """Do what VACUUM FULL does to a table for as long as it runs."""
    with psycopg.connect(url) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = '15s'")  # then the test fails
        connection.execute(f"LOCK TABLE langchain_kronvex.{table} IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def reads(memory: Driver) -> dict[str, Callable[[], Any]]:
    return {
        "recall": lambda: memory.recall("tea", user_id="ana"),
        "memories": lambda: memory.memories(user_id="ana"),
        "get": lambda: memory.get("some id"),
        "history": lambda: memory.load_messages("chat", user_id="ana"),
        "stats": memory.stats,
    }


def busy_in_time(verbs: dict[str, Callable[[], Any]], message: str) -> None:
    for name, verb in verbs.items():
        started = time.monotonic()
        with pytest.raises(StoreBusy, match=message):
            verb()
        assert time.monotonic() - started < TIMEOUT_SECONDS + AFTER_SECONDS, name


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("limits", [{}, {"statement_timeout_seconds": 60}])
def test_reads_wait_for_a_lock_no_longer_than_allowed(
    colour: str, limits: dict[str, Any], store_url: str
) -> None:
    options = PostgresOptions(**limits)
    memory = Driver(
        KronvexMemory(store_url, timeout_seconds=TIMEOUT_SECONDS, postgres=options), colour
    )
    memory.remember("Ana drinks tea.", user_id="ana")
    with locked(store_url):
        busy_in_time(reads(memory), "locked for longer than allowed")
    assert len(memory.recall("tea", user_id="ana")) == 1
    memory.end()


@pytest.mark.parametrize("autocommit", [True, False])
def test_reads_over_a_pool_that_was_lent_wait_no_longer_either(
    autocommit: bool, store_url: str, sql: Sql
) -> None:
    with ConnectionPool(store_url, min_size=2, kwargs={"autocommit": autocommit}) as pool:
        options = PostgresOptions(pool=pool)
        with KronvexMemory(postgres=options, timeout_seconds=TIMEOUT_SECONDS) as memory:
            memory.remember("Ana drinks tea.", user_id="ana")
            with locked(store_url):
                verbs = reads(memory)
                busy_in_time(verbs, "locked for longer")
                deadline = time.monotonic() + 10
                while sql(WAITING) != [(0,)]:  # nor does anybody on the server
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            assert len(memory.recall("tea", user_id="ana")) == 1
        with pool.connection() as connection:
            assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_takes_long_by_nature_is_not_cut_off(colour: str, store_url: str, sql: Sql) -> None:
    memory = Driver(KronvexMemory(store_url, timeout_seconds=0.3), colour)
    memory.remember("Ana drinks tea.", user_id="ana")
    sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(1.6); RETURN OLD; END $$"
    )
    sql(
        "CREATE TRIGGER slow BEFORE DELETE ON langchain_kronvex.records "
        "FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    assert memory.clear() == 1
    assert memory.memories(user_id="ana") == []
    memory.end()


def test_a_quick_verb_ends_when_a_statement_takes_longer_than_allowed(
    store_url: str, sql: Sql
) -> None:
    memory = KronvexMemory(store_url, timeout_seconds=0.3)
    sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(10); RETURN NEW; END $$"
    )
    sql(
        "CREATE TRIGGER slow BEFORE INSERT ON langchain_kronvex.records "
        "FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    verb = {"remember": lambda: memory.remember("Ana drinks tea.", user_id="ana")}
    busy_in_time(verb, r"took longer than allowed.*timeout_seconds")
    assert memory.memories(user_id="ana") == []
    memory.close()


def test_a_lower_limit_of_the_server_stays(server: Server) -> None:
    database, role = server.fresh(), server.role()
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
        connection.execute(f"ALTER ROLE {role} SET statement_timeout = '7s'")
    with KronvexMemory(server.url(database, role)) as memory:
        with memory.engine.backend.db.connections.connection(1) as connection:
            assert connection.execute("SHOW statement_timeout").fetchone() == ("7s",)
        assert memory.clear() == 0
