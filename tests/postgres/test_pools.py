"""Where connections come from: our own pools, and what users lend, which stays theirs."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy
from psycopg import ClientCursor, IsolationLevel
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from integration.crew import run_python
from integration.test_fork import START
from langchain_kronvex import (
    ConfigurationError,
    KronvexMemory,
    MemoryClosed,
    PostgresOptions,
    StoreUnavailable,
)
from postgres.program import in_both_colours

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@contextmanager
def pool_of(url: str, **options: Any) -> Iterator[ConnectionPool[Any]]:
    with ConnectionPool(url, min_size=1, max_size=3, open=True, **options) as pool:
        yield pool


def state_of(pool: ConnectionPool[Any]) -> tuple[Any, ...]:
    """Return what is set on a connection of a pool."""
    with pool.connection() as connection:
        return (
            connection.autocommit, connection.isolation_level, connection.read_only,
            connection.row_factory, connection.cursor_factory, connection.prepare_threshold,
            connection.info.transaction_status, connection.info.encoding,
        )  # fmt: skip


def wait_for_connections(sql: Sql, most: int) -> None:
    """Wait until connections other than the test's own are few; the server takes a moment."""
    deadline = time.monotonic() + 5
    while sql(OTHERS)[0][0] > most:
        assert time.monotonic() < deadline, sql("SELECT state, query FROM pg_stat_activity")
        time.sleep(0.01)


# -- lent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"autocommit": True},
        {"row_factory": dict_row},
        {"autocommit": True, "cursor_factory": ClientCursor, "prepare_threshold": 1},
    ],
    ids=["plain", "autocommit", "dict_row", "client cursors"],
)
def test_a_pool_is_used_in_both_colours_and_given_back_as_it_was(
    kwargs: dict[str, Any], store_url: str, sql: Sql
) -> None:
    with pool_of(store_url, kwargs=kwargs) as pool:
        before = state_of(pool)
        memory = KronvexMemory(
            postgres=PostgresOptions(pool=pool, prepared_statements=False), timeout_seconds=10
        )
        in_both_colours(memory)
        assert sql(OTHERS)[0][0] <= 3  # no other pool was opened
        memory.close()

        assert not pool.closed
        assert pool.get_stats()["pool_available"] == pool.get_stats()["pool_size"]
        assert state_of(pool) == before


def test_a_lent_connection_keeps_its_isolation_level(store_url: str) -> None:
    def configure(connection: psycopg.Connection[Any]) -> None:
        connection.isolation_level = IsolationLevel.SERIALIZABLE

    with pool_of(store_url, configure=configure) as pool:
        with KronvexMemory(postgres=PostgresOptions(pool=pool)) as memory:
            memory.remember("Ana drinks tea.", user_id="ana")
        with pool.connection() as connection:
            assert connection.isolation_level is IsolationLevel.SERIALIZABLE


def test_the_location_is_that_of_the_pool(store_url: str) -> None:
    with pool_of(store_url) as pool:
        given = PostgresOptions(pool=pool)
        with KronvexMemory(postgres=given) as memory, KronvexMemory(store_url) as plain:
            assert memory.location == plain.location
            assert urlsplit(store_url).path in memory.location


async def test_other_pools_are_refused_and_what_to_use_is_named(store_url: str) -> None:
    async with AsyncConnectionPool(store_url, min_size=0, max_size=1, open=False) as pool:
        with pytest.raises(ConfigurationError, match="ConnectionPool, not AsyncConnectionPool"):
            PostgresOptions(pool=pool)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=r"async_pool was removed.*as pool"):
            PostgresOptions(async_pool=pool)  # type: ignore[arg-type]
    engine = sqlalchemy.create_engine("postgresql+psycopg://localhost/database")
    with pytest.raises(ConfigurationError, match="ConnectionPool, not Engine"):
        PostgresOptions(pool=engine)


def test_a_pool_that_is_not_open_is_named(store_url: str) -> None:
    with pool_of(store_url) as pool:
        memory = KronvexMemory(postgres=PostgresOptions(pool=pool))
    with pytest.raises(StoreUnavailable, match="pool that was given is not open"):
        memory.memories(user_id="ana")
    memory.close()


# -- event loops -----------------------------------------------------------------------------------


def test_event_loops_one_after_the_other_leave_nothing_behind(
    open_memory: OpenMemory, sql: Sql, recwarn: pytest.WarningsRecorder
) -> None:
    memory = open_memory()
    for number in range(12):
        asyncio.run(memory.aremember(f"number {number}", user_id="ana"))
        found = asyncio.run(memory.arecall(f"number {number}", user_id="ana", top_k=1))
        assert found[0].content == f"number {number}"
    gc.collect()
    wait_for_connections(sql, most=3)
    memory.close()
    wait_for_connections(sql, most=0)
    assert not recwarn.list


def test_event_loops_in_several_threads_at_once(open_memory: OpenMemory) -> None:
    memory = open_memory()
    failures: list[BaseException] = []

    async def work(thread: int) -> None:
        await asyncio.gather(
            *(memory.aremember(f"t{thread} n{n}", user_id="ana") for n in range(8)),
            *(memory.arecall("t0 n0", user_id="ana") for _ in range(4)),
        )

    def in_thread(thread: int) -> None:
        try:
            for _ in range(2):
                asyncio.run(work(thread))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=in_thread, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(memory.memories(user_id="ana", limit=100)) == 32


