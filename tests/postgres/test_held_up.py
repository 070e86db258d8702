"""A store that is held up: by a table that somebody locks, by a server that stands still."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from contract.drivers import Driver
from langchain_kronvex import KronvexMemory, PostgresOptions, StoreBusy
from langchain_kronvex.storage.postgres.connections import stall_guard as postgres_silence
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


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_silence, "GRACE_SECONDS", 0.1)


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


@pytest.mark.usefixtures("_hurried")
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
                if autocommit:
                    del verbs["stats"]  # takes as long as it takes
                busy_in_time(verbs, "did not answer" if autocommit else "locked for longer|did not")
                deadline = time.monotonic() + 10
                while sql(WAITING) != [(0,)]:  # nor does anybody on the server
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            assert len(memory.recall("tea", user_id="ana")) == 1
        with pool.connection() as connection:
            assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)


@pytest.mark.usefixtures("_hurried")
async def test_reads_over_an_async_pool_that_was_lent_wait_no_longer_either(
    store_url: str,
) -> None:
    async with AsyncConnectionPool(store_url, min_size=1, kwargs={"autocommit": True}) as pool:
        options = PostgresOptions(async_pool=pool)
        memory = KronvexMemory(store_url, postgres=options, timeout_seconds=TIMEOUT_SECONDS)
        await memory.aremember("Ana drinks tea.", user_id="ana")
        with locked(store_url):
            started = time.monotonic()
            with pytest.raises(StoreBusy, match="did not answer"):
                await memory.arecall("tea", user_id="ana")
            assert time.monotonic() - started < TIMEOUT_SECONDS + AFTER_SECONDS
        assert len(await memory.arecall("tea", user_id="ana")) == 1
        await memory.aclose()


@contextmanager
def standing_still(server: Server, database: str) -> Iterator[None]:
    """Stop the processes that serve a database, which then neither answer nor end."""
    with server.connect() as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = %s",
            [database, "client backend"],
        ).fetchall()
    pids = [pid for (pid,) in found]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def go_on() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    at_last = threading.Timer(15, go_on)  # then the test fails
    at_last.start()
    try:
        yield
    finally:
        at_last.cancel()
        go_on()


@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_server_that_stands_still_is_waited_for_no_longer_than_allowed(
    colour: str, server: Server
) -> None:
    database = server.fresh()
    for verb in ("recall", "remember"):
        memory = Driver(
            KronvexMemory(
                server.url(database),
                timeout_seconds=TIMEOUT_SECONDS,
                postgres=PostgresOptions(max_connections=1),
            ),
            colour,
        )
        memory.remember("Ana drinks tea.", user_id="ana")
        memory.recall("tea", user_id="ana")
        verbs = reads(memory) | {"remember": lambda m=memory: m.remember("more", user_id="ana")}
        with standing_still(server, database):
            busy_in_time({verb: verbs[verb]}, "did not answer in time")
        assert len(memory.recall("tea", user_id="ana")) == 1  # over another connection
        memory.end()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_takes_long_by_nature_is_not_cut_off(
    colour: str, store_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_silence, "GRACE_SECONDS", 0.0)
    memory = Driver(KronvexMemory(store_url, timeout_seconds=0.3), colour)
    memory.remember("Ana drinks tea.", user_id="ana")
    sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(1); RETURN OLD; END $$"
    )
    sql(
        "CREATE TRIGGER slow BEFORE DELETE ON langchain_kronvex.records "
        "FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    assert memory.clear() == 1
    assert memory.memories(user_id="ana") == []
    memory.end()
