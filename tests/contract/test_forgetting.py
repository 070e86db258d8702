"""Forgetting: exactly the named memories are gone, from every way of reading."""

from __future__ import annotations

import threading

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import Clock, Driver
from langchain_kronvex import InvalidInput, Scope


def everything(memory: Driver, *scopes: tuple[str | None, str | None]) -> set[str]:
    found: set[str] = set()
    for user_id, session_id in scopes:
        scope = {"user_id": user_id, "session_id": session_id}
        listed = {m.content for m in memory.memories(**scope)}
        assert {m.content for m in memory.recall("tea", top_k=99, **scope)} == listed
        assert {m.content for m in memory.inject_context("tea", top_k=99, **scope).memories} == (
            listed
        )
        found |= listed
    return found


SCOPES = [(None, None), ("ana", None), ("bob", None), (None, "s1")]


@pytest.fixture
def filled(memory: Driver) -> Driver:
    for user_id, session_id in [
        (None, None),
        ("ana", None),
        ("ana", "s1"),
        ("ana", "s2"),
        ("bob", "s1"),
        (None, "s1"),
    ]:
        memory.remember(f"tea of {user_id} in {session_id}", user_id=user_id, session_id=session_id)
    assert len(everything(memory, *SCOPES)) == 6
    return memory


@pytest.mark.parametrize(
    ("named", "gone"),
    [
        ({"user_id": "ana"}, {"tea of ana in None", "tea of ana in s1", "tea of ana in s2"}),
        ({"user_id": "ana", "session_id": "s1"}, {"tea of ana in s1"}),
        ({"session_id": "s1"}, {"tea of None in s1"}),
        ({"user_id": "bob"}, {"tea of bob in s1"}),
        ({"session_id": "s2"}, set()),
        ({"user_id": "ana", "session_id": "s9"}, set()),
        ({"user_id": "an%"}, set()),
        ({"user_id": "ANA"}, set()),
        ({"user_id": "_na"}, set()),
    ],
    ids=lambda given: str(sorted(given, key=str)),
)
def test_exactly_the_named_memories_are_forgotten(filled: Driver, named: dict, gone: set) -> None:
    before = everything(filled, *SCOPES)
    assert filled.forget(**named) == len(gone)
    assert everything(filled, *SCOPES) == before - gone
    assert filled.forget(**named) == 0


def test_one_memory_is_forgotten_by_its_id(filled: Driver) -> None:
    chosen = filled.memories(user_id="ana", session_id="s1")[0]
    assert filled.forget(id=chosen.id) == 1
    assert filled.get(chosen.id) is None
    assert len(everything(filled, *SCOPES)) == 5
    assert filled.forget(id=chosen.id) == 0


def test_an_id_together_with_a_user_must_fit_both(filled: Driver) -> None:
    of_ana = filled.memories(user_id="ana", session_id="s1")[0]
    assert filled.forget(id=of_ana.id, user_id="bob") == 0
    assert filled.forget(id=of_ana.id, user_id="ana", session_id="s2") == 0
    assert filled.get(of_ana.id) == of_ana
    assert filled.forget(id=of_ana.id, user_id="ana", session_id="s1") == 1


def test_forgetting_without_arguments_is_rejected(filled: Driver) -> None:
    with pytest.raises(InvalidInput, match="clear"):
        filled.forget()
    assert len(everything(filled, *SCOPES)) == 6


def test_clear_forgets_everything_and_counts_it(filled: Driver) -> None:
    filled.save_messages([HumanMessage("hi")], "s1", user_id="ana", remember=False)
    assert filled.clear() == 7
    assert everything(filled, *SCOPES) == set()
    assert filled.sessions() == []
    assert filled.stats().memories == filled.stats().messages == filled.stats().users == 0
    assert filled.clear() == 0


def test_messages_go_with_their_user_or_session(memory: Driver) -> None:
    for user_id, session_id in [("ana", "s1"), ("ana", "s2"), ("bob", "s1")]:
        memory.save_messages([HumanMessage("tea?"), AIMessage("yes")], session_id, user_id=user_id)
    assert memory.forget(user_id="ana", session_id="s1") == 3
    assert memory.load_messages("s1", user_id="ana") == []
    assert len(memory.load_messages("s2", user_id="ana")) == 2
    assert len(memory.load_messages("s1", user_id="bob")) == 2
    assert memory.forget(user_id="ana") == 3
    assert memory.load_messages("s2", user_id="ana") == []
    assert memory.recall("tea", user_id="ana") == []
    assert len(memory.load_messages("s1", user_id="bob")) == 2