async def test_closing_within_the_loop_that_is_used(store_url: str, sql: Sql) -> None:
    with KronvexMemory(store_url) as memory:
        await memory.aremember("Ana drinks tea.", user_id="ana")
    while asyncio.all_tasks() != {asyncio.current_task()}:
        await asyncio.sleep(0.01)
    wait_for_connections(sql, most=0)
    async with KronvexMemory(store_url) as memory:
        await memory.aremember("Ana drinks coffee.", user_id="ana")
    wait_for_connections(sql, most=0)
    with pytest.raises(MemoryClosed):
        await memory.aremember("too late", user_id="ana")


@pytest.mark.slow
def test_a_program_that_forgets_to_close_ends_without_complaint(store_url: str) -> None:
    script = """
import asyncio, json, sys
from langchain_kronvex import KronvexMemory

memory = KronvexMemory(sys.argv[1])
asyncio.run(memory.aremember("Ana drinks tea.", user_id="ana"))
print(json.dumps([m.content for m in asyncio.run(memory.amemories(user_id="ana"))]))
"""
    assert run_python(script, store_url) == ["Ana drinks tea."]


async def test_cancelled_tasks_give_their_connection_back(
    open_with: OpenMemory, sql: Sql, store_url: str
) -> None:
    memory = open_with(max_connections=1)
    await memory.aremember("before", user_id="ana")
    for user in ("ana", "ben"):
        for _ in range(3):
            with psycopg.connect(store_url) as other:  # the task will wait for this one
                other.execute("LOCK TABLE langchain_kronvex.scopes IN ACCESS EXCLUSIVE MODE")
                tasks = [
                    asyncio.create_task(memory.aremember("never", user_id=user)),
                    asyncio.create_task(memory.arecall("before", user_id=user)),
                ]
                while not sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(error, asyncio.CancelledError) for error in ended)
    assert await asyncio.wait_for(memory.arecall("before", user_id="ana"), 5)
    await asyncio.wait_for(memory.aremember("after", user_id="ben"), 5)
    assert await asyncio.wait_for(memory.arecall("after", user_id="ben", top_k=1), 5)
    # What a cancelled task was saving may be stored all the same.
    assert {m.content for m in await memory.amemories(user_id="ben")} <= {"never", "after"}


async def test_a_recall_that_is_cancelled_holds_up_no_other(
    open_memory: OpenMemory, store_url: str, sql: Sql
) -> None:
    memory = open_memory()
    await memory.aremember("Ana drinks tea.", user_id="ana")
    with psycopg.connect(store_url) as other:
        other.execute("LOCK TABLE langchain_kronvex.records IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(asyncio.TimeoutError) as kept:
            await asyncio.wait_for(memory.arecall("tea", user_id="ana"), 0.2)
    # The error is still known, and with it all that the broken-off recall was doing.
    assert await asyncio.wait_for(memory.arecall("tea", user_id="ana"), 5)
    assert kept.value is not None


# -- forks -----------------------------------------------------------------------------------------

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.mark.slow
@forks
def test_parent_and_children_go_on_after_a_fork(store_url: str, open_memory: OpenMemory) -> None:
    script = """
import asyncio
memory = KronvexMemory(sys.argv[1])
memory.remember("before the fork", user_id="ana")
asyncio.run(memory.aremember("before, awaited", user_id="ana"))
memory.recall("fork", user_id="ana")
stop = threading.Event()
written = []


def write_meanwhile():
    while not stop.is_set():
        written.append(memory.remember(f"meanwhile {len(written)}", user_id="ben").id)


def work(number):
    signal.alarm(20)
    for turn in range(5):
        memory.remember(f"child{number} turn{turn}", user_id="ana")
        found = memory.recall(f"child{number} turn{turn}", user_id="ana", top_k=100)
        assert f"child{number} turn{turn}" in [m.content for m in found]
    asyncio.run(memory.aremember(f"child{number} awaited", user_id="ana"))
    if number % 2:
        memory.close()


threads = [threading.Thread(target=write_meanwhile) for _ in range(3)]
for thread in threads:
    thread.start()
children = [in_child(lambda: work(number), sys.exit if number == 2 else os._exit)
            for number in range(4)]
for turn in range(5):
    memory.remember(f"parent turn{turn}", user_id="ana")
wait(*children)
stop.set()
for thread in threads:
    thread.join()
memory.remember("after the fork", user_id="ana")
assert len(memory.recall("turn", user_id="ana", top_k=100)) >= 5
assert len(set(written)) == len(memory.memories(user_id="ben", limit=100000))
memory.close()
print(json.dumps("done"))
"""
    assert run_python(START + script, store_url) == "done"
    stored = [m.content for m in open_memory().memories(user_id="ana", limit=1000)]
    expected = ["before the fork", "before, awaited", "after the fork"]
    expected += [f"child{n} turn{t}" for n in range(4) for t in range(5)]
    expected += [f"child{n} awaited" for n in range(4)] + [f"parent turn{t}" for t in range(5)]
    assert sorted(stored) == sorted(expected)


@pytest.mark.slow
@forks
def test_a_pool_that_was_lent_before_a_fork_is_not_used_in_the_child(store_url: str) -> None:
    script = """
from psycopg_pool import ConnectionPool
from langchain_kronvex import PostgresOptions, StoreUnavailable

pool = ConnectionPool(sys.argv[1], min_size=1, max_size=1, open=True)
memory = KronvexMemory(postgres=PostgresOptions(pool=pool), timeout_seconds=5)


def work():
    try:
        memory.remember("in the child", user_id="ana")
    except StoreUnavailable as error:
        assert "Open a pool and a memory in each process" in str(error)
    else:
        raise AssertionError


wait(in_child(work))
memory.remember("in the parent", user_id="ana")
print(json.dumps([m.content for m in memory.memories(user_id="ana")]))
memory.close()
pool.close()
"""
    assert run_python(START + script, store_url) == ["in the parent"]
