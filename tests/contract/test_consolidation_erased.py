"""What is derived goes with what it was derived from: forgotten, expired, exported, imported."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from consolidation.scripted import Rules, fact, said
from contract.conftest import BACKENDS
from contract.drivers import NOW, Clock, Driver
from contract.test_consolidating import colour, consolidator, contents, derived, model, tell
from contract.test_moving import open_elsewhere
from inside import Replacement, Scope, Selection, memory_record
from langchain_kronvex import MemoryDraft, Retention
from langchain_kronvex.consolidation import KronvexConsolidator

__all__ = ["colour", "consolidator", "model", "open_elsewhere"]  # fixtures
OpenDriver = Callable[..., Driver]
LISBON, IN_LISBON = said("city", "Lisbon"), fact("city", "Lisbon")
AGAIN = f"{LISBON} Really."


def semantic(memory: Driver, **chosen: Any) -> list[str]:
    return contents(memory.memories(user_id="ana", memory_type="semantic", **chosen))


# -- the same words, said or derived -----------------------------------------------------------


def test_what_a_user_stated_stays_theirs(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    stated = memory.remember(IN_LISBON, user_id="ana", memory_type="semantic", ttl_days=9)
    [source] = tell(memory, LISBON)
    model.during = lambda shown: {"Fact": [{"text": IN_LISBON, "sources": [1]}]}
    report = consolidator.run()  # it is known, without a number
    assert report.operations == ()
    # The same if it is not shown as known.
    model.during = lambda shown: {"Fact": [{"text": f"{IN_LISBON[:-1]}", "sources": [1]}]}
    memory.update(stated.id, content=IN_LISBON[:-1])
    memory.update(source, content=AGAIN)
    consolidator.run()
    kept = memory.get(stated.id)
    assert (kept.sources, kept.expires_at, kept.metadata) == ((), stated.expires_at, {})
    assert consolidator.undo(report) == 0
    memory.forget(id=source)
    assert semantic(memory) == [IN_LISBON[:-1]]


def test_what_is_stated_after_it_was_derived_is_the_users(
    memory: Driver, consolidator: KronvexConsolidator
) -> None:
    [source] = tell(memory, LISBON)
    report = consolidator.run()
    stated = memory.remember(IN_LISBON, user_id="ana", memory_type="semantic")
    assert (stated.deduplicated, stated.sources) == (True, ())
    assert consolidator.undo(report) == 0
    memory.forget(id=source)
    assert semantic(memory) == [IN_LISBON]


def test_it_expires_with_the_last_of_its_sources(
    memory: Driver, clock: Clock, consolidator: KronvexConsolidator
) -> None:
    tell(memory, LISBON, ttl_days=3)
    tell(memory, AGAIN, ttl_days=5)
    tell(memory, said("cat", "Tom"), ttl_days=1, pinned=True)
    consolidator.run()
    expiries = {each.content: each.expires_at for each in derived(memory)}
    assert expiries == {IN_LISBON: clock.now.replace(day=3, month=5), fact("cat", "Tom"): None}
    clock.advance(days=4)
    tell(memory, f"{LISBON} Still.", ttl_days=9)
    consolidator.run()
    clock.advance(days=8)
    assert semantic(memory) == [IN_LISBON, fact("cat", "Tom")]
    clock.advance(days=2)
    assert semantic(memory) == [fact("cat", "Tom")]


# -- erasure -----------------------------------------------------------------------------------


def test_a_fact_goes_with_the_last_of_its_sources(
    memory: Driver, consolidator: KronvexConsolidator
) -> None:
    first, second = tell(memory, LISBON, AGAIN)
    consolidator.run()
    assert memory.forget(id=first) == 1
    assert semantic(memory) == [IN_LISBON]
    assert memory.forget(id=second) == 2
    assert memory.stats().memories == 0
    assert contents(memory.recall("city", user_id="ana")) == []


def test_a_fact_goes_with_the_session_that_it_rests_on(
    memory: Driver, consolidator: KronvexConsolidator
) -> None:
    tell(memory, LISBON, said("cat", "Tom"), session_id="one")
    tell(memory, AGAIN, session_id="two")
    consolidator.run()
    assert memory.forget(user_id="ana", session_id="one") == 3
    assert semantic(memory) == [IN_LISBON]
    assert memory.forget(user_id="ana", session_id="two") == 2
    assert memory.stats().memories == 0


def test_forgetting_a_user_and_everything(
    memory: Driver, consolidator: KronvexConsolidator
) -> None:
    for user in ("ana", "ben", "cleo"):
        tell(memory, LISBON, user_id=user)
    consolidator.run()
    assert memory.forget(user_id="ana") == 2
    assert [len(memory.memories(user_id=user)) for user in ("ana", "ben", "cleo")] == [0, 2, 2]
    assert memory.clear() == 4
    tell(memory, LISBON)
    assert consolidator.waiting() == ["ana"]
    assert consolidator.run().added == 1


def test_forgetting_the_successor_brings_nothing_back(
    memory: Driver, consolidator: KronvexConsolidator
) -> None:
    tell(memory, LISBON)
    consolidator.run()
    [old] = derived(memory)
    [source] = tell(memory, said("city", "Porto"))
    consolidator.run()
    assert memory.forget(id=source) == 2
    assert semantic(memory) == []
    assert memory.restore(old.id).content == IN_LISBON
    assert semantic(memory) == [IN_LISBON]


def test_forgetting_an_exchange_of_a_chat(
    memory: Driver, consolidator: KronvexConsolidator
) -> None:
    history = memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage(LISBON), AIMessage("How nice!")])
    consolidator.run()
    [found] = derived(memory)
    history.add_messages([AIMessage("And what is it like?")])  # a second answer
    assert consolidator.run().exchanges == 1
    [source] = found.sources
    assert memory.forget(id=source) == 2
    assert memory.stats().memories == 0
    assert LISBON not in str(history.messages)


def test_facts_stay_when_a_retention_takes_their_sources(
    open_driver: OpenDriver, clock: Clock
) -> None:
    memory = open_driver(retention=Retention(max_memories=1, keep_types=["semantic"]))
    [source] = tell(memory, LISBON)
    KronvexConsolidator(memory.memory, Rules()).run()
    clock.advance(days=1)
    tell(memory, "Hello.")
    memory.expire()
    assert memory.get(source) is None
    assert semantic(memory) == [IN_LISBON]
    assert memory.forget(user_id="ana") == 2


def test_of_sources_that_are_replaced_in_one_step(
    memory: Driver, consolidator: KronvexConsolidator
) -> None:
    ids = tell(memory, LISBON, AGAIN)
    consolidator.run()
    engine, scope = memory.memory.engine, Scope("ana")
    each = [Selection(kind="memory", scope=scope, ids=(id_,)) for id_ in ids]
    engine.put([memory_record(scope, "Hello.", NOW)], NOW, each)
    assert contents(memory.memories(user_id="ana")) == ["Hello."]


@pytest.mark.parametrize("backend", BACKENDS[:1], indirect=True, ids=["sqlite-file"])
@pytest.mark.parametrize("how", ["source", "fact", "session", "user", "undo", "clear"])
def test_no_byte_is_left_in_the_file(
    memory: Driver, tmp_path: Path, model: Rules, how: str, consolidator: KronvexConsolidator
) -> None:
    tell(memory, "Hello.")
    [source] = tell(memory, LISBON, session_id="chat")
    model.during = lambda shown: {
        "Fact": [{"text": "Qzxwv.", "sources": [len(shown.exchanges)], "reason": "Jkpyt"}]
    }
    report = consolidator.run()
    [found] = derived(memory)
    tell(memory, said("cat", "Tom"))  # others write meanwhile
    memory.recall("Qzxwv", user_id="ana")
    {
        "source": lambda: memory.forget(id=source),
        "fact": lambda: memory.forget(id=found.id),
        "session": lambda: memory.forget(user_id="ana", session_id="chat"),
        "user": lambda: memory.forget(user_id="ana"),
        "undo": lambda: consolidator.undo(report),
        "clear": lambda: memory.clear(),
    }[how]()
    memory.flush()
    for path in tmp_path.rglob("memory.db*"):
        data = path.read_bytes()
        assert not [word for word in (b"Qzxwv", b"Jkpyt") if word in data], path.name


# -- export and import ---------------------------------------------------------------------------


def moved(memory: Driver, to: Driver) -> None:
    file = io.BytesIO()
    memory.export(file)
    file.seek(0)
    to.import_(file)


def test_sources_arrive(
    memory: Driver, open_elsewhere: OpenDriver, consolidator: KronvexConsolidator, clock: Clock
) -> None:
    ids = tell(memory, LISBON, AGAIN)
    consolidator.run()
    clock.advance(days=1)
    tell(memory, said("city", "Porto"))
    consolidator.run()
    there = open_elsewhere()
    for _ in range(2):
        moved(memory, there)
        found = there.memories(user_id="ana", memory_type="semantic", include_superseded=True)
        assert found == memory.memories(
            user_id="ana", memory_type="semantic", include_superseded=True
        )
    assert there.forget(id=ids[0]) == 1
    assert there.forget(id=ids[1]) == 2
    assert semantic(there, include_superseded=True) == [fact("city", "Porto")]


def test_sources_are_the_moved_ones_if_ids_are_taken(
    memory: Driver, open_shared: OpenDriver, consolidator: KronvexConsolidator
) -> None:
    tell(memory, LISBON, AGAIN)
    consolidator.run()
    other = open_shared(agent_id="other")
    for _ in range(2):
        moved(memory, other)
        [found] = derived(other)
        said_there = other.memories(user_id="ana", memory_type="episodic")
        assert {*found.sources} == {each.id for each in said_there}
        assert other.stats().memories == 3
    assert [other.forget(id=id_) for id_ in found.sources] == [1, 2]
    assert semantic(memory) == [IN_LISBON]


def test_sources_that_were_said_there_already(
    memory: Driver, open_elsewhere: OpenDriver, consolidator: KronvexConsolidator
) -> None:
    tell(memory, LISBON)
    consolidator.run()
    there = open_elsewhere()
    [own] = tell(there, LISBON)
    for _ in range(2):
        moved(memory, there)
        [found] = derived(there)
        assert found.sources == (own,)
    assert there.forget(id=own) == 2


def test_sources_of_a_restored_batch_and_of_items(memory: Driver) -> None:
    engine = memory.memory.engine
    of_ana = replace(memory_record(Scope("ana"), "x", NOW), sources=("no", "such", "id"))
    assert engine.backend.restore([of_ana], NOW) == 1
    assert memory.get(of_ana.id).sources == ("no", "such", "id")
    assert engine.backend.put(Replacement([]), NOW)
    assert memory.forget(user_id="ana") == 1


def test_exported_drafts_of_many_users_keep_their_own(
    memory: Driver, open_elsewhere: OpenDriver, consolidator: KronvexConsolidator
) -> None:
    memory.remember_many([MemoryDraft(LISBON, user_id=user) for user in ("ana", "ben", "cleo")])
    consolidator.run()
    there = open_elsewhere()
    moved(memory, there)
    for user in ("ana", "ben", "cleo"):
        [found] = derived(there, user)
        [source] = found.sources
        assert there.get(source).user_id == user
