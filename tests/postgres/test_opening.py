"""Opening a database: the tables are made once, by anybody, anywhere, or it says why not."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from databases import DATABASES
from inside import Database, migrate, require_store, steps
from integration.crew import Crew
from langchain_kronvex import (
    ConfigurationError,
    KronvexError,
    KronvexMemory,
    PostgresOptions,
    SchemaTooNew,
    StoreError,
    StoreUnavailable,
)
from postgres.program import in_both_colours
from postgres.server import PASSWORD, Server

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]

HOSTILE = [
    "quote \" and ' and ; DROP",
    "per %s cent %(x)s 100%",
    " spaces\tand\nlines ",
    "ünïcode ☕",
    "langchain_kronvex.records pgvector.halfvec",
    "x" * 63,
    "é" * 31 + "x",
    "UPPER\\back",
]

CATALOG = """
SELECT 'column', table_name || '.' || column_name, data_type || udt_name || is_nullable
       || coalesce(column_default, '') || coalesce(collation_name, '')
FROM information_schema.columns WHERE table_schema = %(schema)s
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = %(schema)s
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
    JOIN pg_namespace AS n ON n.oid = connamespace WHERE nspname = %(schema)s
UNION ALL SELECT 'function', proname, pg_get_functiondef(p.oid) FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = pronamespace WHERE nspname = %(schema)s
UNION ALL SELECT 'policy', tablename || policyname, coalesce(qual, '') || coalesce(with_check, '')
    FROM pg_policies WHERE schemaname = %(schema)s
UNION ALL SELECT 'class', relname, relkind::text || relrowsecurity || relforcerowsecurity
    || coalesce(reloptions::text, '')
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = %(schema)s
UNION ALL SELECT 'storage', relname || attname,
    attstorage::text || coalesce(attstattarget::text, '') FROM pg_attribute
    JOIN pg_class AS c ON c.oid = attrelid JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname = %(schema)s AND attnum > 0
