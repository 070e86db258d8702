"""Turns, exchanges and statements in one memory: each is found for its own question."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contract.drivers import Clock, Driver
from langchain_kronvex import MemoryDraft

TURNS = [
    "Ana: Did you see the match on Sunday?",
    "Tom: No, I was at my sister's wedding in Porto.",
    "Ana: How lovely! How was the weather there?",
    "Tom: It rained all day, but the food was great.",
    "Ana: I am training for a marathon in October.",
    "Tom: My knee hurts, so I only swim these days.",
    "Ana: We adopted a kitten, she is called Pixel.",
    "Tom: I am allergic to cats, sadly.",
]
EXCHANGES = [
    ("How do I descale my espresso machine?", "Use citric acid, then rinse the tank twice."),
    ("Which visa do I need for Japan?", "None for stays of up to ninety days."),
    ("Can you translate 'good evening' into Finnish?", "Hyvää iltaa."),
    ("My tomatoes have yellow leaves, why?", "They lack magnesium; add Epsom salt."),
    ("Recommend a book about the Roman empire.", "Try SPQR by Mary Beard."),
    ("How long should I boil an egg?", "Seven minutes for a soft yolk."),
]
STATEMENTS = [
    "User prefers formal tone",
    "User is on the Pro plan",
    "Company uses Slack for comms",
    "The backup runs every night at two",
    "User's laptop is a ThinkPad with Linux",
    "Invoices are sent to the accounting department",
]
QUESTIONS = {
    "Where was Tom's sister's wedding?": TURNS[1],
    "What is Ana training for?": TURNS[4],
    "What is the kitten called?": TURNS[6],
    "Which sport does Tom do while his knee hurts?": TURNS[5],
    "What did I ask about my espresso machine?": "User: How do I descale",
    "What was it about a visa for Japan?": "User: Which visa",
    "What is wrong with my tomatoes?": "User: My tomatoes",
    "Which book did you recommend?": "User: Recommend a book",
    "What is it with Epsom salt?": "User: My tomatoes",
    "Who was Mary Beard?": "User: Recommend a book",
    "Which plan does the user have?": STATEMENTS[1],
    "When does the backup run?": STATEMENTS[3],
    "Where do invoices go?": STATEMENTS[5],
    "What does the company use for communication?": STATEMENTS[2],
}
LONG_REPLY = " ".join(
    f"Point {n}: water the tomatoes, feed the tomatoes, and prune their leaves often."
    for n in range(40)
)


def drafts(texts: list[str], clock: Clock, memory_type: str) -> list[MemoryDraft]:
    return [
        MemoryDraft(
            text,
            memory_type=memory_type,
            user_id="ana",
            created_at=clock.now - timedelta(days=1) + timedelta(seconds=20 * n),
        )
        for n, text in enumerate(texts)
    ]


@pytest.fixture
def mixed(memory: Driver, clock: Clock) -> Driver:
    """A memory of all forms."""
    memory.remember_many(drafts(TURNS, clock, "episodic"))
    memory.remember_many(drafts(STATEMENTS, clock, "semantic"))
    for said, answer in EXCHANGES:
        memory.save_exchange(said, answer, user_id="ana")
    return memory


def test_no_form_drowns_the_others(mixed: Driver) -> None:
    for query, answer in QUESTIONS.items():
        found = mixed.recall(query, user_id="ana", top_k=1, order_by="similarity")
        assert found[0].content.startswith(answer), query


def test_the_best_answers_to_a_broad_question_are_of_all_forms(memory: Driver) -> None:
    memory.remember("Ana: I planted tomatoes in the garden.", user_id="ana")
    memory.save_exchange("How do I water tomatoes?", "In the morning.", user_id="ana")
    memory.remember("User grows tomatoes", memory_type="semantic", user_id="ana")
    for other in STATEMENTS[:4]:
        memory.remember(other, memory_type="semantic", user_id="ana")
    memory.save_exchange("What is the capital of Peru?", "Lima.", user_id="ana")
    found = memory.recall("tomatoes", user_id="ana", top_k=3)
    assert all("tomatoes" in each.content for each in found)
    assert min(each.similarity for each in found) > 0.2


def test_a_long_reply_does_not_push_out_the_users_words(memory: Driver) -> None:
    memory.save_exchange("What shall I plant this spring?", LONG_REPLY, user_id="ana")
    memory.save_exchange("Why have my tomatoes yellow leaves?", "Magnesium.", user_id="ana")
    for said, answer in EXCHANGES[:3]:
        memory.save_exchange(said, answer, user_id="ana")
    found = memory.recall("tomatoes with yellow leaves", user_id="ana", order_by="similarity")
    assert found[0].content.startswith("User: Why have my tomatoes")
    assert found[1].content.startswith("User: What shall I plant")
    assert len(LONG_REPLY.split()) > 450


STATED = [
    "User prefers formal tone",
    "User is on the Pro plan",
    "Company uses Slack for comms",
    "Last deployment was on March 10",
]


@pytest.mark.parametrize(
    ("memory_type", "texts"),
    [
        ("semantic", STATED),
        ("semantic", STATED[::-1]),
        ("preference", STATED),
        ("episodic", STATED),
    ],
)
def test_how_to_write_is_a_question_of_tone(
    memory: Driver, memory_type: str, texts: list[str]
) -> None:
    for text in texts:
        memory.remember(text, memory_type=memory_type, user_id="ana")
    for order_by in ("confidence", "similarity"):
        found = memory.recall("how should I write my responses?", user_id="ana", order_by=order_by)
        assert found[0].content == STATED[0]
        assert STATED[3] not in [each.content for each in found[:2]]
        # The word is nowhere: it may well be that, but nobody can be certain.
        assert max(each.probability for each in found) == found[0].probability < 0.8
        assert found[0].similarity < 0.6
