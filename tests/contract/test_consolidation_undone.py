"""Taking consolidations back: memories, recall and history are as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from consolidation.scripted import Rules, fact, said
from contract.drivers import Clock, Driver
from contract.test_consolidating import colour, consolidator, contents, derived, model, tell
from langchain_kronvex import InvalidInput, KronvexMemory, MemoryDraft, StoreBusy
from langchain_kronvex.consolidation import ConsolidationReport, KronvexConsolidator

__all__ = ["colour", "consolidator", "model"]  # fixtures
CITIES = ("Lisbon", "Porto", "Braga")
IN_LISBON, IN_PORTO, IN_BRAGA = (fact("city", each) for each in CITIES)


class Life:
    """Ana says where she lives, once a day, and each time it is consolidated."""

    def __init__(self, memory: Driver, clock: Clock, consolidator: KronvexConsolidator) -> None:
        self.memory, self.clock, self.consolidator = memory, clock, consolidator
        self.reports: list[ConsolidationReport] = []
        self.seen = [self.look()]

    def goes_on(self, city: str) -> str:
        self.clock.advance(days=1)
        [source] = tell(self.memory, said("city", city), session_id=str(len(self.seen)))
        self.reports.append(self.consolidator.run("ana"))
        self.seen.append(self.look())
        return source

    def look(self) -> Any:
        """Return all that is derived, and in which order it is recalled."""
        every = derived(self.memory, include_superseded=True)
        found = self.memory.recall("Which city?", user_id="ana", memory_type="semantic")
        return [replace(each, access_count=0) for each in every], [each.id for each in found]


@pytest.fixture
def life(memory: Driver, clock: Clock, consolidator: KronvexConsolidator) -> Life:
    return Life(memory, clock, consolidator)


@pytest.mark.parametrize("cities", [[0], [0, 1], [0, 0], [0, 1, 0], [0, 1, 1, 2], [0, 0, 1, 0, 2]])
def test_one_after_the_other_from_the_last_to_the_first(life: Life, cities: list[int]) -> None:
    for city in cities:
        life.goes_on(CITIES[city])
    for report, before in zip(reversed(life.reports), reversed(life.seen[:-1]), strict=True):
        assert life.consolidator.undo(report) == 1
        assert life.look() == before
        assert life.consolidator.undo(report) == 0
    assert life.consolidator.run("ana").calls == 0


@pytest.mark.parametrize("cities", [[0, 1, 2], [0, 0, 0], [0, 1, 1, 2, 0], [0, 1, 0, 2, 0]])
def test_all_at_once(life: Life, cities: list[int]) -> None:
    for city in cities:
        life.goes_on(CITIES[city])
    whole = sum(life.reports, ConsolidationReport())
    assert life.consolidator.undo(whole) == len(cities)
    assert life.look() == life.seen[0]
    assert life.consolidator.undo(whole) == 0


def test_the_first_and_the_one_in_the_middle(life: Life) -> None:
    for city in CITIES:
        life.goes_on(city)
    add, middle, last = life.reports
    braga = derived(life.memory)[0].id
    assert life.consolidator.undo(middle) == 1
    assert contents(life.memory.history(braga)) == [IN_LISBON, IN_BRAGA]
    lisbon, newest = life.memory.history(braga)
    assert lisbon.valid_until == newest.valid_from
    assert life.consolidator.undo(add) == 1
    assert contents(life.memory.history(braga)) == [IN_BRAGA]
    assert life.consolidator.undo(last) == 1
    assert derived(life.memory, include_superseded=True) == []


def test_a_confirmation_whose_other_source_is_gone(life: Life) -> None:
    first = life.goes_on("Lisbon")
    second = life.goes_on("Lisbon")
    life.memory.forget(id=first)
    assert contents(derived(life.memory)) == [IN_LISBON]
    assert life.consolidator.undo(life.reports[1]) == 1
    assert derived(life.memory) == []
    assert life.memory.get(second) is not None


@pytest.mark.parametrize("forgotten", [0, 1, 2])
def test_what_was_forgotten_is_not_brought_back(life: Life, forgotten: int) -> None:
    sources = [life.goes_on(city) for city in CITIES]
    life.memory.forget(id=sources[forgotten])
    undone = [life.consolidator.undo(report) for report in reversed(life.reports)]
    assert undone == [int(n != forgotten) for n in (2, 1, 0)]
    assert derived(life.memory, include_superseded=True) == []
    assert life.consolidator.undo(life.reports[0]) == 0


def test_nobody_is_left(life: Life) -> None:
    life.goes_on("Lisbon")
    life.memory.forget(user_id="ana")
    assert life.consolidator.undo(life.reports[0]) == 0


def test_a_text_that_was_stated_again_is_not_stored_twice(life: Life) -> None:
    life.goes_on("Lisbon")
    life.goes_on("Porto")
    [old] = [each for each in derived(life.memory, include_superseded=True) if each.superseded_by]
    stated = life.memory.remember(IN_LISBON, user_id="ana", memory_type="semantic")
    assert life.consolidator.undo(life.reports[1]) == 1
    assert contents(life.memory.memories(user_id="ana", memory_type="semantic")) == [IN_LISBON]
    assert life.memory.get(old.id).superseded_by == stated.id
    assert life.consolidator.undo(life.reports[0]) == 1
    assert life.memory.get(stated.id).sources == ()


def test_two_with_the_same_text_come_back_as_one(life: Life, model: Rules) -> None:
    life.goes_on("Lisbon")
    life.goes_on("Porto")
    model.during = lambda shown: {"Fact": [{"text": IN_LISBON, "sources": [1]}]}
    life.goes_on("Lisbon")  # beside the other one
    model.during = lambda shown: {
        "Fact": [
            {
                "text": "Moved.",
                "sources": [1],
                "replaces": {text: n for n, text in shown.known}[IN_LISBON],
            }
        ]
    }
    life.goes_on("Braga")
    both = life.reports[1] + life.reports[3]
    assert life.consolidator.undo(both) == 2
    assert contents(derived(life.memory)) == [IN_LISBON]
    assert contents(derived(life.memory, include_superseded=True)) == [IN_LISBON] * 2


def test_the_same_words_found_by_their_key_alone(
    memory: Driver, clock: Clock, consolidator: KronvexConsolidator, model: Rules
) -> None:
    first, second = tell(memory, said("city", "Lisbon"), said("cat", "Tom"))
    consolidator.run()
    tom, lisbon = derived(memory)
    before = derived(memory, include_superseded=True)
    clock.advance(days=1)
    # What is known is not shown, by its number, as the same text.
    [third] = tell(memory, "Something else.")
    model.during = lambda shown: {
        "Fact": [{"text": f"{IN_LISBON} ", "sources": [1], "replaces": None}]
    }
    report = consolidator.run()
    assert memory.get(lisbon.id).sources == (first, third)
    assert consolidator.undo(report) == 1
    assert derived(memory, include_superseded=True) == before
    assert {second} == {*memory.get(tom.id).sources}


def test_it_waits_for_no_other_worker(life: Life, model: Rules) -> None:
    life.goes_on("Lisbon")
    tell(life.memory, said("city", "Porto"))
    other = KronvexConsolidator(life.memory.memory, Rules())

    def during(shown: Any) -> None:
        with pytest.raises(StoreBusy):
            other.undo(life.reports[0])

    model.during = during
    assert life.consolidator.run().superseded == 1


def test_only_reports_can_be_undone(life: Life) -> None:
    for wrong in (None, "report", ConsolidationReport(dry_run=True)):
        with pytest.raises(InvalidInput):
            life.consolidator.undo(wrong)  # type: ignore[arg-type]
    assert life.consolidator.undo(ConsolidationReport()) == 0


# -- any sequence ----------------------------------------------------------------------------------

THINGS, VALUES, USERS = ("city", "cat"), ("one", "two", "three"), ("ana", "ben")
users = st.sampled_from(USERS)
numbers = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("say"), users, st.sampled_from(THINGS), st.sampled_from(VALUES)),
    st.tuples(st.just("say"), users, st.sampled_from(THINGS), st.sampled_from(VALUES)),
    st.tuples(st.just("run"), st.sampled_from([*USERS, None]), st.booleans()),
    st.tuples(st.just("undo"), numbers, st.booleans()),
    st.tuples(st.just("forget"), users, numbers),
    st.tuples(st.just("forget derived"), users, numbers),
    st.tuples(st.just("update"), users, numbers, st.sampled_from(VALUES)),
    st.tuples(st.just("state"), users, st.sampled_from(THINGS), st.sampled_from(VALUES)),
)


class Check:
    """Runs steps on a memory, and keeps what users said themselves."""

    def __init__(self, memory: KronvexMemory, clock: Clock) -> None:
        self.memory, self.clock = memory, clock
        self.consolidator = KronvexConsolidator(memory, Rules(), batch_exchanges=2)
        self.verbatim: dict[str, dict[str, str]] = {user: {} for user in USERS}
        self.reports: list[ConsolidationReport] = []

    def step(self, kind: str, *values: Any) -> None:
        self.clock.advance(hours=1)
        getattr(self, kind.replace(" ", "_"))(*values)
        for user in USERS:
            self.look_at(user)

    def say(self, user: str, thing: str, value: str) -> None:
        words = f"{said(thing, value)} {self.clock.now.isoformat()}"
        self.verbatim[user][self.memory.remember(words, user_id=user).id] = words

    def state(self, user: str, thing: str, value: str) -> None:
        words = fact(thing, value)
        kept = self.memory.remember(words, user_id=user, memory_type="semantic")
        self.verbatim[user][kept.id] = words

    def run(self, user: str | None, everything: bool) -> None:
        before = [self.facts(each) for each in USERS]
        report = self.consolidator.run(user, again="all" if everything else None)
        assert report.stopped is None
        if report.operations and self.consolidator.undo(report):
            assert [self.facts(each) for each in USERS] == before
            report = self.consolidator.run(user, again="all")
        self.reports.append(report)

    def undo(self, number: int, together: bool) -> None:
        chosen = self.reports[-1 - number :] if together else self.reports[number : number + 1]
        self.consolidator.undo(sum(chosen, ConsolidationReport()))

    def forget(self, user: str, number: int) -> None:
        for id_ in list(self.verbatim[user])[number : number + 1]:
            del self.verbatim[user][id_]
            assert self.memory.forget(id=id_) >= 1

    def forget_derived(self, user: str, number: int) -> None:
        every = self.memory.memories(user_id=user, limit=1000, include_superseded=True)
        for each in [each for each in every if each.sources][number : number + 1]:
            self.memory.forget(id=each.id)

    def update(self, user: str, number: int, value: str) -> None:
        for id_ in list(self.verbatim[user])[number : number + 1]:
            if self.memory.get(id_).memory_type == "episodic":  # type: ignore[union-attr]
                words = f"{said('city', value)} {self.clock.now.isoformat()}"
                self.memory.update(id_, content=words)
                self.verbatim[user][id_] = words

    def facts(self, user: str) -> Any:
        """Return what is derived, without what tells a new one from the one before."""
        every = self.memory.memories(user_id=user, limit=1000, include_superseded=True)
        return sorted((each for each in every if each.sources), key=lambda each: each.id)

    def look_at(self, user: str) -> None:
        current = self.memory.memories(user_id=user, limit=1000)
        every = self.memory.memories(user_id=user, limit=1000, include_superseded=True)
        assert {m.id: m.content for m in current if not m.sources} == self.verbatim[user]
        assert {m.id for m in every if not m.sources} == self.verbatim[user].keys()
        for each in every:
            assert each.user_id == user
            if each.sources:
                assert self.verbatim[user].keys() & {*each.sources}, "a fact without a source"
                assert not {id_ for id_ in each.sources if self.of_others(id_, user)}
        texts = [each.content for each in current if each.memory_type == "semantic"]
        assert len(texts) == len({*texts})

    def of_others(self, id_: str, user: str) -> bool:
        return any(id_ in kept for other, kept in self.verbatim.items() if other != user)


relaxed = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.target, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
sequences = st.lists(steps, min_size=4, max_size=25)


def live(open_driver: Callable[..., Driver], clock: Clock, sequence: list[Any]) -> None:
    memory = open_driver().memory
    memory.clear()
    check = Check(memory, clock)
    for step in sequence:
        check.step(*step)
    memory.close()


@settings(relaxed, max_examples=12)
@given(sequences)
def test_any_sequence_leaves_users_their_words_and_facts_their_sources(
    open_driver: Callable[..., Driver], clock: Clock, sequence: list[Any]
) -> None:
    live(open_driver, clock, sequence)


@pytest.mark.soak
@settings(relaxed, max_examples=500)
@given(sequences)
def test_any_of_many_sequences(
    open_driver: Callable[..., Driver], clock: Clock, sequence: list[Any]
) -> None:
    live(open_driver, clock, sequence)


def test_many_are_undone_in_one_step(memory: Driver) -> None:
    words = [said(f"thing{n}", "x") for n in range(60)]
    memory.remember_many([MemoryDraft(each, user_id="ana") for each in words])
    consolidator = KronvexConsolidator(memory.memory, Rules(), batch_exchanges=20)
    report = consolidator.run()
    assert report.added == 60
    assert consolidator.undo(report) == 60
    assert derived(memory, include_superseded=True) == []
