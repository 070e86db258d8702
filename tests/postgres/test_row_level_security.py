"""Row-level security: the database itself keeps users apart, also from SQL that is not ours."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage

from inside import Unembedded, scope_key
from langchain_kronvex import ConfigurationError, KronvexMemory, PostgresOptions
from postgres.program import in_both_colours
from postgres.server import Server
from postgres.test_partitions import DOCUMENT, PARTITIONING

LIMITED = (
    "records", "scopes", "accesses", "upcoming_vectors", "claims", "consolidations", "second_looks",
    "snapshots",
)  # fmt: skip
Open = Callable[..., KronvexMemory]


@pytest.fixture(scope="module")
def role_url(_own_server: Server) -> str:
    """The URL of a role without privileges in a database where it may make a schema."""
    database, role = _own_server.fresh(), _own_server.role()
    with _own_server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
    return _own_server.url(database, role)


@pytest.fixture
def open_limited(role_url: str) -> Iterator[Open]:
    """Opens memories as that role, with row-level security unless told otherwise."""
    opened: list[KronvexMemory] = []

    def open_(limited: bool = True, **more: Any) -> KronvexMemory:
        options = PostgresOptions(row_level_security=limited, **more)
        opened.append(KronvexMemory(role_url, postgres=options, timeout_seconds=10))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


@pytest.fixture
def furnished(open_limited: Open, role_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The role's own connection to a database with rows of two users in every table."""
    memory = open_limited()
    memory.clear()
    for user in ("ana", "ben"):
        stored = memory.remember(f"{user} has a secret", user_id=user)
        memory.engine.backend.claim(user, "worker", stored.created_at, 60)
        memory.engine.backend.count_accesses({stored.id: 1}, stored.created_at)
        memory.engine.backend.prepare_reindex("next", 1)
        text = Unembedded(1, stored.id, stored.content)
        memory.engine.backend.embed([(text, [1.0])], "next", upcoming=True)
    with psycopg.connect(role_url) as connection:
        reach(connection, "*")
        connection.execute(
            "INSERT INTO langchain_kronvex.claims SELECT scope, seq, scope, now() "
            "FROM langchain_kronvex.records"
        )
        connection.execute(
            "INSERT INTO langchain_kronvex.second_looks SELECT scope, seq, true "
            "FROM langchain_kronvex.records"
        )
        connection.execute(
            "INSERT INTO langchain_kronvex.snapshots SELECT scope, scope, 0, generation, 1, 'x' "
            "FROM langchain_kronvex.scopes"
        )
        connection.commit()
        yield connection


def reach(connection: psycopg.Connection[Any], what: str) -> None:
    connection.execute("SELECT set_config('kronvex.reach', %s, true)", [what])


