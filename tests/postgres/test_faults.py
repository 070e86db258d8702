"""What goes wrong on the way to the server, and on it: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from psycopg_pool import ConnectionPool

from contract.drivers import Driver
from integration.parts import HashedWords
from langchain_kronvex import (
    KronvexKeyValueStore,
    KronvexMemory,
    MemoryDraft,
    PostgresOptions,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from postgres.load import Load
from postgres.server import Server

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]
KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture
def locked(store_url: str) -> Iterator[Callable[[str], psycopg.Connection[Any]]]:
    """Locks a table until the connection that is returned is rolled back."""
    with psycopg.connect(store_url) as connection:

        def lock(table: str) -> psycopg.Connection[Any]:
            connection.execute(f"LOCK TABLE langchain_kronvex.{table} IN ACCESS EXCLUSIVE MODE")
            return connection

        yield lock


def wait_for_waiting(sql: Sql, how_many: int = 1) -> None:
    """Wait until so many transactions wait for a lock."""
    deadline = time.monotonic() + 10
    while sql("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] < how_many:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- connections that break ----------------------------------------------------------------------


def test_killed_connections_lose_and_double_nothing(open_memory: OpenMemory, sql: Sql) -> None:
    load = Load(open_memory())
    killed = []

    def kill() -> None:
        killed.extend(sql(KILL))
        time.sleep(0.05)

    load.during(kill, seconds=2.5)
    load.check()
    assert len(killed) > 20


def test_killed_connections_of_a_pool_that_was_lent(store_url: str, sql: Sql) -> None:
    with ConnectionPool(store_url, min_size=4, max_size=4, open=True) as pool:
        memory = KronvexMemory(postgres=PostgresOptions(pool=pool))
        load = Load(memory)
        load.during(lambda: [sql(KILL), time.sleep(0.1)], seconds=1.5)
        load.check()
        memory.close()


@pytest.mark.slow
def test_a_server_that_crashes_and_comes_back_under_load(server: Server) -> None:
    with KronvexMemory(server.url(server.fresh())) as memory:
        load = Load(memory)

        def crash() -> None:
            server.stop("immediate")
            time.sleep(0.1)
            server.start()
            time.sleep(0.3)

        load.during(crash, seconds=2)
        load.check()


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False], ids=["own pool", "lent pool"])
def test_a_server_that_is_away_is_waited_for_no_longer_than_allowed(
    own: bool, server: Server
) -> None:
    url = server.url(server.fresh())
    with ConnectionPool(url, open=not own) as lent:
        options = PostgresOptions(pool=None if own else lent)
        memory = KronvexMemory(url, timeout_seconds=1, postgres=options)
        memory.remember("before", user_id="ana")
        asyncio.run(memory.arecall("before", user_id="ana"))
        server.stop("fast")
        try:
            started = time.monotonic()
            for _ in range(2):  # also when the pool has noticed, and has none to lend
                with pytest.raises(StoreUnavailable, match="cannot be reached"):
                    memory.remember("meanwhile", user_id="ana")
                with pytest.raises(StoreUnavailable, match="cannot be reached"):
                    asyncio.run(memory.arecall("before", user_id="ana"))
            assert time.monotonic() - started < 10
        finally:
            server.start()
        if not own:  # it tries again in its own time, longer and longer
            with lent.connection(30):
                pass
        memory.remember("after", user_id="ana")
        assert [m.content for m in memory.memories(user_id="ana")] == ["after", "before"]
        memory.close()


def test_a_server_that_gives_out_no_more_connections(server: Server) -> None:
    database, role = server.fresh(), server.role("CONNECTION LIMIT 2")
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
    memory = KronvexMemory(server.url(database, role), timeout_seconds=1)
    memory.remember("before", user_id="ana")
    connections = memory.engine.backend.db.connections
    with connections.connection(1), connections.connection(1):  # all that there are
        with pytest.raises(StoreBusy, match=r"allows no more connections.*max_connections"):
            memory.recall("before", user_id="ana")
        with pytest.raises(StoreBusy, match=r"allows no more connections.*max_connections"):
            asyncio.run(memory.arecall("before", user_id="ana"))
    assert len(asyncio.run(memory.arecall("before", user_id="ana"))) == 1
    memory.close()


async def test_connections_that_were_idle_for_too_long_are_replaced(
    open_memory: OpenMemory, sql: Sql
) -> None:
    (name,) = sql("SELECT current_database()")[0]
    sql(f"ALTER DATABASE {name} SET idle_session_timeout = '100ms'")
    memory = open_memory()
    for number in range(3):
        await asyncio.to_thread(memory.remember, f"n{number}", user_id="ana")
        await memory.aremember(f"awaited {number}", user_id="ana")
        await asyncio.sleep(0.25)
    assert len(await memory.amemories(user_id="ana")) == 6
    await memory.aclose()


class Cut:
    """A pool that breaks the connection at the worst moment: all is done, and nobody knows."""

    def __init__(self, pool: ConnectionPool[Any]) -> None:
        self.pool, self.timeout = pool, pool.timeout
        self.times = 0
        self.meanwhile: Callable[[], Any] = lambda: None

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[psycopg.Connection[Any]]:
        with self.pool.connection(timeout) as connection:
            yield connection
        if self.times:
            self.times -= 1
            self.meanwhile()
            raise psycopg.OperationalError("the connection is lost")


@pytest.fixture(params=["sync", "async"])
def cut_off(request: pytest.FixtureRequest, store_url: str) -> Iterator[tuple[Driver, Cut]]:
    with ConnectionPool(store_url, open=True) as pool:
        cut: Any = Cut(pool)
        driver = Driver(KronvexMemory(postgres=PostgresOptions(pool=cut)), request.param)
        yield driver, cut
        driver.end()


def test_what_was_stored_when_the_connection_broke_is_stored_once(
    cut_off: tuple[Driver, Cut],
) -> None:
    memory, cut = cut_off
    cut.times = 1
    stored = memory.remember("once", user_id="ana")
    assert not stored.deduplicated
    cut.times = 2
    messages = [HumanMessage(text) for text in "abc"]
    memory.save_messages(messages, "chat", user_id="ana", remember=False)
    cut.times = 1
    memory.update(stored.id, pinned=True)

    assert [m.content for m in memory.memories(user_id="ana")] == ["once"]
    assert [m.text for m in memory.load_messages("chat", user_id="ana")] == ["a", "b", "c"]
    assert memory.get(stored.id).pinned


def test_what_took_a_place_when_the_connection_broke_keeps_it(
    cut_off: tuple[Driver, Cut],
) -> None:
    memory, cut = cut_off
    store = KronvexKeyValueStore(memory.memory, "shared")
    store.set("key", 1)
    cut.times = 1
    store.set("key", 2)
    assert store.mget(["key"]) == [2]
    cut.times = 2
    store.change("key", lambda known: known + 1, 0)
    assert store.mget(["key"]) == [3]


def test_who_replaced_it_meanwhile_is_not_replaced_by_another_attempt(
    cut_off: tuple[Driver, Cut], open_memory: OpenMemory
) -> None:
    memory, cut = cut_off
    store = KronvexKeyValueStore(memory.memory, "shared")
    other = KronvexKeyValueStore(open_memory(), "shared")
    cut.times = 1
    cut.meanwhile = lambda: other.set("key", "theirs")
    store.set("key", "ours")
    assert store.mget(["key"]) == ["theirs"]

    store.set("log", ["first"])
    cut.meanwhile = lambda: other.change("log", lambda log: [*log, "theirs"], [])
    cut.times = 0
    changes = iter([1])

    def change(log: list[str]) -> list[str]:
        cut.times = next(changes, 0)  # the next transaction, which stores it
        return [*log, "ours"]

    store.change("log", change, [])
    assert store.mget(["log"]) == [["first", "ours", "theirs"]]


def test_what_is_told_was_done_though_the_connection_broke_at_its_end(
    cut_off: tuple[Driver, Cut], tmp_path: Path
) -> None:
    memory, cut = cut_off

    def cut_at_the_end(verb: Callable[[], Any], times: int = 1) -> Any:
        cut.times = times
        return verb()

    for number in range(3):
        stored = memory.remember(f"number {number}", user_id="ana")
    memory.export(tmp_path / "all.jsonl")
    assert cut_at_the_end(lambda: memory.forget(id=stored.id)) == 1
    assert cut_at_the_end(lambda: memory.forget(user_id="ana"), times=2) == 2
    assert memory.memories(user_id="ana") == []
    cut.times = 0
    moved = cut_at_the_end(lambda: memory.import_(tmp_path / "all.jsonl"))
    assert (moved.memories, moved.stored) == (3, 3)
    assert memory.import_(tmp_path / "all.jsonl").stored == 0
    assert cut_at_the_end(memory.clear) == 3
    assert memory.memories(user_id="ana") == []


def test_a_reindexing_whose_end_was_cut_off_has_ended(
    cut_off: tuple[Driver, Cut], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, cut = cut_off
    memory.remember_many([MemoryDraft(f"number {n}", user_id="ana") for n in range(5)])
    backend = memory.memory.engine.backend
    finish = type(backend).finish_reindex

    def cut_at_the_end(self: Any, model: str) -> int:
        cut.times = 1
        return finish(self, model)

    monkeypatch.setattr(type(backend), "finish_reindex", cut_at_the_end)
    assert memory.reindex(HashedWords()) == 5
    assert len(memory.recall("number", user_id="ana")) == 5


# -- waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_exhausted_pool_says_so_in_time(
    colour: str, store_url: str, sql: Sql, locked: Callable[..., Any]
) -> None:
    memory = KronvexMemory(
        store_url, postgres=PostgresOptions(max_connections=1), timeout_seconds=0.5
    )
    memory.remember("before", user_id="ana")
    lock = locked("scopes")
    outcomes: list[Any] = []

    async def both() -> None:
        first = asyncio.create_task(memory.aremember("first", user_id="ana"))
        while not sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        second = memory.aremember("second", user_id="ben")
        outcomes.extend(await asyncio.gather(first, second, return_exceptions=True))

    started = time.monotonic()
    if colour == "async":
        asyncio.run(both())
    else:
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(memory.remember, "first", user_id="ana")
            wait_for_waiting(sql)
            second = threads.submit(memory.remember, "second", user_id="ben")
            outcomes.extend([first.exception(10), second.exception(10)])

    assert time.monotonic() - started < 3
    assert [type(error) for error in outcomes] == [StoreBusy, StoreBusy]
    told = " ".join(map(str, outcomes))
    assert "another worker kept memories of the same user locked" in told
    lock.rollback()
    memory.remember("after", user_id="ana")
    assert [m.content for m in memory.memories(user_id="ana")] == ["after", "before"]
    assert memory.memories(user_id="ben") == []
    memory.close()


def test_no_free_connection_names_what_to_allow(open_memory: OpenMemory) -> None:
    memory = open_memory(postgres=PostgresOptions(max_connections=1), timeout_seconds=1)
    memory.remember("before", user_id="ana")
    with memory.engine.backend.db.connections.connection(1):
        started = time.monotonic()
        with pytest.raises(StoreBusy, match=r"max_connections.*timeout_seconds"):
            memory.remember("second", user_id="ana")
        assert 0.9 < time.monotonic() - started < 3
    assert [m.content for m in memory.memories(user_id="ana")] == ["before"]


def test_many_threads_and_tasks_share_two_connections(open_with: OpenMemory) -> None:
    memory = open_with(max_connections=2)

    async def tasks() -> None:
        await asyncio.gather(
            *(memory.aremember(f"task {n}", user_id=f"user {n % 3}") for n in range(30)),
            *(memory.arecall("task", user_id=f"user {n % 3}") for n in range(30)),
        )

    with ThreadPoolExecutor(12) as threads:
        done = [
            threads.submit(memory.remember, f"thread {n}", user_id=f"user {n % 3}")
            for n in range(30)
        ]
        asyncio.run(asyncio.wait_for(tasks(), 30))
        for each in done:
            each.result(30)
    assert memory.stats().memories == 60


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_statement_that_takes_too_long_is_our_error(
    colour: str, open_with: OpenMemory, locked: Callable[..., Any]
) -> None:
    memory = Driver(open_with(statement_timeout_seconds=0.2), colour)
    memory.remember("before", user_id="ana")
    lock = locked("records")
    with pytest.raises(StoreBusy, match=r"took longer than allowed.*statement_timeout_seconds"):
        memory.recall("before", user_id="ana")
    with pytest.raises(StoreBusy, match="took longer than allowed"):
        memory.remember("meanwhile", user_id="ana")
    lock.rollback()
    assert [m.content for m in memory.recall("before", user_id="ana")] == ["before"]
    memory.end()


# -- conflicts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_writers_of_the_same_owners_in_opposite_order_do_not_fail(
    isolation: str, open_memory: OpenMemory, sql: Sql
) -> None:
    (name,) = sql("SELECT current_database()")[0]
    sql(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    users = [f"user {n}" for n in range(6)]

    def write(memory: KronvexMemory, order: list[str], who: str) -> None:
        for number in range(12):
            memory.remember_many(
                [MemoryDraft(f"{who} {number}", user_id=user) for user in order]
                + [MemoryDraft("all say the same", user_id=user) for user in order]
            )
            memory.recall("same", user_id=order[0])

    with ThreadPoolExecutor(3) as threads:
        orders = [users, users[::-1], users[3:] + users[:3]]
        done = [
            threads.submit(write, open_memory(), order, f"writer {n}")
            for n, order in enumerate(orders)
        ]
        for each in done:
            each.result(60)
    memory = open_memory()
    for user in users:
        assert len(memory.memories(user_id=user, limit=99)) == 37


FAILING = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.content LIKE '%poison%' AND nextval('tries') <= {times} THEN
        RAISE EXCEPTION 'injected: %', NEW.content USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER failing BEFORE INSERT ON langchain_kronvex.records
FOR EACH ROW EXECUTE FUNCTION fail();
"""


