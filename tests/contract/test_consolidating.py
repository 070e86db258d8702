"""Consolidation: every exchange is looked at once, and each batch is stored whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from consolidation.scripted import Rules, Shown, fact, said
from contract.drivers import NOW, Clock, Driver
from inside import Consolidated, Scope, memory_record
from langchain_kronvex import InvalidInput, MemoryDraft
from langchain_kronvex.consolidation import KronvexConsolidator

OpenDriver = Callable[..., Driver]
LISBON, PORTO = said("city", "Lisbon"), said("city", "Porto")
IN_LISBON, IN_PORTO = fact("city", "Lisbon"), fact("city", "Porto")


@pytest.fixture
def colour() -> str:
    """The async verbs of a consolidator run the others in a thread."""
    return "sync"


@pytest.fixture
def model() -> Rules:
    return Rules()


@pytest.fixture
def consolidator(memory: Driver, model: Rules) -> KronvexConsolidator:
    return KronvexConsolidator(memory.memory, model, batch_exchanges=5)


def tell(memory: Driver, *words: str, user_id: str = "ana", **fields: Any) -> list[str]:
    """Let a user say something, and return the ids of the memories."""
    drafts = [MemoryDraft(each, user_id=user_id, **fields) for each in words]
    return [each.id for each in memory.remember_many(drafts)]


def derived(memory: Driver, user_id: str = "ana", **chosen: Any) -> list[Any]:
    """Return the derived memories of a user, in the order of writing."""
    found = memory.memories(user_id=user_id, limit=1000, **chosen)
    return sorted((each for each in found if each.sources), key=lambda each: each.content)


def contents(found: Any) -> list[str]:
    return [each.content for each in found]


# -- progress --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 5, 10, 11])
def test_every_exchange_is_looked_at_once(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules, count: int
) -> None:
    words = [said(f"number{n}", str(n)) for n in range(count)]
    tell(memory, *words)
    assert consolidator.waiting() == ["ana"]
    report = consolidator.run()
    assert (report.exchanges, report.added, report.batches) == (count, count, -(-count // 5))
    assert model.exchanges == words
    assert consolidator.waiting() == []
    assert consolidator.run("ana").calls == 0
    tell(memory, LISBON)
    assert consolidator.waiting() == ["ana"]
    assert consolidator.run().exchanges == 1
    assert model.exchanges == [*words, LISBON]


def test_a_thousand_memories_of_one_call(memory: Driver, clock: Clock) -> None:
    words = [f"hello {n}" for n in range(1000)]
    tell(memory, *words)
    backend, found = memory.memory.engine.backend, list[str]()
    assert backend.claim("ana", "one", clock.now, 10)
    for count in (*[90] * 11, 10, 0):
        records, revision = backend.unconsolidated("ana", 90, clock.now)
        assert (len(records), bool(revision)) == (count, count < 90)
        found += [record.content for _, record in records]
        done = [position for position, _ in records]
        looked = Consolidated(owner="ana", worker="one", positions=done, revision=revision)
        assert backend.consolidate(looked, clock.now) == []
    assert found == words


def test_fewer_are_shown_at_once_if_they_are_long(memory: Driver, model: Rules) -> None:
    words = [f"{n} {'word ' * 300}" for n in range(6)]
    tell(memory, *words)
    report = KronvexConsolidator(memory.memory, model, max_batch_tokens=1000).run()
    assert report.exchanges == 6
    assert report.batches > 1
    assert [each[:2] for each in model.exchanges] == [each[:2] for each in words]


def test_what_is_new_is_derived_with_all_that_it_rests_on(
    memory: Driver, clock: Clock, consolidator: KronvexConsolidator
) -> None:
    sources = tell(memory, LISBON, "Hello.", f"{LISBON} Really.")
    report = consolidator.run("ana")
    [found] = derived(memory)
    assert (found.content, found.memory_type) == (IN_LISBON, "semantic")
    assert found.sources == (sources[0], sources[2])
    assert (found.created_at, found.valid_from, found.session_id) == (NOW, NOW, None)
    assert found.metadata["consolidation"]["model"] == "Rules"
    [operation] = report.operations
    assert (operation.id, operation.kind) == (found.id, "add")
    assert operation.sources == found.sources


def test_what_is_outdated_is_superseded_and_what_is_said_again_confirmed(
    memory: Driver, clock: Clock, consolidator: KronvexConsolidator
) -> None:
    [first] = tell(memory, LISBON)
    consolidator.run()
    clock.advance(days=1)
    [second] = tell(memory, LISBON, session_id="another")
    assert consolidator.run().confirmed == 1
    [found] = derived(memory)
    assert (found.sources, found.created_at) == ((first, second), clock.now)
    clock.advance(days=1)
    tell(memory, PORTO)
    report = consolidator.run()
    assert (report.superseded, report.added) == (1, 0)
    assert contents(derived(memory)) == [IN_PORTO]
    assert contents(memory.history(found.id)) == [IN_LISBON, IN_PORTO]
    assert contents(memory.memories(user_id="ana", memory_type="episodic")) == [
        PORTO,
        LISBON,
        LISBON,
    ]


def test_a_corrected_text_is_looked_at_again_and_nothing_else_is(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    [first, _] = tell(memory, LISBON, "Hello.")
    consolidator.run()
    memory.update(first, pinned=True, metadata={"a": 1})
    memory.update(first, ttl_days=5)
    memory.recall("city", user_id="ana")
    memory.flush()
    tell(memory, LISBON)  # said again: the same memory
    assert consolidator.run().calls == 0
    memory.update(first, content=PORTO)
    assert consolidator.waiting() == ["ana"]
    assert consolidator.run().superseded == 1
    assert model.exchanges[2:] == [PORTO]
    assert contents(derived(memory)) == [IN_PORTO]
    assert consolidator.run().calls == 0


def test_an_answer_that_comes_later_is_looked_at(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    history = memory.chat_history("chat", "ana")
    history.add_user_message(LISBON)
    consolidator.run()
    history.add_ai_message("How nice!")
    assert consolidator.run().exchanges == 1
    assert model.exchanges == [LISBON, LISBON]


def test_refused_answers_set_the_batch_aside(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    tell(memory, *[said(f"n{n}", "x") for n in range(7)])
    model.during = lambda shown: "no JSON" if len(shown.exchanges) == 5 else None
    report = consolidator.run()
    assert (report.refused, report.set_aside, report.added) == (2, 5, 2)
    assert memory.stats().failed == 1
    assert consolidator.waiting() == []
    assert consolidator.run().calls == 0
    assert consolidator.run("ana", again="set_aside").set_aside == 5
    model.during = None
    assert consolidator.run(again="set_aside").added == 5
    assert consolidator.run(again="set_aside").calls == 0
    report = consolidator.run("ana", again="all")
    assert (report.exchanges, report.confirmed, report.added) == (7, 7, 0)
    assert len(derived(memory)) == 7


def test_a_dry_run_stores_nothing(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    tell(memory, *[said(f"n{n}", "x") for n in range(7)])
    report = consolidator.run(dry_run=True)
    assert (report.added, report.exchanges, report.dry_run) == (7, 7, True)
    assert derived(memory) == []
    assert {each.id for each in report.operations} == {None}
    with pytest.raises(InvalidInput):
        consolidator.undo(report)
    assert consolidator.run().added == 7


def test_nobody_and_nothing_to_consolidate(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    memory.remember("of nobody in particular")
    memory.remember(IN_LISBON, user_id="ana", memory_type="semantic")
    memory.chat_history("chat", "ben").add_user_message("   ")
    assert consolidator.waiting() == []
    for user in ("ana", "ben", "nobody", None):
        report = consolidator.run(user)
        assert (report.calls, report.stopped) == (0, None)
    for wrong in ({"again": "some"}, {"user_id": ""}, {"dry_run": 1}):
        with pytest.raises(InvalidInput):
            consolidator.run(**wrong)


def test_the_async_twins(memory: Driver, consolidator: KronvexConsolidator) -> None:
    tell(memory, LISBON)

    async def use() -> None:
        assert (await consolidator.arun(dry_run=True)).added == 1
        report = await consolidator.arun("ana")
        assert contents(derived(memory)) == [IN_LISBON]
        assert await consolidator.aundo(report) == 1
        await consolidator.astart(0.0)
        consolidator.wake("ana")
        assert await consolidator.aflush(5.0)
        await consolidator.astop()

    asyncio.run(use())


# -- claims ----------------------------------------------------------------------------------------


def test_one_worker_at_a_time_works_on_a_user(
    memory: Driver, clock: Clock, consolidator: KronvexConsolidator, model: Rules
) -> None:
    tell(memory, LISBON)
    tell(memory, PORTO, user_id="ben")
    other = KronvexConsolidator(memory.memory, Rules())
    reports = []

    def meanwhile(shown: Shown) -> None:
        model.during = None
        assert other.waiting() == ["ben"]
        reports.extend([other.run("ana"), other.run()])

    model.during = meanwhile
    assert consolidator.run("ana").added == 1
    blocked, elsewhere = reports
    assert (blocked.calls, blocked.stopped) == (0, "another worker consolidates this user")
    assert (elsewhere.added, elsewhere.stopped) == (1, None)
    assert other.run("ana").stopped is None  # the claim has ended


def test_a_worker_that_takes_too_long_is_replaced_and_stores_nothing(
    memory: Driver, clock: Clock, consolidator: KronvexConsolidator, model: Rules
) -> None:
    tell(memory, LISBON)
    second = Rules()
    other = KronvexConsolidator(memory.memory, second)

    def slow(shown: Shown) -> Any:
        model.during = None
        clock.advance(seconds=299)
        assert other.run("ana").stopped is not None
        clock.advance(seconds=1)
        assert other.run("ana").added == 1
        return {"Fact": [{"text": "It came too late.", "sources": [1]}]}

    model.during = slow
    report = consolidator.run("ana")
    assert (report.added, report.exchanges, report.operations) == (0, 0, ())
    assert contents(derived(memory)) == [IN_LISBON]
    assert (len(model.shown), len(second.shown)) == (1, 1)


def test_without_its_claim_a_worker_stores_nothing(memory: Driver, clock: Clock) -> None:
    tell(memory, LISBON)
    backend = memory.memory.engine.backend
    assert backend.claim("ana", "one", clock.now, 10)
    assert not backend.claim("ana", "two", clock.now, 10)
    assert not backend.claim("nobody", "two", clock.now, 10)
    added = memory_record(Scope("ana"), IN_LISBON, NOW, memory_type="semantic")
    late = Consolidated(owner="ana", worker="two", positions=[1], added=[added])
    assert backend.consolidate(late, clock.now) is None
    assert backend.claim("ana", "one", clock.now, 0)  # gives it back
    assert backend.claim("ana", "two", clock.now, 10)
    assert contents(memory.memories(user_id="ana")) == [LISBON]


# -- conflicts -------------------------------------------------------------------------------------


def once(model: Rules, change: Callable[[], object]) -> None:
    """Let something happen during the next call of the model."""

    def during(shown: Shown) -> None:
        model.during = None
        change()

    model.during = during


def test_what_changes_while_the_model_thinks_is_looked_at_as_it_is(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    [first, second] = tell(memory, LISBON, "Hello.")
    once(model, lambda: memory.update(first, content=PORTO))
    report = consolidator.run()
    assert (report.calls, report.exchanges, report.added) == (2, 2, 1)
    assert contents(derived(memory)) == [IN_PORTO]
    tell(memory, said("cat", "Tom"), "Good night.")
    once(model, lambda: memory.forget(id=first))
    consolidator.run()
    [third] = [m.id for m in memory.memories(user_id="ana") if m.content == "Good night."]
    memory.update(third, content=said("dog", "Rex"))
    # Nothing was derived from this one, and still its new text is not missed.
    once(model, lambda: memory.update(second, content=said("bird", "Pip")))
    memory.update(second, content="Hello again.")
    consolidator.run()
    assert fact("bird", "Pip") in contents(derived(memory))


@pytest.mark.parametrize("ids", [["first"], ["first", "second"]], ids=len)
def test_forgetting_a_source_while_the_model_thinks(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules, ids: list[str]
) -> None:
    named = dict(zip(("first", "second"), tell(memory, LISBON, PORTO), strict=True))
    once(model, lambda: [memory.forget(id=named[each]) for each in ids])
    consolidator.run()
    assert contents(derived(memory)) == ([] if len(ids) == 2 else [IN_PORTO])


def test_forgetting_the_user_while_the_model_thinks(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    tell(memory, LISBON)
    once(model, lambda: memory.forget(user_id="ana"))
    report = consolidator.run("ana")
    assert (report.added, report.stopped, memory.stats().memories) == (0, None, 0)
    tell(memory, LISBON)
    assert consolidator.run().added == 1


def test_others_that_never_stop_changing_memories_end_a_run(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    [first] = tell(memory, LISBON)

    def during(shown: Shown) -> None:
        memory.update(first, content=f"{LISBON} {len(model.shown)}.")

    model.during = during
    report = consolidator.run()
    assert (report.calls, report.stopped) == (4, "others kept changing the memories")
    model.during = None
    assert consolidator.run().added == 1


@pytest.mark.parametrize("change", ["forget", "update", "supersede", "state"])
@pytest.mark.parametrize("words", [LISBON + " Yes.", PORTO], ids=["confirm", "supersede"])
def test_what_was_known_changes_while_the_model_thinks(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules, change: str, words: str
) -> None:
    tell(memory, LISBON)
    consolidator.run()
    [known] = derived(memory)
    tell(memory, words)
    statement = {"user_id": "ana", "memory_type": "semantic"}
    changes: dict[str, Callable[[], Any]] = {
        "forget": lambda: memory.forget(id=known.id),
        "update": lambda: memory.update(known.id, content=fact("city", "Faro")),
        "supersede": lambda: memory.remember("I said it.", supersedes=known.id, **statement),
        "state": lambda: memory.remember(IN_LISBON, **statement),
    }
    stated: list[Any] = []
    once(model, lambda: stated.append(changes[change]()))
    consolidator.run()
    now = IN_LISBON if words != PORTO else IN_PORTO
    current = memory.memories(user_id="ana", memory_type="semantic", limit=100)
    # What a user has corrected stays.
    assert (fact("city", "Faro") in contents(current)) == (change == "update")
    if change in ("supersede", "state"):  # a user's own words are never hidden, nor made a fact
        kept = memory.get(stated[0].id)
        assert (kept.superseded_by, kept.sources) == (None, ())
        assert kept.content in contents(current)
    assert (now in contents(derived(memory))) == ((change, now) != ("state", IN_LISBON))
