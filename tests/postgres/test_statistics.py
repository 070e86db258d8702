"""The server's own statistics, which outlive rows: nothing in them of what users wrote or who."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from databases import DATABASES
from inside import steps
from langchain_kronvex import KronvexMemory
from postgres.test_opening import prepare
from postgres.test_partitions import PARTITIONING

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]
# What is told of a user alone, in the words of the statistics.
SECRETS = ("ana-secret-name", "zither", "ana-session", "ana-label")


@pytest.fixture
def store_url() -> str:
    """The URL of a database without tables."""
    return DATABASES.bare()


def furnish(memory: KronvexMemory) -> None:
    """Write so much that samples of all columns would be taken."""
    for number in range(30):
        memory.remember(
            f"zither number {number % 7}",
            user_id="ana-secret-name",
            session_id="ana-session",
            metadata={"ana-label": number},
        )
        memory.save_messages(
            [HumanMessage(f"zither {number}")], "ana-session", user_id="ana-secret-name"
        )
    memory.recall("zither", user_id="ana-secret-name")
    memory.flush(10)


def samples(sql: Sql) -> list[tuple[str, str]]:
    """Return the tables or indexes, and their columns, of which samples tell of users."""
    sql("ANALYZE")
    found = sql(
        "SELECT tablename, attname, s::text FROM pg_stats AS s "
        "WHERE schemaname = 'langchain_kronvex'"
    )
    secret = [(table, column) for table, column, _ in found if column in ("vector", "scope")]
    return secret + [
        (table, column)
        for table, column, text in found
        if any(word in text.replace(f"{table},{column}", "") for word in SECRETS)
    ]


def test_the_server_keeps_no_sample_of_what_users_wrote(open_memory: OpenMemory, sql: Sql) -> None:
    memory = open_memory()
    furnish(memory)
    assert samples(sql) == []
    assert sql("SELECT 1 FROM pg_stats WHERE tablename = 'records' AND attname = 'created'")
    memory.forget(user_id="ana-secret-name")
    assert samples(sql) == []


def test_nor_of_what_it_had_taken_samples_of(
    store_url: str, open_memory: OpenMemory, sql: Sql
) -> None:
    prepare(store_url, steps()[:1])
    # What a worker of then would have written.
    for _ in range(5):
        sql(
            "INSERT INTO langchain_kronvex.scopes "
            "VALUES (gen_random_uuid(), 'a', 'ana-secret-name')"
        )
    for n in range(6):
        sql(
            "INSERT INTO langchain_kronvex.records (scope, kind, id, user_id, session_id, key, "
            "key_digest, type, content, metadata, said, created, pinned, revision) "
            "SELECT scope, 'memory', %s, owner, 'ana-session', %s, decode(md5(%s), 'hex'), "
            "'semantic', 'zither', '{}', now(), now(), false, 1 FROM langchain_kronvex.scopes",
            *[str(n)] * 3,
        )
    assert {column for _, column in samples(sql)} >= {"owner", "user_id", "session_id", "content"}
    before = sql("SELECT attname, attstorage FROM pg_attribute WHERE attname = 'vector'")
    prepare(store_url)
    assert samples(sql) == []
    after = sql("SELECT attname, attstorage FROM pg_attribute WHERE attname = 'vector'")
    assert after == before
    open_memory()
    assert sql("SELECT count(*) FROM langchain_kronvex.records") == [(30,)]


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by a worker"])
def test_partitions_are_sampled_no_more_than_whole_tables(
    by_hand: bool, open_memory: OpenMemory, sql: Sql
) -> None:
    open_memory().close()
    without = PARTITIONING.replace("PERFORM guard_tables();", "")
    sql(PARTITIONING if by_hand else without)
    if not by_hand:
        ana = "INSERT INTO langchain_kronvex.scopes VALUES (gen_random_uuid(), 'a', %s)"
        for _ in range(200):
            sql(ana, "ana-secret-name")
        assert {table[:6] for table, _ in samples(sql)} == {"scopes"}
        assert ("scopes", "owner") in samples(sql)
        open_memory().close()
    # Digests that were sampled before anybody looked cannot be cleared from the key of partitions.
    clears = sql("SELECT to_regproc('pg_clear_attribute_stats')") != [(None,)]
    left = set() if clears or by_hand else {"scope"}
    assert {column for _, column in samples(sql)} <= left
    furnish(open_memory())
    assert {column for _, column in samples(sql)} <= left
