"""A memory without embeddings: all forms are found by their words, said or answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_kronvex import KronvexMemory, MemoryDraft

OpenMemory = Callable[..., KronvexMemory]
QUESTIONS = {
    "Where was the wedding of Tom's sister?": "Tom: I was at my sister's wedding in Porto.",
    "Which sport does Tom do?": "Tom: My only sport is swimming.",
    "What did I ask about my espresso machine?": "User: How do I descale my espresso machine?",
    "citric acid": "User: How do I descale my espresso machine?",
    "Why are the leaves yellow?": "User: My tomatoes have yellow leaves, why?",
    "magnesium": "User: My tomatoes have yellow leaves, why?",
    "Which plan does the user have?": "User is on the Pro plan",
    "When does the backup run?": "The backup runs every night at two",
}


@pytest.fixture
def words(open_memory: OpenMemory) -> KronvexMemory:
    memory = open_memory(embeddings=False)
    turns = ["Ana: How was Sunday?", *[text for text in QUESTIONS.values() if text[:3] == "Tom"]]
    memory.remember_many([MemoryDraft(text, user_id="ana") for text in turns])
    for text in ("User is on the Pro plan", "The backup runs every night at two"):
        memory.remember(text, memory_type="semantic", user_id="ana")
    memory.save_exchange("How do I descale my espresso machine?", "Use citric acid.", user_id="ana")
    history = memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage("My tomatoes have yellow leaves, why?")])
    assert memory.recall("magnesium", user_id="ana", order_by="similarity")[0].similarity < 0.1
    history.add_messages([AIMessage("They lack magnesium.")])
    return memory


@pytest.mark.parametrize("query", QUESTIONS)
def test_each_form_is_found_for_its_question(
    words: KronvexMemory, open_memory: OpenMemory, query: str
) -> None:
    for memory in (words, open_memory(embeddings=False)):
        [found] = memory.recall(query, user_id="ana", top_k=1, order_by="similarity")
        assert found.content.startswith(QUESTIONS[query])
        assert found.similarity > 0.1


def test_a_memory_without_common_words_is_not_similar(words: KronvexMemory) -> None:
    found = words.recall("submarine", user_id="ana", top_k=9)
    assert len(found) == 7
    assert max(each.similarity for each in found) < 0.1
