"""What is true of a user now, without a question; also where a query asks for nothing certain."""

from __future__ import annotations

from typing import Any

import pytest

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import InvalidInput, MemoryContext, MemoryDraft


def contents(context: MemoryContext) -> list[str]:
    return [memory.content for memory in context.memories]


def tell(memory: Driver, clock: Clock) -> None:
    """Remember a few things about Ana, and one about Ben."""
    for draft in (
        MemoryDraft("Ana lives in Porto.", memory_type="fact", user_id="ana"),
        MemoryDraft("Ana is allergic to peanuts.", memory_type="semantic", user_id="ana",
                    pinned=True, metadata={"topic": "food"}),
        MemoryDraft("User: Book a table.\nAssistant: Done.", user_id="ana", session_id="monday"),
        MemoryDraft("Ana prefers tea.", memory_type="preference", user_id="ana",
                    session_id="monday", metadata={"topic": "food"}),
        MemoryDraft("Ana is away.", memory_type="context", user_id="ana", ttl_days=1),
        MemoryDraft("Ben prefers coffee.", memory_type="preference", user_id="ben", pinned=True),
    ):  # fmt: skip
        memory.remember_many([draft])
        clock.advance(minutes=5)


ALL = [
    "Ana is allergic to peanuts.",
    "Ana is away.",
    "Ana prefers tea.",
    "Ana lives in Porto.",
    "User: Book a table.\nAssistant: Done.",
]


def test_pinned_statements_come_first_then_the_newest_then_what_was_said(
    memory: Driver, clock: Clock
) -> None:
    tell(memory, clock)
    found = memory.profile("ana")
    assert contents(found) == ALL
    assert found.context.splitlines()[0] == "[semantic, 2026-04-28] Ana is allergic to peanuts."
    assert found.context.count("\n") == len(ALL) - 1
    assert contents(memory.profile("ben")) == ["Ben prefers coffee."]
    assert memory.profile("an") == MemoryContext()
    clock.advance(days=2)
    assert contents(memory.profile("ana")) == [text for text in ALL if text != "Ana is away."]


def test_what_was_superseded_is_not_true_now(memory: Driver, clock: Clock) -> None:
    old = memory.remember("Ana lives in Porto.", memory_type="fact", user_id="ana")
    clock.advance(days=1)
    memory.remember("Ana lives in Lisbon.", memory_type="fact", user_id="ana", supersedes=old.id)
    assert contents(memory.profile("ana")) == ["Ana lives in Lisbon."]
    past = memory.inject_context("", user_id="ana", as_of=NOW)
    assert contents(past) == ["Ana lives in Porto."]


def test_nothing_was_asked_so_there_are_no_scores_and_no_accesses(
    memory: Driver, clock: Clock
) -> None:
    tell(memory, clock)
    for found in memory.profile("ana").memories:
        assert (found.similarity, found.probability) == (0, 0)
        assert 0 < found.confidence <= 0.4
    memory.flush()
    assert {found.access_count for found in memory.memories(user_id="ana")} == {0}


def test_it_is_cut_to_a_budget(memory: Driver) -> None:
    memory.remember("Ana said " + "a lot, " * 900, memory_type="fact", user_id="ana", pinned=True)
    memory.remember_many(
        [MemoryDraft(f"Fact {n}.", memory_type="fact", user_id="ana") for n in range(300)]
    )
    by_default, small = memory.profile("ana"), memory.profile("ana", max_tokens=100)
    assert 3500 < len(by_default.context) <= 4000
    assert 300 < len(small.context) <= 400
    assert contents(small)[0] == "Fact 299."  # the long one leaves room for others
    assert len(memory.profile("ana", max_tokens=9000).memories) == 301
    assert memory.profile("ana", max_tokens=1) == MemoryContext()


def test_the_same_text_in_several_sessions_is_said_once(memory: Driver) -> None:
    for session in ("monday", "tuesday"):
        memory.remember("Tea.", memory_type="fact", user_id="ana", session_id=session)
    assert contents(memory.profile("ana")) == ["Tea."]