def test_only_visible_memories_are_counted(memory: Driver) -> None:
    for _ in range(2):
        memory.save_messages([HumanMessage("hi")], "s", user_id="ana")
        memory.save_messages([AIMessage("hello")], "s", user_id="ana")
    stats = memory.stats()
    assert (stats.memories, stats.messages) == (1, 4)
    assert memory.forget(user_id="ana") == 5


def test_a_forgotten_text_can_be_remembered_again(memory: Driver) -> None:
    first = memory.remember("tea", user_id="ana", metadata={"old": 1})
    memory.recall("tea", user_id="ana")
    memory.flush()
    memory.forget(user_id="ana")
    second = memory.remember("tea", user_id="ana")
    assert second.id != first.id
    assert (second.deduplicated, second.metadata, second.access_count) == (False, {}, 0)
    found = memory.recall("tea", user_id="ana")
    assert [(m.id, m.access_count) for m in found] == [(second.id, 0)]


def test_a_forgotten_memory_leaves_no_trace_in_the_scores(memory: Driver) -> None:
    memory.remember("green tea", user_id="ana", session_id="s")
    memory.remember("black coffee", user_id="ana", session_id="s")

    def scores():
        return [
            (m.id, m.similarity, m.probability)
            for m in memory.recall("tea jasmine", user_id="ana", order_by="similarity")
        ]

    before = scores()
    passing = memory.remember("jasmine?", user_id="ana", session_id="s")
    assert scores() != before
    memory.forget(id=passing.id)
    assert scores() == before


def test_forgetting_one_session_keeps_pending_saves_of_another(memory: Driver) -> None:
    started, go = threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        assert go.wait(30)

    writer = memory.memory.engine.writer
    writer.submit("elsewhere", block)
    assert started.wait(30)
    done: list[str] = []
    kept = writer.submit(Scope("ana", "s2"), lambda: done.append("s2"))
    dropped = writer.submit(Scope("ana", "s1"), lambda: done.append("s1"))
    memory.remember("tea", user_id="ana", session_id="s1")
    memory.forget(user_id="ana", session_id="s1")
    go.set()
    assert memory.flush(30)
    assert dropped.cancelled()
    assert done == ["s2"]
    assert kept.done()
    assert not kept.cancelled()


def test_a_save_during_forgetting_does_not_come_back(memory: Driver) -> None:
    started, go, saved = threading.Event(), threading.Event(), threading.Event()
    inner = memory.memory

    def save() -> None:
        started.set()
        assert go.wait(30)
        inner.remember("tea", user_id="ana")
        saved.set()

    inner.engine.writer.submit(Scope("ana"), save)
    assert started.wait(30)
    forgotten = threading.Event()

    def forget() -> None:
        inner.forget(user_id="ana")
        forgotten.set()

    forgetting = threading.Thread(target=forget)
    forgetting.start()
    forgotten.wait(0.2)  # it may return at once, or wait for the job that runs
    go.set()
    forgetting.join(30)
    assert forgotten.is_set()
    assert saved.wait(30)
    assert memory.memories(user_id="ana") == []


def test_an_expired_memory_is_not_kept_from_being_forgotten(memory: Driver, clock: Clock) -> None:
    memory.remember("tea", user_id="ana", ttl_days=1)
    clock.advance(days=2)
    memory.forget(user_id="ana")
    clock.advance(days=-2)
    assert memory.memories(user_id="ana") == []


def test_what_another_worker_forgets_leaves_its_place_to_others(open_shared) -> None:
    memory, other = open_shared(), open_shared()
    ids = [memory.remember(f"tea {n}", user_id="ana").id for n in range(9)]
    best = [m.id for m in memory.recall("tea", user_id="ana", top_k=3)]
    for id_ in best:
        assert other.forget(id=id_) == 1
    left = {m.id for m in memory.recall("tea", user_id="ana", top_k=9)}
    assert left == set(ids) - set(best)
    assert len(memory.recall("tea", user_id="ana", top_k=3)) == 3