ORDER BY 1, 2, 3
"""


@pytest.fixture
def store_url() -> str:
    """The URL of a database without tables."""
    return DATABASES.bare()


def catalog(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(CATALOG, {"schema": "langchain_kronvex"}).fetchall()


def prepare(url: str, scripts: Sequence[str] | None = None) -> None:
    """Bring the tables up to date, and nothing else."""
    database = Database(url, PostgresOptions(), "default", 10)
    try:
        migrate(database, scripts)
    finally:
        database.close()


@pytest.mark.slow
def test_ten_workers_at_once_make_the_tables_once(store_url: str, crew: Crew, sql: Sql) -> None:
    workers = [crew.start("open_on_command", url=store_url, number=n) for n in range(10)]
    for worker in workers:
        assert worker.hear() == "ready"
    for worker in workers:
        worker.say("go")
    for worker in workers:
        worker.finish()

    taken = sql("SELECT step FROM langchain_kronvex.schema_steps ORDER BY step")
    assert taken == [(n + 1,) for n in range(len(steps()))]
    assert sql("SELECT count(*) FROM langchain_kronvex.records") == [(10,)]
    assert sql("SELECT revision FROM langchain_kronvex.scopes") == [(10,)]


def test_ten_workers_agree_on_a_server_that_isolates_strictly(
    store_url: str, crew: Crew, sql: Sql
) -> None:
    (name,) = sql("SELECT current_database()")[0]
    sql(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    workers = [crew.start("open_on_command", url=store_url, number=n) for n in range(10)]
    for worker in workers:
        worker.hear()
    for worker in workers:
        worker.say("go")
    for worker in workers:
        worker.finish()
    assert sql("SELECT count(*) FROM langchain_kronvex.records") == [(10,)]


def test_tables_made_step_by_step_are_those_made_at_once(store_url: str) -> None:
    at_once = DATABASES.bare()
    prepare(at_once)
    for number in range(1, len(steps()) + 1):
        prepare(store_url, steps()[:number])
        prepare(store_url, steps()[:number])

    assert catalog(store_url) == catalog(at_once)
    assert len(catalog(store_url)) > 50


def test_indexes_of_single_owners_go_and_their_memories_stay(
    open_memory: OpenMemory, sql: Sql
) -> None:
    with open_memory() as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
    sql("DELETE FROM langchain_kronvex.schema_steps WHERE step > 2")
    sql(
        f"CREATE INDEX huge_{'0a' * 16}_types ON langchain_kronvex.records (type, seq) "
        "WHERE kind = 'memory'"
    )
    memory = open_memory()
    assert sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'huge%%'") == [(0,)]
    assert [m.content for m in memory.recall("tea", user_id="ana")] == ["Ana drinks tea."]


def test_tables_of_a_newer_version_are_refused_and_left_alone(
    store_url: str, open_memory: OpenMemory, sql: Sql
) -> None:
    open_memory().close()
    sql("INSERT INTO langchain_kronvex.schema_steps (step) VALUES (999)")
    before = catalog(store_url)

    with pytest.raises(SchemaTooNew, match=r"999.*pip install -U langchain-kronvex"):
        open_memory()
    assert catalog(store_url) == before


@pytest.mark.parametrize("schema", HOSTILE, ids=range(len(HOSTILE)))
def test_the_tables_may_be_in_a_schema_of_any_name(
    schema: str, open_with: OpenMemory, sql: Sql
) -> None:
    beside = open_with()
    beside.remember("beside it", user_id="ana")
    memory = open_with(schema=schema)
    memory.remember("Ana lives in Porto.", user_id="ana")

    assert [m.content for m in memory.recall("Porto", user_id="ana")] == ["Ana lives in Porto."]
    assert memory.stats().memories == 1
    assert memory.stats().size_bytes > 0
    assert sql("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema) == [(1,)]
    assert memory.clear() == 1
    assert [m.content for m in beside.memories(user_id="ana")] == ["beside it"]


def test_a_store_can_be_required_without_creating_one(
    store_url: str, open_memory: OpenMemory, sql: Sql
) -> None:
    open_memory()
    require_store(store_url)
    with pytest.raises(StoreUnavailable, match="holds no store"):
        require_store(store_url, PostgresOptions(schema="mistyped"))
    assert sql("SELECT to_regnamespace('mistyped')") == [(None,)]


def test_a_whole_program_runs_in_the_most_hostile_schema(open_with: OpenMemory) -> None:
    in_both_colours(open_with(schema="a 'b' \"c\" %s pgvector.x"))


@pytest.mark.parametrize("schema", ["", "x" * 64, "é" * 32, "nul\0", "\ud800", None, "pg_mine"])
def test_what_is_no_name_of_a_schema_is_refused(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match="schema must"):
        PostgresOptions(schema=schema)


def test_pgvector_may_be_in_a_schema_of_its_own(open_memory: OpenMemory, sql: Sql) -> None:
    sql("CREATE SCHEMA \"ext % 'x'\"")
    sql("CREATE EXTENSION vector SCHEMA \"ext % 'x'\"")
    in_both_colours(open_memory())


@pytest.mark.parametrize("timeout", ["1", 0, -1, True, float("nan"), 1e9, [1]])
def test_what_is_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="statement_timeout_seconds must"):
        PostgresOptions(statement_timeout_seconds=timeout)


# -- what is missing -------------------------------------------------------------------------------


def test_without_pgvector_it_says_what_to_install(server: Server) -> None:
    database = server.fresh()
    with server.connect() as connection:
        connection.execute(f"ALTER DATABASE {database} SET extension_control_path = '/nowhere'")

    with pytest.raises(ConfigurationError, match=r"Install pgvector.*CREATE EXTENSION vector"):
        KronvexMemory(server.url(database))


def test_an_old_pgvector_is_refused(server: Server) -> None:
    database = server.fresh()
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("UPDATE pg_extension SET extversion = '0.6.2' WHERE extname = 'vector'")

    with pytest.raises(ConfigurationError, match=r"0\.6\.2.*ALTER EXTENSION vector UPDATE"):
        KronvexMemory(server.url(database))


def test_without_the_right_to_add_pgvector_it_says_who_may(server: Server) -> None:
    database, role = server.fresh(), server.role()

    with pytest.raises(ConfigurationError, match=r"administrator.*CREATE EXTENSION vector"):
        KronvexMemory(server.url(database, role))


def test_without_the_right_to_make_a_schema_it_says_so(server: Server) -> None:
    database, role = server.fresh(), server.role()
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")

    with pytest.raises(StoreError, match="permission denied for database"):
        KronvexMemory(server.url(database, role))


def test_rights_on_a_schema_that_is_there_are_enough(server: Server) -> None:
    database, role = server.fresh(), server.role()
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"CREATE SCHEMA langchain_kronvex AUTHORIZATION {role}")

    with KronvexMemory(server.url(database, role)) as memory:
        in_both_colours(memory)


def test_a_database_that_cannot_hold_every_language_is_refused(server: Server) -> None:
    database = server.fresh("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")

    with pytest.raises(ConfigurationError, match="UTF8; the database has LATIN1"):
        KronvexMemory(server.url(database))


# -- what is wrong ---------------------------------------------------------------------------------

SECRETS = ("s3cret", "Pa/ss", "w0rd", PASSWORD, quote(PASSWORD, safe=""))


def wrong_urls(server: Server) -> dict[str, str]:
    right = server.url(by_port=True)
    secret = quote(PASSWORD, safe="")
    return {
        "password": right.replace(secret, secret + "x"),
        "user": right.replace("postgres:", "nobody:"),
        "database": right.removesuffix("postgres") + "no_such_database",
        "port": right.replace(str(server.port), "1"),
        "host": right.replace("127.0.0.1", "no-such-host.invalid"),
        "two addresses": right.replace("127.0.0.1", "localhost").replace(str(server.port), "1"),
        "query": f"postgresql://127.0.0.1:1/postgres?user=u&password={secret}",
        "plain password": right.replace(secret, PASSWORD),
        "percent": right.replace(secret, "s3cret%w0rd"),
        "at": right.replace(secret, "s3cret@w0rd"),
        "slash": right.replace(secret, "s3cret/w0rd"),
        "no scheme": right.removeprefix("postgresql://").replace(secret, "s3cret:w0rd"),
        "one slash": right.replace("://", ":/").replace(secret, "s3cretw0rd"),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        "password", "user", "database", "port", "host", "two addresses", "query", "plain password",
        "percent", "at", "slash", "no scheme", "one slash",
    ],
)  # fmt: skip
def test_a_wrong_url_is_refused_soon_and_without_its_password(
    wrong: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    started = time.monotonic()
    with pytest.raises(KronvexError) as refused:
        KronvexMemory(wrong_urls(server)[wrong])

    assert time.monotonic() - started < 5
    error = refused.value
    told = [str(error), repr(error), "".join(traceback.format_exception(error)), caplog.text]
    assert not [secret for secret in SECRETS for text in told if secret in text]
    assert re.search("Check that the server runs|percent|quote|Use sqlite", str(error))


def test_what_was_wrong_is_in_the_message(server: Server) -> None:
    said = {
        "password": 'password authentication failed for user "postgres"',
        "database": 'database "no_such_database" does not exist',
        "port": "Connection refused",
        "host": "no-such-host.invalid",
    }
    for wrong, words in said.items():
        with pytest.raises(KronvexError, match=re.escape(words)):
            KronvexMemory(wrong_urls(server)[wrong])


def test_the_password_is_told_to_nobody(server: Server) -> None:
    database = server.fresh()
    url = server.url(database, by_port=True)
    with KronvexMemory(url) as memory:
        told = [memory.location, repr(memory), memory.stats().location, repr(memory.stats())]
        told += [repr(memory.engine.backend), repr(memory.engine.backend.db.connections)]
        assert memory.location == f"postgresql://postgres@127.0.0.1:{server.port}/{database}"
    assert not [secret for secret in SECRETS for text in told if secret in text]


def test_wrong_options_are_refused() -> None:
    for wrong in (
        {"max_connections": 0},
        {"statement_timeout_seconds": -1},
        {"pool": object()},
        {"async_pool": object()},
        {"exact_up_to": 1000},
    ):
        with pytest.raises(ConfigurationError):
            PostgresOptions(**wrong)