def test_a_query_that_nothing_answers_gives_the_profile(memory: Driver, clock: Clock) -> None:
    tell(memory, clock)
    for query in (
        "", " \n", "Hello!", "general context", "What do you know about me?", "Who am I?",
        "Tell me everything about the user.", "qwertz uiop",
    ):  # fmt: skip
        assert contents(memory.inject_context(query, user_id="ana")) == ALL, query
        assert contents(memory.inject_context(query, user_id="ana", top_k=2)) == ALL[:2]
        assert contents(memory.inject_context(query, user_id="ana", max_tokens=14)) == ALL[:1]


def test_other_queries_are_answered_as_before(memory: Driver, clock: Clock) -> None:
    tell(memory, clock)
    for query in ("Where does she live?", "Which table did I book?", "peanuts"):
        found = memory.inject_context(query, user_id="ana")
        recalled = memory.recall(query, user_id="ana", top_k=8)
        assert contents(found) == [each.content for each in recalled] != ALL


def test_with_a_threshold_only_a_blank_query_gives_the_profile(
    memory: Driver, clock: Clock
) -> None:
    tell(memory, clock)
    assert memory.inject_context("What is 2+2?", user_id="ana", threshold=0.9) == MemoryContext()
    assert memory.inject_context("Hello!", user_id="ana", threshold=0.9) == MemoryContext()
    assert contents(memory.inject_context("", user_id="ana", threshold=0.9)) == ALL


CONDITIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"session_id": "monday"}, ALL[2:3] + ALL[4:]),
    ({"memory_type": ["preference", "episodic"]}, ALL[2:3] + ALL[4:]),
    ({"memory_type": "fact"}, ALL[3:4]),
    ({"filter": {"topic": "food"}}, [ALL[0], ALL[2]]),
    ({"already_shown": [ALL[0], ALL[4]]}, ALL[1:4]),
    ({"include_shared": True}, ["Tea is served at four.", *ALL]),
]


def test_the_conditions_of_a_query_hold_for_the_profile(memory: Driver, clock: Clock) -> None:
    tell(memory, clock)
    memory.remember("Tea is served at four.", memory_type="procedural")
    for conditions, expected in CONDITIONS:
        found = memory.inject_context("", user_id="ana", **conditions)
        assert contents(found) == expected, conditions


def test_without_ids_it_is_the_profile_of_the_agent(memory: Driver, clock: Clock) -> None:
    tell(memory, clock)
    memory.remember("Be brief.", memory_type="procedural")
    assert contents(memory.inject_context("")) == ["Be brief."]


def test_the_profile_stands_before_what_was_recalled(memory: Driver, clock: Clock) -> None:
    tell(memory, clock)
    found = memory.inject_context("Which table did I book?", user_id="ana", profile_tokens=14)
    assert contents(found)[0] == ALL[0]
    assert sorted(contents(found)) == sorted(ALL)  # each once
    assert len(found.context.splitlines()) == len(ALL)
    few = memory.inject_context("the table?", user_id="ana", profile_tokens=14, top_k=1)
    assert contents(few) == [ALL[0], ALL[4]]
    shown = memory.inject_context(
        "the table?", user_id="ana", profile_tokens=14, top_k=1, already_shown=[ALL[0], ALL[4]]
    )
    assert not {ALL[0], ALL[4]} & set(contents(shown))
    greeted = memory.inject_context("Hello!", user_id="ana", profile_tokens=14)
    assert contents(greeted) == ALL[:1]  # the profile as it was asked for, and nothing more


def test_values_that_do_not_fit_are_refused(memory: Driver) -> None:
    for wrong in ({"user_id": None}, {"user_id": " "}, {"user_id": "ana", "max_tokens": 0}):
        with pytest.raises(InvalidInput, match=r"user_id|max_tokens"):
            memory.profile(**wrong)
    with pytest.raises(InvalidInput, match="profile_tokens"):
        memory.inject_context("tea", user_id="ana", profile_tokens=0)
