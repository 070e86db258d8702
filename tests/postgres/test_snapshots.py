"""Snapshots of indexes on PostgreSQL: what they are read for, and when they go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from inside import ScopeIndex, postgres_snapshots, snapshot_keeping
from langchain_kronvex import KronvexMemory, MemoryDraft, Retention, with_memory
from langchain_kronvex.langgraph import KronvexStore

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]
TEXTS = [f"note {n} about tea{n % 7} and cello{n % 5}" for n in range(30)]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_keeping, "_LEAST_MEMORIES", 1)
    # Several parts.
    monkeypatch.setattr("langchain_kronvex.recall.snapshot.BLOCK_BYTES", 8192)
    monkeypatch.setattr(postgres_snapshots, "BLOCK_BYTES", 8192)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many rows were added to indexes, each time that some were."""
    counts: list[int] = []
    apply = ScopeIndex.apply

    def counting(index: ScopeIndex, rows: Any) -> None:
        rows = list(rows)
        counts.append(len(rows))
        apply(index, rows)

    monkeypatch.setattr(ScopeIndex, "apply", counting)
    return counts


def fill(memory: KronvexMemory, *users: str) -> None:
    for user in users:
        memory.remember_many([MemoryDraft(text, user_id=user) for text in TEXTS])
        memory.recall("tea1", user_id=user)
    assert memory.flush(30)


def found(memory: KronvexMemory, query: str = "tea1 cello", user: str = "ana") -> list[Any]:
    best = memory.recall(query, user_id=user, top_k=20, order_by="similarity")
    return [(m.content, m.similarity) for m in best]


def snapshots(sql: Sql) -> int:
    return sql("SELECT count(DISTINCT name) FROM langchain_kronvex.snapshots")[0][0]


def test_a_new_memory_reads_the_snapshot_and_what_was_written_since(
    open_memory: OpenMemory, sql: Sql, built: list[int]
) -> None:
    memory = open_memory()
    fill(memory, "ana", "ben")
    memory.remember("a later tea1 of ana", user_id="ana")
    config: Any = {"configurable": {"user_id": "ben", "session_id": "s"}}
    with_memory(lambda _: "nothing", memory).invoke({"input": "tea2?"}, config)
    expected = found(memory), found(memory, user="ben")
    memory.close()
    assert snapshots(sql) == 2
    assert sql("SELECT max(part) FROM langchain_kronvex.snapshots") > [(2,)]
    built.clear()
    for options in ({}, {"read_only": True}):
        with open_memory(**options) as memory:
            assert (found(memory), found(memory, user="ben")) == expected
    assert [count for count in built if count] == [1, 1, 1, 1]
    assert snapshots(sql) == 2


def test_what_takes_words_out_takes_the_snapshot_along(open_memory: OpenMemory, sql: Sql) -> None:
    memory, user = open_memory(), "ana"
    ways: list[Callable[[Any], object]] = [
        lambda m: memory.forget(id=m.id),
        lambda m: memory.update(m.id, content="quite another text"),
        lambda m: memory.update(m.id, metadata={"a": 1}),
        lambda m: memory.update(m.id, memory_type="semantic"),
        lambda m: memory.remember(m.content, user_id=user, metadata={"b": 2}),
        lambda m: KronvexStore(memory).put(("ana",), "key", {"text": "another value"}),
        lambda m: memory.forget(user_id=user),
        lambda m: memory.clear(),
    ]
    fill(memory, "ben")
    for way in ways:
        fill(memory, user)
        if "KronvexStore" in way.__code__.co_names:
            store = KronvexStore(memory)
            store.put(("ana",), "key", {"text": "a value"})
            store.search(("ana",), query="value")
            store.memory.flush()
            user, before = "ana", snapshots(sql)
            way(None)
            assert snapshots(sql) == before - 1
            continue
        memory.recall("tea1", user_id=user)
        memory.flush()
        assert snapshots(sql) >= 2
        before = snapshots(sql)
        way(memory.memories(user_id=user, limit=1)[0])
        left = before - 1 if way is not ways[-1] else 0
        assert snapshots(sql) == left, ways.index(way)
        memory.forget(user_id=user)