def count(connection: psycopg.Connection[Any], table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM langchain_kronvex.{table}").fetchone()
    assert found is not None
    return int(found[0])


def test_a_whole_program_runs_with_it(open_limited: Open) -> None:
    in_both_colours(open_limited())
    in_both_colours(open_limited(statement_timeout_seconds=20, prepared_statements=False))


def test_a_worker_that_was_not_told_of_it_finds_out(open_limited: Open) -> None:
    open_limited()
    in_both_colours(open_limited(limited=False))


def test_it_can_be_turned_on_for_memories_that_are_there(open_limited: Open) -> None:
    schema = "turned on later"
    before = open_limited(limited=False, schema=schema)
    before.remember("Ana drinks tea.", user_id="ana")
    before.close()
    after = open_limited(schema=schema)
    assert [m.content for m in after.recall("tea", user_id="ana")] == ["Ana drinks tea."]
    in_both_colours(after)


VERBS: dict[str, Callable[[KronvexMemory], Any]] = {
    "recall": lambda m: [found.content for found in m.recall("tea", user_id="ana")],
    "memories": lambda m: [found.content for found in m.memories(user_id="ana")],
    "load_messages": lambda m: len(m.load_messages("chat", user_id="ana")),
    "sessions": lambda m: len(m.sessions(user_id="ana")),
    "stats": lambda m: m.stats().memories,
    "export": lambda m: m.export(io.BytesIO()),
    "forget": lambda m: m.forget(user_id="ana"),
    "clear": lambda m: m.clear(),
    "remember": lambda m: m.remember("Ana drinks tea.", user_id="ana").content,
    "arecall": lambda m: [found.content for found in asyncio.run(m.arecall("tea", user_id="ana"))],
    "aforget": lambda m: asyncio.run(m.aforget(user_id="ana")),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_worker_that_is_open_when_it_is_turned_on_answers_as_before(
    verb: str, open_limited: Open
) -> None:
    answers = []
    for limiting in (False, True):
        schema = f"{verb} {limiting}"
        worker = open_limited(limited=False, schema=schema)
        worker.remember("Ana drinks tea.", user_id="ana")
        worker.save_messages([HumanMessage("hello")], "chat", user_id="ana")
        worker.recall("tea", user_id="ana")
        worker.flush(10)
        open_limited(limited=limiting, schema=schema)
        answers.append(VERBS[verb](worker))
    assert answers[0] == answers[1]
    assert answers[0]


def partition(connection: psycopg.Connection[Any], schema: str) -> None:
    connection.execute(PARTITIONING.replace("langchain_kronvex", schema))
    connection.commit()


def open_tables(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Return the tables of which rows can be read by one who has said nothing of a reach."""
    tables = connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_attribute AS a "
        "ON a.attrelid = c.oid AND a.attname = 'scope' WHERE relnamespace = %s::regnamespace "
        "AND relkind IN ('r', 'p')",
        [schema],
    ).fetchall()
    assert tables
    found = []
    for (table,) in tables:
        with contextlib.suppress(psycopg.errors.DatabaseError), connection.transaction():
            if connection.execute(f"SELECT 1 FROM {table}").fetchall():
                found.append(table)
    connection.commit()
    return found


def test_it_holds_on_every_partition(open_limited: Open, role_url: str) -> None:
    open_limited(limited=False, schema="parted").close()
    with psycopg.connect(role_url) as connection:
        partition(connection, "parted")
        memory = open_limited(schema="parted")
        for user in range(40):
            memory.remember(f"the secret of {user}", user_id=f"user {user}")
        assert open_tables(connection, "parted") == []
        reach(connection, "*")
        full = connection.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM parted.records"
        ).fetchall()
        assert len(full) > 10
        for (table,) in full:
            reach(connection, str(scope_key("default", "user 7")))
            rows = connection.execute(f"SELECT content FROM {table}").fetchall()
            assert rows in ([], [("the secret of 7",)])
            reach(connection, "")
            with pytest.raises(psycopg.Error, match=NO_REACH):
                connection.execute(f"DELETE FROM {table}")
            connection.rollback()
        in_both_colours(memory)


def test_it_holds_on_partitions_that_were_made_afterwards(
    open_limited: Open, role_url: str
) -> None:
    open_limited(schema="parted_later").remember("the secret of ana", user_id="ana")
    with psycopg.connect(role_url) as connection:
        partition(connection, "parted_later")
        assert open_tables(connection, "parted_later") == []
        reach(connection, "*")
        assert connection.execute("SELECT content FROM parted_later.records").fetchall() == [
            ("the secret of ana",)
        ]
        ((part,),) = connection.execute(
            "SELECT tableoid::regclass::text FROM parted_later.records"
        ).fetchall()
        connection.execute(f"ALTER TABLE {part} NO FORCE ROW LEVEL SECURITY")
        connection.commit()
        assert open_tables(connection, "parted_later") == [part]
        worker = open_limited(limited=False, schema="parted_later")
        assert open_tables(connection, "parted_later") == []
        assert len(worker.recall("secret", user_id="ana")) == 1


def test_a_partition_of_somebody_else_that_may_be_read_is_named(server: Server) -> None:
    database, role = server.fresh(), server.role()
    url = server.url(database, role)
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
        limited = PostgresOptions(row_level_security=True)
        KronvexMemory(url, postgres=limited).close()
        connection.execute(PARTITIONING)
        connection.execute(
            "ALTER TABLE langchain_kronvex.records_3 DISABLE ROW LEVEL SECURITY; "
            f"GRANT USAGE ON SCHEMA langchain_kronvex TO {role}; "
            f"GRANT ALL ON ALL TABLES IN SCHEMA langchain_kronvex TO {role}; "
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA langchain_kronvex TO {role}"
        )
        with pytest.raises(ConfigurationError, match=r"records_3.*guard_tables\(\)"):
            KronvexMemory(url, postgres=limited)
        connection.execute("SELECT langchain_kronvex.guard_tables()")
    with KronvexMemory(url, postgres=limited) as memory:
        in_both_colours(memory)


NO_REACH = "row-level security: the setting kronvex.reach"


def test_without_a_reach_nothing_is_seen(furnished: psycopg.Connection[Any]) -> None:
    whole = [f"SELECT count(*) FROM langchain_kronvex.{table}" for table in LIMITED]
    for setting in (None, ""):
        for statement in (
            *whole,
            "UPDATE langchain_kronvex.records SET content = 'mine'",
            "DELETE FROM langchain_kronvex.scopes",
            "INSERT INTO langchain_kronvex.accesses VALUES (gen_random_uuid(), 1, 1)",
        ):
            if setting is not None:
                reach(furnished, setting)
            with pytest.raises(psycopg.Error, match=NO_REACH):
                furnished.execute(statement)
            furnished.rollback()
    reach(furnished, str(scope_key("default", "nobody")))
    assert {table: count(furnished, table) for table in LIMITED} == dict.fromkeys(LIMITED, 0)
    furnished.rollback()


def test_every_table_with_rows_of_users_is_limited(furnished: psycopg.Connection[Any]) -> None:
    found = furnished.execute(
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = 'langchain_kronvex' AND column_name = 'scope'"
    )
    assert {name for (name,) in found} == set(LIMITED)


def test_with_one_users_reach_only_that_users_rows_are_seen_and_written(
    furnished: psycopg.Connection[Any],
) -> None:
    ana, ben = scope_key("default", "ana"), scope_key("default", "ben")
    reach(furnished, str(ana))
    for table in LIMITED:
        found = furnished.execute(f"SELECT DISTINCT scope FROM langchain_kronvex.{table}")
        assert found.fetchall() == [(ana,)], table
        for statement in (
            f"UPDATE langchain_kronvex.{table} SET scope = scope WHERE scope = %s",
            f"DELETE FROM langchain_kronvex.{table} WHERE scope = %s",
        ):
            assert furnished.execute(statement, [ben]).rowcount == 0, statement
    furnished.commit()

    for table in LIMITED:
        reach(furnished, str(ana))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            furnished.execute(f"UPDATE langchain_kronvex.{table} SET scope = %s", [ben])
        furnished.rollback()
    inserts = (
        ("INSERT INTO langchain_kronvex.scopes VALUES (%s, 'default', 'x')", scope_key("d", "x")),
        ("INSERT INTO langchain_kronvex.accesses VALUES (%s, 99, 1)", ben),
        ("INSERT INTO langchain_kronvex.claims VALUES (%s, 99, gen_random_uuid(), now())", ben),
        ("INSERT INTO langchain_kronvex.upcoming_vectors VALUES (%s, 99, '[1]')", ben),
    )
    for statement, scope in inserts:
        reach(furnished, str(ana))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            furnished.execute(statement, [scope])
        furnished.rollback()
    reach(furnished, "*")
    assert count(furnished, "records") == 2


def test_a_reach_ends_with_its_transaction(furnished: psycopg.Connection[Any]) -> None:
    reach(furnished, "*")
    assert count(furnished, "records") == 2
    furnished.commit()
    with pytest.raises(psycopg.Error, match=NO_REACH):
        count(furnished, "records")
    furnished.rollback()


def test_verbs_of_one_user_reach_that_user_alone(
    open_limited: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_limited()
    memory.remember("Ana drinks tea.", user_id="ana")
    asked: list[Any] = []
    run = memory.engine.backend.db.run

    def noting(work: Any, reach: Any = None, **how: Any) -> Any:
        asked.append(reach and set(reach))
        return run(work, reach, **how)

    monkeypatch.setattr(memory.engine.backend.db, "run", noting)
    memory.remember("Ana drinks coffee.", user_id="ana", session_id="s")
    memory.recall("tea", user_id="ana")
    memory.memories(user_id="ana")
    memory.load_messages("s", user_id="ana")
    memory.sessions(user_id="ana")
    memory.forget(user_id="ana", session_id="s")
    memory.forget(user_id="ana")
    own = {scope_key("default", "ana")}
    assert len(asked) >= 7
    assert all(reach == own for reach in asked)


@pytest.mark.parametrize("user", ["superuser", "exempt"])
def test_a_role_for_which_it_does_not_hold_is_refused(user: str, server: Server) -> None:
    database = server.fresh()
    role = "postgres" if user == "superuser" else server.role("BYPASSRLS")
    with server.connect(database) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
    limited = PostgresOptions(row_level_security=True)
    with pytest.raises(ConfigurationError, match="superuser or has BYPASSRLS"):
        KronvexMemory(server.url(database, role), postgres=limited)


def test_the_documented_dump_holds_everything_and_is_limited_again(server: Server) -> None:
    (dump,) = re.findall(r"^(PGOPTIONS=.*)$", DOCUMENT.read_text(encoding="utf-8"), re.M)
    role = server.role()
    urls = []
    for _ in range(2):
        database = server.fresh()
        with server.connect(database) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
        urls.append(server.url(database, role))
    limited = PostgresOptions(row_level_security=True)
    with KronvexMemory(urls[0], postgres=limited) as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
    done = subprocess.run(
        f"{dump} | psql --quiet -v ON_ERROR_STOP=1 {shlex.quote(urls[1])}", shell=True,
        env={**os.environ, "URL": urls[0], "PATH": f"{server.programs}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    with KronvexMemory(urls[1]) as memory:
        assert [m.content for m in memory.recall("tea", user_id="ana")] == ["Ana drinks tea."]
    with psycopg.connect(urls[1]) as connection, pytest.raises(psycopg.Error, match=NO_REACH):
        count(connection, "records")


def run_contract(server: Server, *chosen: str) -> None:
    """Run the contract as a role that is limited; every new database has the limited tables."""
    role = server.role("CREATEDB")
    with server.connect("template1") as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"GRANT CREATE ON DATABASE template1 TO {role}")
    options = PostgresOptions(row_level_security=True)
    KronvexMemory(server.url("template1", role), postgres=options).close()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "postgres.limited_contract",
             "-p", "no:cacheprovider", "-k", "postgres", *chosen],
            env={
                **os.environ,
                "KRONVEX_TEST_POSTGRES_URL": server.url("postgres", role),
                "PYTHONPATH": os.pathsep.join(
                    [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
                ),
            },
            cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        assert " passed" in done.stdout
        with server.connect() as connection:  # which it leaves as it was
            left = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'kronvex_test_%'"
            )
            assert left.fetchall() == []
    finally:
        with server.connect("template1") as connection:
            connection.execute("DROP SCHEMA langchain_kronvex CASCADE")
            connection.execute("DROP EXTENSION vector")
            connection.execute(f"REVOKE ALL ON DATABASE template1 FROM {role}")


@pytest.mark.slow
def test_what_the_contract_says_of_users_holds_with_it(server: Server) -> None:
    names = ("forgetting", "owners")
    run_contract(server, *(f"tests/contract/test_{name}.py" for name in names))


@pytest.mark.soak
def test_the_contract_holds_with_it(server: Server) -> None:
    run_contract(server, "tests/contract")
