"""Users with very many memories: found by indexes in the database, much as exactly in RAM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from statistics import fmean
from typing import Any

import pytest
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from databases import DATABASES
from integration.crew import Crew
from integration.parts import HashedWords
from langchain_kronvex import (
    ConfigurationError,
    KronvexMemory,
    MemoryDraft,
    PostgresOptions,
    RecalledMemory,
)
from langchain_kronvex.storage.postgres.rows import scope_key
from postgres.huge import backend, drafts, is_huge, made, prepared, workload
from postgres.test_partitions import PARTITIONING

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]
MANY = 300
NOW = datetime(2031, 5, 4, tzinfo=timezone.utc)


def names(sql: Sql) -> list[str]:
    """Return the indexes of huge users; all of them must be valid."""
    found = sql(
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE c.relname LIKE 'huge%%' ORDER BY 1"
    )
    assert all(valid for _, valid in found)
    return [name for name, _ in found]


def kinds(sql: Sql, user: str) -> list[str]:
    """Return which indexes a user has."""
    own = scope_key("default", user).hex
    return [name.removeprefix(f"huge_{own}_") for name in names(sql) if own in name]


def texts(found: list[RecalledMemory]) -> list[str]:
    return [memory.content for memory in found]


@pytest.fixture
def open_huge(open_with: OpenMemory) -> OpenMemory:
    """Opens memories for which some hundreds are very many."""
    return lambda *url, **options: open_with(*url, **{"exact_up_to": MANY, **options})


@pytest.fixture(scope="module")
def filled() -> Iterator[tuple[KronvexMemory, KronvexMemory]]:
    """Two huge users and a small one, in a memory that searches exactly and one that does not."""
    url = DATABASES.fresh()
    exact = KronvexMemory(url, postgres=PostgresOptions(exact_up_to=10**6))
    exact.remember_many([*drafts(1200), *drafts(400, "ben", 600), *drafts(50, "eve")])
    exact.remember("Ana likes oolong", user_id="ana", session_id="tea", memory_type="fact")
    exact.remember("Ana's sister likes sencha", user_id="ana", session_id="tea")
    exact.save_exchange("What is the tallest peak?", "Everest, in Nepal.", user_id="ana")
    with exact, KronvexMemory(url, postgres=PostgresOptions(exact_up_to=MANY)) as memory:
        yield exact, prepared(memory, "ana", "ben")


def test_a_pool_whose_rows_are_of_another_kind_serves(store_url: str, sql: Sql) -> None:
    errors: list[Exception] = []
    with ConnectionPool(store_url, min_size=2, kwargs={"row_factory": dict_row}) as pool:
        options = PostgresOptions(pool=pool, exact_up_to=MANY)
        with KronvexMemory(postgres=options, on_error=errors.append) as memory:
            memory.remember_many(drafts(MANY + 50))
            prepared(memory, "ana")
            assert len(names(sql)) == 3
    assert errors == []


# -- the same as in RAM ----------------------------------------------------------------------------


def test_what_is_found_is_much_the_same_as_in_ram(
    filled: tuple[KronvexMemory, KronvexMemory],
) -> None:
    shared, first, apart = [], [], []
    for query in workload().queries(25, 1200):
        exact, found = (
            {m.id: m.similarity for m in each.recall(query, user_id="ana", top_k=10)}
            for each in filled
        )
        assert len(found) == 10
        shared.append(len(exact.keys() & found.keys()) / 10)
        first.append(max(exact, key=exact.__getitem__) == max(found, key=found.__getitem__))
        apart += [abs(found[id_] - exact[id_]) for id_ in exact.keys() & found.keys()]
    assert fmean(shared) > 0.85
    assert fmean(first) > 0.9
    assert fmean(apart) < 0.03


def test_async_finds_the_same(filled: tuple[KronvexMemory, KronvexMemory]) -> None:
    _, memory = filled
    for query in workload().queries(5, 1200):
        wanted: dict[str, Any] = {"user_id": "ana", "top_k": 7, "order_by": "similarity"}
        there = asyncio.run(memory.arecall(query, **wanted))
        assert texts(there) == texts(memory.recall(query, **wanted))


@pytest.mark.parametrize("top_k", [1, 60, 350, 10**30])
def test_as_many_are_found_as_are_asked_for(
    filled: tuple[KronvexMemory, KronvexMemory], top_k: int
) -> None:
    _, memory = filled
    for query in ("tea", "?", "of the", "zyzzyva", "1 May 2005"):
        found = memory.recall(query, user_id="ben", top_k=top_k)
        assert len({m.id for m in found}) == min(top_k, 400)


def test_a_threshold_and_the_probability_mean_the_same(
    filled: tuple[KronvexMemory, KronvexMemory],
) -> None:
    exact, memory = filled
    for query in ("Does Ana like oolong?", "tallest peak", "sencha"):
        best, found = (m.recall(query, user_id="ana", top_k=1)[0] for m in (exact, memory))
        assert found.content == best.content
        assert abs(found.similarity - best.similarity) < 0.1
        assert abs(found.probability - best.probability) < 0.15
        bar = found.similarity
        assert texts(memory.recall(query, user_id="ana", threshold=bar - 1e-4))[0] == best.content
        assert memory.recall(query, user_id="ana", threshold=min(bar + 1e-4, 1)) == []


# -- whose, which ----------------------------------------------------------------------------------


def test_nobody_sees_anybody_elses(filled: tuple[KronvexMemory, KronvexMemory]) -> None:
    _, memory = filled
    for query in workload().queries(10, 1200):
        for user in ("ana", "ben", "eve", "nobody"):
            found = memory.recall(query, user_id=user, top_k=30)
            assert {m.user_id for m in found} <= {user}
    assert not is_huge(memory, "eve")


def test_types_and_sessions_are_kept_to(filled: tuple[KronvexMemory, KronvexMemory]) -> None:
    exact, memory = filled
    for query in ("oolong", "what about Ben", "sister"):
        for only in (
            {"memory_type": "fact"},
            {"session_id": "tea"},
            {"session_id": "tea", "memory_type": "fact"},
            {"session_id": "tea", "memory_type": "semantic"},
            {"session_id": "session-7"},
            {"session_id": "nowhere"},
            {"session_id": "session-7' OR 'a' = 'a"},
        ):
            found = memory.recall(query, user_id="ana", top_k=30, **only)  # type: ignore[arg-type]
            same = exact.recall(query, user_id="ana", top_k=30, **only)  # type: ignore[arg-type]
            assert sorted(texts(found)) == sorted(texts(same))


HOSTILE = [
    "'", "\\", "'; DROP TABLE records; --", "a' | 'b", "tea:*", "!tea & (", "<-> <2>",
    "%s %(x)s {}", "\u202e\u0301", "茶を飲む", "café ＣＡＦＥ", "1e5 -3.14 a@b.c http://x.y/z?a=b",
    "x" * 30_000, "tea " * 5000, "\U0001f375",
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_a_question(filled: tuple[KronvexMemory, KronvexMemory], query: str) -> None:
    _, memory = filled
    assert len(memory.recall(query, user_id="ana", top_k=3)) == 3


# -- writes ----------------------------------------------------------------------------------------


def test_a_memory_is_found_at_once(open_huge: OpenMemory) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    for text, query in {
        "Ana's passport is in the piano": "Where is Ana's passport?",
        "祖父は京都で茶を売った": "京都の茶",
        "foo_bar.baz/qux@example.com, quux-corge": "corge qux",
        "Ｆｕｌｌ width": "full",
        "the university of the evening": "evening university",
    }.items():
        stored = memory.remember(text, user_id="ana")
        assert stored.id in [m.id for m in memory.recall(query, user_id="ana", top_k=2)]
        memory.forget(id=stored.id)
        assert text not in texts(memory.recall(query, user_id="ana", top_k=50))
    assert is_huge(memory, "ana")


def test_a_memory_without_a_vector_is_found_by_its_words(
    open_huge: OpenMemory, open_memory: OpenMemory, store_url: str
) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    words_alone = open_memory(store_url, embeddings=False, postgres=PostgresOptions(exact_up_to=9))
    stored = words_alone.remember("the umbrella is turquoise", user_id="ana")
    for each in (memory, words_alone):
        found = each.recall("turquoise umbrella", user_id="ana", top_k=1)
        assert found[0].id == stored.id
        assert is_huge(each, "ana")


def test_what_has_expired_is_not_found_and_pinned_is(open_memory: OpenMemory) -> None:
    now = [NOW]
    memory = open_memory(postgres=PostgresOptions(exact_up_to=MANY), clock=lambda: now[0])
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    for n in range(60):
        memory.remember(f"an owl, the number {n}", user_id="ana", ttl_days=1)
    kept = memory.remember("an owl for ever", user_id="ana", ttl_days=1, pinned=True)
    assert len(set(texts(memory.recall("owl", user_id="ana", top_k=50)))) == 50
    now[0] += timedelta(days=2)
    found = memory.recall("owl", user_id="ana", top_k=50)
    assert found[0].id == kept.id
    assert [text for text in texts(found) if text.startswith("an owl")] == ["an owl for ever"]
    assert len(found) == 50


def test_texts_of_any_kind_can_still_be_stored(open_huge: OpenMemory) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    for text in (
        *HOSTILE,
        "\ufdfa" * 60_000,
        "word " * 200_000,
        "".join(map(chr, range(0x4E00, 0x9FFF))),
    ):
        stored = memory.remember(text, user_id="ana")
        assert memory.get(stored.id) is not None


def test_agent_level_memories_may_be_very_many(open_huge: OpenMemory) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400, "x"))
    memory.remember("only one", user_id="ana")
    shared = [f"shared fact {n} about {word}" for n, word in enumerate(["tea", "owls"] * 200)]
    memory.remember_many([MemoryDraft(text, memory_type="fact") for text in shared])
    for _ in range(2):
        memory.recall("tea", include_shared=True, user_id="ana")
        assert made(memory)
    found = memory.recall("tea", user_id="ana", include_shared=True, top_k=20)
    assert is_huge(memory, "")
    assert {m.user_id for m in found} <= {"ana", None}
    assert sum("tea" in text for text in texts(found)) >= 19


# -- the indexes -----------------------------------------------------------------------------------


def test_indexes_are_made_once_by_one_of_many_workers(
    store_url: str, open_huge: OpenMemory, sql: Sql, crew: Crew
) -> None:
    open_huge().remember_many([*drafts(400), *drafts(100, "eve")])
    assert names(sql) == []
    query = drafts(1)[0].content
    children = [crew.start("recall_of_a_huge_user", url=store_url, query=query) for _ in range(4)]
    assert [child.hear() for child in children] == ["open"] * 4
    for child in children:
        child.say("recall")
    assert [child.hear() for child in children] == [True] * 4
    assert kinds(sql, "ana") == ["types", "vectors_256", "words"]
    assert len(names(sql)) == 3
    answers = []
    for child in children:
        child.say("again")
        answers.append(child.hear())
        child.finish()
    assert [huge for huge, _ in answers] == [True] * 4
    assert {tuple(found) for _, found in answers} == {tuple(answers[0][1])}
    assert query in answers[0][1]


def test_a_user_who_only_seems_to_have_many_is_counted(open_huge: OpenMemory, sql: Sql) -> None:
    memory = open_huge(exact_up_to=5)
    for _ in range(10):
        memory.remember("always the same", user_id="ana")
    assert sql("SELECT memories FROM langchain_kronvex.scopes") == [(10,)]
    assert len(memory.recall("same", user_id="ana")) == 1
    assert made(memory)
    assert sql("SELECT memories FROM langchain_kronvex.scopes") == [(1,)]
    assert names(sql) == []


@pytest.mark.parametrize("everything", [False, True])
def test_forgetting_drops_the_indexes(open_huge: OpenMemory, sql: Sql, everything: bool) -> None:
    memory = open_huge()
    memory.remember_many([*drafts(400), *drafts(400, "ben")])
    prepared(memory, "ana", "ben")
    if everything:
        memory.clear()
    else:
        memory.forget(user_id="ana")
    assert made(memory)
    assert kinds(sql, "ana") == []
    assert len(kinds(sql, "ben")) == (0 if everything else 3)
    assert memory.recall("tea", user_id="ana") == []
    assert len(memory.recall("tea", user_id="ben")) == (0 if everything else 5)


def test_indexes_go_with_the_last_memory(open_huge: OpenMemory, sql: Sql) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    for session in memory.sessions(user_id="ana"):
        assert len(names(sql)) == 3
        memory.forget(user_id="ana", session_id=session.session_id)
        memory.recall("tea", user_id="ana")  # now in RAM
    memory.forget(user_id="ana")
    assert sql("SELECT count(*) FROM langchain_kronvex.scopes") == [(0,)]
    assert made(memory)
    assert names(sql) == []


def test_indexes_of_one_who_is_gone_go_when_a_worker_opens(open_huge: OpenMemory, sql: Sql) -> None:
    memory = open_huge()
    memory.remember_many([*drafts(400), *drafts(400, "ben")])
    prepared(memory, "ana", "ben")
    ana = scope_key("default", "ana")
    sql("DELETE FROM langchain_kronvex.scopes WHERE scope = %s", ana)
    sql("DELETE FROM langchain_kronvex.records WHERE scope = %s", ana)
    assert made(open_huge())
    assert kinds(sql, "ana") == []
    assert kinds(sql, "ben") == ["types", "vectors_256", "words"]


def test_indexes_go_when_the_last_memory_has_expired(open_huge: OpenMemory, sql: Sql) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    sql("UPDATE langchain_kronvex.records SET expires = now() - interval '1 day'")
    assert memory._backend.purge(memory._clock()) == 400
    assert made(memory)
    assert names(sql) == []


def test_who_shrinks_is_searched_in_ram_again(open_huge: OpenMemory) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    for session in range(10):
        memory.forget(user_id="ana", session_id=f"session-{session}")
    for _ in range(2):
        found = memory.recall("tea", user_id="ana", top_k=300)
    assert len(found) == 200
    assert not is_huge(memory, "ana")


def test_what_a_killed_worker_left_half_made_is_made_anew(open_huge: OpenMemory, sql: Sql) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    half = f"huge_{scope_key('default', 'ana').hex}_types"
    with pytest.raises(Exception, match="could not create unique index"):
        sql(f'CREATE UNIQUE INDEX CONCURRENTLY "{half}" ON langchain_kronvex.records (scope)')
    prepared(memory, "ana")
    assert kinds(sql, "ana") == ["types", "vectors_256", "words"]


def test_other_embeddings_get_an_index_of_their_own(open_huge: OpenMemory, sql: Sql) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    prepared(memory, "ana")
    memory.reindex(HashedWords(32))
    wanted = drafts(40)[33].content
    for _ in range(3):
        assert memory.recall(wanted, user_id="ana", top_k=1)[0].content == wanted
        assert made(memory)
    assert is_huge(memory, "ana")
    assert kinds(sql, "ana") == ["types", "vectors_32", "words"]


def test_closing_breaks_the_making_off(open_huge: OpenMemory, sql: Sql) -> None:
    memory = open_huge()
    memory.remember_many(drafts(400))
    sql("BEGIN")
    sql("LOCK TABLE langchain_kronvex.records IN SHARE UPDATE EXCLUSIVE MODE")
    memory.recall("tea", user_id="ana")  # its making waits for the lock
    assert not backend(memory)._maker.join(0.05)
    memory.close()
    assert backend(memory)._maker.join(0)
    sql("ROLLBACK")
    prepared(open_huge(), "ana")


def test_where_no_index_can_be_made_it_is_said_once_and_searched_in_ram(
    open_memory: OpenMemory, sql: Sql
) -> None:
    open_memory().close()
    sql(PARTITIONING)
    told: list[Exception] = []
    memory = open_memory(postgres=PostgresOptions(exact_up_to=MANY), on_error=told.append)
    memory.remember_many(drafts(400))
    wanted = drafts(40)[33].content
    for _ in range(3):
        assert memory.recall(wanted, user_id="ana", top_k=1)[0].content == wanted
        assert made(memory)
    assert not is_huge(memory, "ana")
    assert [str(error).count("indexes") for error in told] == [1]
    assert wanted not in str(told)


@pytest.mark.parametrize("bound", [-1, 1.5, "many"])
def test_a_bound_that_is_none_is_refused(bound: Any) -> None:
    with pytest.raises(ConfigurationError, match="exact_up_to"):
        PostgresOptions(exact_up_to=bound)