def test_what_replaces_or_deletes_an_expired_memory_takes_the_snapshot_along(
    open_memory: OpenMemory, sql: Sql
) -> None:
    now = [datetime.now(timezone.utc)]
    store = KronvexStore(open_memory(clock=lambda: now[0]))
    ways = (lambda: store.put(("ana",), "key", {"a": 1}), lambda: store.delete(("ana",), "key"))
    for way in ways:
        store.put(("ana",), "key", {"text": "an older value"}, ttl=10)
        store.memory.flush()
        store.search(("ana",), query="value", refresh_ttl=False)
        store.memory.flush()
        assert snapshots(sql) == 1
        now[0] += timedelta(minutes=20)
        way()
        assert snapshots(sql) == 0


def test_retention_takes_the_snapshot_along(open_memory: OpenMemory, sql: Sql) -> None:
    with open_memory() as memory:
        fill(memory, "ana")
    assert snapshots(sql) == 1
    with open_memory(retention=Retention(max_memories=25)) as memory:
        memory.expire()
        assert snapshots(sql) == 0


def test_what_is_forgotten_while_a_snapshot_is_written_is_not_in_it(
    open_memory: OpenMemory, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, other = open_memory(), open_memory(retention=Retention(max_memories=1))
    old = {"source": "the secret word"}
    ways: dict[str, Callable[[Any], object]] = {
        "ana": lambda m: other.forget(id=m.id),
        "ben": lambda m: other.update(m.id, metadata={}),
        "cleo": lambda m: other.expire(),
    }
    store, asked = postgres_snapshots._store, list[str]()
    for user, way in ways.items():
        secret = memory.remember("the secret word", user_id=user, metadata=old)

        def forgetting(*args: Any, user: str = user, way: Any = way, secret: Any = secret) -> None:
            def forget() -> bool:
                if user not in asked:
                    asked.append(user)
                    way(secret)
                return bool(args[-1]())

            store(*args[:-1], forget)

        monkeypatch.setattr(postgres_snapshots, "_store", forgetting)
        fill(memory, user)
        words = "SELECT count(*) FROM langchain_kronvex.snapshots WHERE position(%s in bytes) > 0"
        assert (asked[-1], sql(words, b"secret")) == (user, [(0,)])
    assert found(memory, "secret") == found(other, "secret")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE langchain_kronvex.snapshots SET bytes = set_byte(bytes, 9, 77) WHERE part = 1",
        "UPDATE langchain_kronvex.snapshots SET bytes = '' WHERE part = 1",
        "DELETE FROM langchain_kronvex.snapshots WHERE part = 1",
        "DELETE FROM langchain_kronvex.snapshots AS n WHERE part = "
        "(SELECT max(part) FROM langchain_kronvex.snapshots)",
        "UPDATE langchain_kronvex.snapshots AS n SET bytes = o.bytes FROM "
        "langchain_kronvex.snapshots AS o WHERE o.part = n.part AND o.scope <> n.scope",
    ],
)
def test_a_damaged_snapshot_is_not_used(
    open_memory: OpenMemory, sql: Sql, built: list[int], damage: str
) -> None:
    with open_memory() as memory:
        fill(memory, "ana", "ben")
        expected = found(memory), found(memory, user="ben")
    sql(damage)
    built.clear()
    with open_memory(read_only=True) as memory:
        assert (found(memory), found(memory, user="ben")) == expected
    assert sum(built) in (30, 60)
    with open_memory() as memory:
        assert (found(memory), found(memory, user="ben")) == expected
    built.clear()
    with open_memory() as memory:  # they were replaced
        assert (found(memory), found(memory, user="ben")) == expected
    assert sum(built) == 0


def test_what_workers_of_an_earlier_version_leave_is_deleted(
    open_memory: OpenMemory, sql: Sql
) -> None:
    with open_memory() as memory:
        fill(memory, "ana")
    sql("UPDATE langchain_kronvex.scopes SET generation = 0")
    open_memory()
    assert snapshots(sql) == 0
