"""After `forget` nothing of a user is in any table, whatever others were doing meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from inside import Unembedded, erasing, scope_key
from integration.parts import HashedWords
from langchain_kronvex import KronvexMemory

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]


def tables(sql: Sql) -> list[str]:
    return [
        name
        for (name,) in sql(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'langchain_kronvex' AND table_type = 'BASE TABLE'"
        )
    ]


def rows_of(sql: Sql, user: str, *words: str) -> dict[str, int]:
    """Count the rows of each table that are a user's, or that hold one of the words."""
    found = {}
    for table in tables(sql):
        rows = sql(f"SELECT t::text FROM langchain_kronvex.{table} AS t")
        wanted = (str(scope_key("default", user)), user, *words)
        count = sum(any(word in text for word in wanted) for (text,) in rows)
        if count:
            found[table] = count
    return found


def furnish(memory: KronvexMemory, user: str) -> None:
    memory.remember(f"xylophone of {user}", user_id=user)
    memory.remember(f"for {user} a while", user_id=user, session_id="s", ttl_days=1)
    memory.save_messages([HumanMessage(f"marimba {user}")], "chat", user_id=user)
    memory.recall("xylophone", user_id=user)
    memory.flush(10)


def test_no_row_of_a_forgotten_user_is_left_in_any_table(open_memory: OpenMemory, sql: Sql) -> None:
    memory = open_memory()
    for user in ("ana", "ben"):
        furnish(memory, user)
    memory.engine.backend.unembedded(9, memory.engine.clock())
    ana = scope_key("default", "ana")
    ((seq,),) = sql("SELECT min(seq) FROM langchain_kronvex.records WHERE scope = %s", ana)
    sql("INSERT INTO langchain_kronvex.claims VALUES (%s, %s, %s, now())", ana, seq, ana)
    sql("INSERT INTO langchain_kronvex.upcoming_vectors VALUES (%s, %s, '[1]')", ana, seq)
    there = rows_of(sql, "ana", "xylophone of ana")
    assert set(there) == {"records", "scopes", "accesses", "claims", "upcoming_vectors"}

    memory.forget(user_id="ana")
    assert rows_of(sql, "ana", "xylophone of ana", "marimba ana") == {}
    assert set(rows_of(sql, "ben")) == {"records", "scopes", "accesses"}


def test_no_row_holds_the_words_of_one_forgotten_memory(open_memory: OpenMemory, sql: Sql) -> None:
    memory = open_memory()
    call = {"name": "save", "args": {"pin": "sousaphone"}, "id": "c1"}
    turn = [HumanMessage("xylophone?"), AIMessage("marimba", tool_calls=[call])]
    memory.save_messages([*turn, HumanMessage("tuba?"), AIMessage("yes")], "chat", user_id="ana")
    [chosen] = [m for m in memory.memories(user_id="ana") if "marimba" in m.content]
    memory.recall("xylophone", user_id="ana")
    memory.flush(10)

    assert memory.forget(id=chosen.id) == 1
    for word in ("xylophone", "marimba", "sousaphone", chosen.id):
        texts = [text for table in tables(sql) for (text,) in sql(
            f"SELECT t::text FROM langchain_kronvex.{table} AS t"
        )]  # fmt: skip
        assert [text for text in texts if word in text] == []
    assert len(memory.load_messages("chat", user_id="ana")) == 4


def test_a_user_whose_memories_have_all_expired_leaves_no_name_behind(
    open_memory: OpenMemory, sql: Sql
) -> None:
    memory = open_memory()
    memory.remember("soon gone", user_id="ana", ttl_days=1)
    sql("UPDATE langchain_kronvex.records SET expires = now() - interval '1 day'")
    assert set(rows_of(sql, "ana")) == {"records", "scopes"}
    open_memory()  # which purges
    assert rows_of(sql, "ana") == {}
    memory.remember("somebody new", user_id="ana")
    assert [m.content for m in memory.recall("new", user_id="ana")] == ["somebody new"]


