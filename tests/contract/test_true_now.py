"""What is true now comes first: updates, and facts that were asked for in vain."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from contract.drivers import Clock, Driver
from langchain_kronvex import MemoryDraft

OTHERS = [
    "My aunt keeps bees behind the barn.",
    "The choir rehearses in the old chapel.",
    "I repaired the garden fence on my own.",
    "Rosa lent me a book on knots.",
    "The baker at the corner knows my order.",
    "We painted the kitchen in pale green.",
    "My brother collects maps of islands.",
    "The dentist was kind and quick.",
]
UPDATES = {
    "The piano stands in the hall.": ("We moved the piano to the attic.", "Where is the piano?"),
    "The gate code is 4417.": ("The gate code is 9203 now.", "What is the gate code?"),
    "Choir is on Mondays.": ("Choir is on Thursdays instead.", "When is choir?"),
    "I drink coffee with milk.": ("I no longer take milk in my coffee.", "How is my coffee?"),
}  # fmt: skip
WAYS = ["turns", "exchanges", "statements"]


def tell(memory: Driver, way: str, texts: list[str], when: datetime, user_id: str = "ana") -> None:
    """Store texts of one day, in one of the three ways."""
    if way == "exchanges":
        for text in texts:
            memory.save_exchange(text, "Noted.", user_id=user_id, session_id=f"{when:%d %B}")
        return
    type_ = "episodic" if way == "turns" else "semantic"
    memory.remember_many(
        [
            MemoryDraft(
                text, memory_type=type_, user_id=user_id, session_id=f"{when:%d %B}",
                created_at=when + timedelta(minutes=n),
            )
            for n, text in enumerate(texts)
        ]
    )  # fmt: skip


def contents(found: Any) -> list[str]:
    return [each.content.removeprefix("User: ").partition("\n")[0] for each in found]


@pytest.mark.parametrize("way", WAYS)
def test_an_update_comes_first(memory: Driver, clock: Clock, way: str) -> None:
    for older, (newer, _) in UPDATES.items():
        tell(memory, way, [*OTHERS[:4], older], clock.now, user_id=older)
        clock.advance(days=40)
        tell(memory, way, [newer, *OTHERS[4:]], clock.now, user_id=older)
        clock.advance(days=-40)
    clock.advance(days=41)

    for older, (newer, question) in UPDATES.items():
        found = contents(memory.recall(question, user_id=older))
        assert found[0] == newer
        assert older in found  # nothing is hidden
        lines = str(memory.inject_context(question, user_id=older)).splitlines()
        assert newer in lines[0]
        assert any(older in line for line in lines)


@pytest.mark.parametrize("way", WAYS)
def test_the_order_by_similarity_and_the_scores_know_of_no_updates(
    memory: Driver, clock: Clock, way: str
) -> None:
    for older, (newer, question) in UPDATES.items():
        tell(memory, way, [older], clock.now)
        clock.advance(days=40)
        tell(memory, way, [newer], clock.now)
        by_similarity = memory.recall(question, user_id="ana", order_by="similarity")
        similar = [each.similarity for each in by_similarity]
        assert similar == sorted(similar, reverse=True)
        scores = {each.id: each.similarity for each in memory.recall(question, user_id="ana")}
        assert scores == {each.id: each.similarity for each in by_similarity}


@pytest.mark.parametrize("way", WAYS)
def test_a_question_about_the_past_leaves_the_order_by_confidence(
    memory: Driver, clock: Clock, way: str
) -> None:
    for older, (newer, _) in UPDATES.items():
        tell(memory, way, [older], clock.now)
        clock.advance(days=40)
        tell(memory, way, [newer], clock.now)
    for question in ("Where was the piano before?", "What was the gate code in 2019?"):
        found = memory.recall(question, user_id="ana")
        assert [each.confidence for each in found] == sorted(
            (each.confidence for each in found), reverse=True
        )


ASKED = {
    "The piano stands in the attic.": "Where is the piano?",
    "My sister's wedding is on the island of Hvar.": "Where is my sister's wedding?",
    "Rosa is allergic to walnuts.": "What is Rosa allergic to?",
    "Our landlord is called Mr Abney.": "What is our landlord called?",
}
REPLIES = [
    "I don't know.",
    "I'm sorry, I don't have that information.",
    "You haven't told me yet.",
    "I have no record of that.",
    "I'm not sure.",
]


@pytest.mark.parametrize("way", WAYS)
def test_a_question_that_was_asked_five_times_does_not_hide_the_fact(
    memory: Driver, clock: Clock, way: str
) -> None:
    for fact in ASKED:
        tell(memory, way, [*OTHERS[:4], fact, *OTHERS[4:]], clock.now, user_id=fact)
    for reply in REPLIES:
        clock.advance(days=1)
        for fact, question in ASKED.items():
            memory.save_exchange(question, reply, user_id=fact, session_id=reply)
    clock.advance(days=1)

    for fact, question in ASKED.items():
        similar = memory.recall(question, user_id=fact, order_by="similarity")
        assert contents(similar)[0] == fact
        assert fact in contents(memory.recall(question, user_id=fact))
        assert fact in str(memory.inject_context(question, user_id=fact))


def test_an_instruction_belongs_into_the_context_of_its_subject(memory: Driver) -> None:
    rule = "Always name the opening hours when I ask about museums."
    visits = [f"We went to the {kind} museum in {city}." for kind in ("ship", "tram", "toy", "art")
              for city in ("Delft", "Bergen")]  # fmt: skip
    memory.remember_many([MemoryDraft(text, user_id="ana") for text in [*visits, *OTHERS]])
    memory.remember(rule, user_id="ana", memory_type="procedural")
    for question in ("Which museums shall we see in Bergen?", "Any good museum nearby?"):
        assert rule in str(memory.inject_context(question, user_id="ana"))


@pytest.mark.parametrize("way", ["turns", "exchanges"])
def test_a_day_that_is_named_counts(memory: Driver, clock: Clock, way: str) -> None:
    clock.now = datetime.now(timezone.utc) - timedelta(days=3)  # a server has a clock of its own
    meals = ["I cooked lentils.", "I cooked leeks.", "I cooked dumplings.", "I cooked trout."]
    for meal in meals:
        tell(memory, way, [meal], clock.now)
        clock.advance(days=1)
    clock.advance(days=-1)

    def first(question: str) -> str:
        return contents(memory.recall(question, user_id="ana", order_by="similarity"))[0]

    assert first("What did I cook yesterday?") == meals[2]
    assert first("What did I cook three days ago?") == meals[0]
    two_days_ago = clock.now - timedelta(days=2)
    assert first(f"What did I cook on {two_days_ago:%B} {two_days_ago.day}?") == meals[1]
