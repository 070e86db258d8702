"""What recall and the profile show of what is derived, and of what it was derived from."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from consolidation.scripted import Rules
from contract.drivers import NOW, Clock, Driver
from contract.test_consolidating import colour, consolidator, contents, derived, model, tell
from langchain_kronvex.consolidation import KronvexConsolidator

__all__ = ["colour", "consolidator", "model"]  # fixtures
OpenDriver = Callable[..., Driver]
MOVED, MORE = "I moved to Porto.", "I moved to Porto, for my sister's bakery needs a driver."
FACT = "Ana moved to Porto."
FILLERS = [f"Porto had {n} visitors in the harbour museum." for n in range(30)]
WHERE = "Who moved to Porto?"


def derive(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules, *words: str, text: str = FACT
) -> list[str]:
    """Let Ana say something, of which a fact is made; return the ids of what she said."""
    ids = tell(memory, *words)
    sources = list(range(1, len(words) + 1))
    model.during = lambda shown: {"Fact": [{"text": text, "sources": sources}]}
    assert consolidator.run("ana").added == 1
    return ids


def test_a_source_is_left_out_beside_a_fact_that_says_the_same(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    [source] = derive(memory, consolidator, model, MOVED)
    memory.update(source, metadata={"about": "home"})
    for options in ({}, {"order_by": "similarity"}, {"as_of": NOW}):
        assert contents(memory.recall(WHERE, user_id="ana", **options)) == [FACT]
    assert contents(memory.inject_context(WHERE, user_id="ana").memories) == [FACT]
    assert contents(memory.profile("ana").memories) == [FACT]
    assert memory.explain(WHERE, source, user_id="ana").kept_out == ("derived",)
    # Where the fact is not, the source is.
    for options in ({"memory_type": "episodic"}, {"filter": {"about": "home"}}):
        assert contents(memory.recall(WHERE, user_id="ana", **options)) == [MOVED]
    memory.forget(id=derived(memory)[0].id)
    assert contents(memory.recall(WHERE, user_id="ana")) == [MOVED]


def test_a_source_that_says_more_stands_after_its_fact(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules
) -> None:
    derive(memory, consolidator, model, MORE)
    assert contents(memory.recall("sister's bakery, a driver", user_id="ana")) == [FACT, MORE]
    by_similarity = memory.recall("sister's bakery", user_id="ana", order_by="similarity")
    assert contents(by_similarity)[0] == MORE
    assert contents(memory.profile("ana").memories) == [FACT, MORE]


@pytest.mark.parametrize("top_k", [1, 2, 3, 5, 8])
def test_as_many_are_found_and_no_source_is_left_out_for_a_fact_that_is_not_shown(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules, clock: Clock, top_k: int
) -> None:
    tell(memory, *FILLERS)
    model.during = lambda shown: {"Fact": []}
    consolidator.run()
    said_twice = "We moved to Porto by ship, a long way round."
    sources = derive(
        memory, consolidator, model, MOVED, said_twice, text="Ana moved to Porto by ship long way."
    )
    for query in (WHERE, "visitors in the harbour museum", "by ship"):
        found = memory.recall(query, user_id="ana", top_k=top_k)
        assert len(found) == top_k
        whole = memory.recall(query, user_id="ana", top_k=100)
        assert len(whole) >= len(FILLERS)
        shown = {each.id for each in found}
        for each in found:
            assert len(shown & {*each.sources}) <= 1
        for id_ in sources:
            why = memory.explain(query, id_, user_id="ana", top_k=top_k)
            if "derived" in why.kept_out:
                assert any(id_ in each.sources for each in found)


def test_a_reranker_chooses_among_facts_and_what_says_more(
    open_driver: OpenDriver, model: Rules
) -> None:
    class Longest:
        seen: ClassVar[set[str]] = set()

        def score(self, pairs: list[tuple[str, str]]) -> list[float]:
            self.seen.update(text for _, text in pairs)
            return [float(len(text)) for _, text in pairs]

    memory = open_driver(rerank=Longest())
    consolidator = KronvexConsolidator(memory.memory, model)
    derive(memory, consolidator, model, MOVED, MORE)
    found = memory.recall(WHERE, user_id="ana", top_k=2)
    assert {*contents(found)} == {FACT, MORE} == Longest.seen


def test_what_is_superseded_does_not_leave_its_source_out(
    memory: Driver, consolidator: KronvexConsolidator, model: Rules, clock: Clock
) -> None:
    derive(memory, consolidator, model, MOVED)
    clock.advance(days=1)
    tell(memory, "I live in Braga now.")
    model.during = lambda shown: {
        "Fact": [{"text": "Ana lives in Braga.", "sources": [1], "replaces": 1}]
    }
    assert consolidator.run("ana").superseded == 1
    assert MOVED in contents(memory.recall(WHERE, user_id="ana"))
    assert contents(memory.recall(WHERE, user_id="ana", as_of=NOW)) == [FACT]
    both = memory.recall(WHERE, user_id="ana", include_superseded=True)
    assert FACT in contents(both)
    assert MOVED not in contents(both)