def test_clearing_empties_every_table_of_the_agent(open_memory: OpenMemory, sql: Sql) -> None:
    other = open_memory(agent_id="other")
    furnish(other, "ana")
    before = {t: sql(f"SELECT count(*) FROM langchain_kronvex.{t}") for t in tables(sql)}
    memory = open_memory()
    for user in ("ana", "ben"):
        furnish(memory, user)
    memory.clear()
    sql("DELETE FROM langchain_kronvex.models WHERE agent_id = 'default'")
    assert {t: sql(f"SELECT count(*) FROM langchain_kronvex.{t}") for t in tables(sql)} == before


@pytest.mark.parametrize("round_", range(3))
def test_forgetting_while_others_write_about_the_same_user(
    round_: int, open_memory: OpenMemory, sql: Sql
) -> None:
    memories = [open_memory(embeddings=HashedWords()) for _ in range(2)]
    eraser = open_memory(embeddings=HashedWords())
    stop, failures = threading.Event(), []

    def busy(memory: KronvexMemory) -> None:
        try:
            number = 0
            while not stop.is_set():
                number += 1
                found = memory.remember(f"number {number}", user_id="ana")
                memory.engine.backend.count_accesses({found.id: 1}, found.created_at)
                memory.recall("number", user_id="ana")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=busy, args=(memory,)) for memory in memories]
    for thread in threads:
        thread.start()
    for _ in range(25):
        eraser.forget(user_id="ana")
    stop.set()
    for thread in threads:
        thread.join()
    for memory in memories:
        memory.flush(20)
    assert not failures
    for table in ("accesses", "claims", "upcoming_vectors"):
        orphans = sql(
            f"SELECT count(*) FROM langchain_kronvex.{table} AS h WHERE NOT EXISTS (SELECT 1 FROM "
            "langchain_kronvex.records AS r WHERE r.scope = h.scope AND r.seq = h.seq)"
        )
        assert orphans == [(0,)], table
    eraser.forget(user_id="ana")
    assert rows_of(sql, "ana", "number ") == {}


def test_a_user_who_appears_while_being_forgotten_is_left_alone(
    open_memory: OpenMemory, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, eraser = open_memory(), open_memory()
    lock_owners = erasing.lock_owners

    def lock_before_they_appear(tx: Any, scopes: Any) -> Any:
        locked = lock_owners(tx, scopes)
        memory.remember("just arrived", user_id="ana")
        return locked

    monkeypatch.setattr(erasing, "lock_owners", lock_before_they_appear)
    assert eraser.forget(user_id="ana") == 0
    assert [m.content for m in memory.memories(user_id="ana")] == ["just arrived"]


LATE_TEXT = "soon forgotten"
LATE: dict[str, Callable[[KronvexMemory, str], Any]] = {
    "accesses": lambda memory, id_: memory.engine.backend.count_accesses(
        {id_: 1}, memory.engine.clock()
    ),
    "claims": lambda memory, id_: memory.engine.backend.unembedded(5, memory.engine.clock()),
    "upcoming_vectors": lambda memory, id_: memory.engine.backend.embed(
        [(Unembedded(1, id_, LATE_TEXT), [1.0, 0.0])], "next", upcoming=True
    ),
}


@pytest.mark.parametrize("table", LATE)
def test_what_is_written_while_a_memory_is_forgotten_does_not_outlive_it(
    table: str, open_memory: OpenMemory, sql: Sql
) -> None:
    memory, eraser = open_memory(), open_memory()
    stored = memory.remember(LATE_TEXT, user_id="ana")
    sql("UPDATE langchain_kronvex.records SET vector = NULL")
    memory.engine.backend.prepare_reindex("next", 2)
    sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END$$"
    )
    sql(
        f"CREATE TRIGGER slow BEFORE INSERT ON langchain_kronvex.{table} "
        "FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    late = threading.Thread(target=LATE[table], args=(memory, stored.id))
    late.start()
    while sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == [(0,)]:
        assert late.is_alive()
    assert eraser.forget(user_id="ana") == 1
    late.join()
    assert rows_of(sql, "ana") == {}