@pytest.mark.parametrize("code", ["40001", "40P01"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_transaction_that_lost_against_another_is_repeated(
    code: str, colour: str, open_memory: OpenMemory, sql: Sql
) -> None:
    memory = Driver(open_memory(), colour)
    sql(FAILING.format(times=3, code=code))
    drafts = [MemoryDraft(text, user_id="ana") for text in ("first", "poison", "last")]
    memory.remember_many(drafts)

    assert sorted(m.content for m in memory.memories(user_id="ana")) == ["first", "last", "poison"]
    assert sql("SELECT last_value FROM tries") == [(4,)]
    memory.end()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_full_disk_leaves_nothing_half_written(
    colour: str, open_memory: OpenMemory, sql: Sql
) -> None:
    memory = Driver(open_memory(), colour)
    memory.remember("before", user_id="ana")
    sql(FAILING.format(times=4, code="53100"))
    drafts = [MemoryDraft(text, user_id="ana") for text in ("first", "poison", "last")]
    store = KronvexKeyValueStore(memory.memory, "things")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"run out of a resource.*Nothing was stored"):
            memory.remember_many(drafts)
    with pytest.raises(StoreUnavailable):
        memory.save_messages([HumanMessage("fine"), HumanMessage("poison")], "chat", user_id="ana")
    with pytest.raises(StoreUnavailable):
        store.mset([("a", "fine"), ("b", "poison")])

    assert [m.content for m in memory.memories(user_id="ana")] == ["before"]
    assert memory.load_messages("chat", user_id="ana") == []
    assert store.mget(["a", "b"]) == [None, None]
    memory.remember_many(drafts)  # there is room again
    assert len(memory.recall("poison", user_id="ana")) == 4
    memory.end()


def test_errors_tell_nothing_of_what_was_to_be_stored(open_memory: OpenMemory, sql: Sql) -> None:
    memory = open_memory()
    memory.remember("before", user_id="ana")
    sql(
        "ALTER TABLE langchain_kronvex.records ADD CONSTRAINT kind_words "
        "CHECK (content NOT LIKE '%secret%')"
    )
    with pytest.raises(StoreError, match="23514") as refused:
        memory.remember("a secret", user_id="ana")
    assert "secret" not in str(refused.value)


# -- rights --------------------------------------------------------------------------------------


def test_a_server_that_only_reads_says_so(open_memory: OpenMemory, sql: Sql) -> None:
    memory = open_memory()
    memory.remember("before", user_id="ana")
    (name,) = sql("SELECT current_database()")[0]
    sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    sql(KILL)

    with pytest.raises(StoreUnavailable, match=r"read-only.*choose another server"):
        memory.remember("meanwhile", user_id="ana")
    assert [m.content for m in memory.recall("before", user_id="ana")] == ["before"]
    sql("SET default_transaction_read_only = off")
    sql(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    sql(KILL)
    memory.remember("after", user_id="ana")


def test_revoked_rights_are_named(server: Server) -> None:
    database, role = server.fresh(), server.role()
    KronvexMemory(server.url(database)).close()
    with server.connect(database) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA langchain_kronvex TO {role}")
        for objects in ("TABLES", "SEQUENCES"):
            connection.execute(f"GRANT ALL ON ALL {objects} IN SCHEMA langchain_kronvex TO {role}")
        with KronvexMemory(server.url(database, role)) as memory:
            memory.remember("before", user_id="ana")
            connection.execute(f"REVOKE INSERT ON langchain_kronvex.records FROM {role}")
            with pytest.raises(StoreUnavailable, match="permission denied for table records"):
                memory.remember("meanwhile", user_id="ana")
            assert [m.content for m in memory.recall("before", user_id="ana")] == ["before"]


@pytest.mark.soak
def test_killed_connections_for_a_long_time(open_memory: OpenMemory, sql: Sql) -> None:
    load = Load(open_memory())
    threading.excepthook = threading.__excepthook__
    load.during(lambda: [sql(KILL), time.sleep(0.05)], seconds=60)
    load.check()


@pytest.mark.soak
def test_a_server_that_keeps_crashing(server: Server) -> None:
    with KronvexMemory(server.url(server.fresh())) as memory:
        load = Load(memory)

        def crash() -> None:
            server.stop("immediate")
            server.start()
            time.sleep(2)

        load.during(crash, seconds=60)
        load.check()
