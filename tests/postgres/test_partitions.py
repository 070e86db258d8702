"""Partitioned tables: the documented statements, and everything works on what they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inside import scope_key
from langchain_kronvex import KronvexMemory
from postgres.program import in_both_colours
from postgres.server import Server

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]
DOCUMENT = Path(__file__).parents[2] / "docs" / "postgresql.md"
BLOCKS = re.findall(r"^```sql\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S)
PARTITIONING = next(block for block in BLOCKS if "PARTITION BY HASH" in block)
CITUS = next(block for block in BLOCKS if "create_distributed_table" in block)
WHOLE_TABLES = {"models", "schema_steps"}


@pytest.mark.slow
def test_a_whole_program_runs_on_partitions(open_memory: OpenMemory, sql: Sql) -> None:
    open_memory().close()
    sql(PARTITIONING)
    memory = open_memory()
    in_both_colours(memory)
    size = memory.stats().size_bytes
    assert size is not None
    assert size > 16 * 8192
    for user in range(40):
        memory.remember(f"the secret of {user}", user_id=f"user {user}")
    ((partitions,),) = sql("SELECT count(DISTINCT tableoid) FROM langchain_kronvex.records")
    assert partitions > 10
    for user in range(40):
        found = memory.recall("secret", user_id=f"user {user}", top_k=99)
        assert [m.content for m in found] == [f"the secret of {user}"]
    memory.forget(user_id="user 7")
    assert memory.memories(user_id="user 7") == []
    assert len(memory.memories(user_id="user 8")) == 1
    again = open_memory()
    assert again.stats().memories == memory.stats().memories


def test_memories_that_are_there_are_taken_along(open_memory: OpenMemory, sql: Sql) -> None:
    memory = open_memory()
    for user in ("ana", "ben"):
        memory.remember(f"{user} drinks tea.", user_id=user, metadata={"n": 1})
    before = [memory.memories(user_id=user) for user in ("ana", "ben")]
    memory.close()
    sql(PARTITIONING)
    memory = open_memory()
    assert [memory.memories(user_id=user) for user in ("ana", "ben")] == before
    assert [m.content for m in memory.recall("tea", user_id="ana")] == ["ana drinks tea."]
    memory.remember("ana drinks coffee.", user_id="ana")
    assert len(memory.memories(user_id="ana")) == 2


def test_a_verb_of_one_user_looks_into_one_partition(open_memory: OpenMemory, sql: Sql) -> None:
    open_memory().close()
    sql(PARTITIONING)
    plan = "\n".join(
        line
        for (line,) in sql(
            "EXPLAIN SELECT content FROM langchain_kronvex.records WHERE scope = "
            f"'{scope_key('default', 'ana')}' AND seq = ANY('{{1,2}}')"
        )
    )
    assert len(set(re.findall(r"records_\d+", plan))) == 1, plan


def test_every_key_begins_with_the_scope(open_memory: OpenMemory, sql: Sql) -> None:
    open_memory()
    keys = sql(
        "SELECT c.relname, i.indexrelid::regclass::text, a.attname FROM pg_index AS i "
        "JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
        "WHERE n.nspname = 'langchain_kronvex' AND i.indisunique"
    )
    assert {table for table, _, _ in keys} >= {"scopes", "records", "accesses", *WHOLE_TABLES}
    assert {
        index for table, index, first in keys if first != "scope" and table not in WHOLE_TABLES
    } == set()


def test_the_documentation_names_every_table(open_memory: OpenMemory, sql: Sql) -> None:
    open_memory()
    tables = sql(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'langchain_kronvex'"
    )
    named = {name for (name,) in tables} - WHOLE_TABLES
    assert (
        set(re.findall(r"'(\w+)'", PARTITIONING.split("ARRAY ARRAY")[1].split("LOOP")[0])) == named
    )
    assert set(re.findall(r"langchain_kronvex\.(\w+)", CITUS)) == named | {"models"}


@pytest.mark.slow
def test_the_rights_that_are_listed_are_enough(server: Server) -> None:
    makes, granted = (block for block in BLOCKS if "GRANT" in block)
    by_itself, by_another = server.fresh(), server.fresh()
    roles = server.role(), server.role()
    with server.connect(by_itself) as connection:
        connection.execute(makes.replace("app", by_itself).replace("kronvex;", f"{roles[0]};"))
    with KronvexMemory(server.url(by_itself, roles[0])) as memory:
        in_both_colours(memory)
    KronvexMemory(server.url(by_another)).close()
    with server.connect(by_another) as connection:
        connection.execute(granted.replace("TO kronvex", f"TO {roles[1]}"))
    with KronvexMemory(server.url(by_another, roles[1])) as memory:
        in_both_colours(memory)
