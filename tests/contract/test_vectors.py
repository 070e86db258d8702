"""Memories are found by meaning too, as soon as they are stored."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from contract.drivers import Driver
from langchain_kronvex import InvalidInput, MemoryDraft, with_memory
from langchain_kronvex.embeddings import StaticEmbeddings

OpenDriver = Callable[..., Driver]
ANA: Any = {"configurable": {"user_id": "ana", "session_id": "chat"}}


def turn(memory: Driver) -> None:
    chain = with_memory(
        ChatPromptTemplate.from_template("{input}") | RunnableLambda(lambda _: "Noted."),
        memory.memory,
        history_messages_key=None,
    )
    chain.invoke({"input": "My dog is called Rex."}, ANA)


WAYS: dict[str, Callable[[Driver], Any]] = {
    "remember": lambda m: m.remember("My dog is called Rex.", user_id="ana"),
    "remember_many": lambda m: m.remember_many(
        [MemoryDraft(f"My dog is called Rex{n}.", user_id="ana") for n in range(700)]
    ),
    "save_exchange": lambda m: m.save_exchange("My dog is called Rex.", "Nice.", user_id="ana"),
    "save_messages": lambda m: m.save_messages(
        [HumanMessage("My dog is called Rex."), AIMessage("Nice.")], "chat", user_id="ana"
    ),
    "an answer alone": lambda m: m.save_messages([AIMessage("A dog!")], "chat", user_id="ana"),
    "with_memory": turn,
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_stored_has_its_vector_at_once(memory: Driver, way: str) -> None:
    WAYS[way](memory)
    assert memory.stats().unembedded == 0
    assert memory.memory.engine._embedding_writer.pending == 0
    found = memory.recall("Does she keep a puppy?", user_id="ana", top_k=1)
    assert "og" in found[0].content


def test_meaning_is_found_without_a_common_word(memory: Driver, open_driver: OpenDriver) -> None:
    for content in ("Ana prefers formal tone", "Company uses Slack", "Deployed on March 10"):
        memory.remember(content, user_id="ana", memory_type="semantic")
    query = "How should I write my response?"
    found = memory.recall(query, user_id="ana", top_k=1, order_by="similarity")
    assert found[0].content == "Ana prefers formal tone"
    words = open_driver(embeddings=False)
    assert words.memory.engine.model.current is None


def test_words_alone(open_driver: OpenDriver) -> None:
    memory = open_driver(embeddings=False)
    memory.remember("Ana prefers formal tone", user_id="ana")
    assert memory.recall("formal", user_id="ana")[0].content == "Ana prefers formal tone"
    assert memory.stats().unembedded == 0


def test_earlier_memories_keep_their_vectors(memory: Driver) -> None:
    first = memory.remember("I drink tea.", user_id="ana")
    before = stored_vector(memory, "beverage")
    again = memory.remember("I drink tea.", user_id="ana", metadata={"a": 1})
    assert again.deduplicated is True
    assert again.id == first.id
    assert memory.stats().unembedded == 0
    assert stored_vector(memory, "beverage") == before


def test_an_answer_leaves_the_vector_of_the_question(memory: Driver) -> None:
    memory.save_messages([HumanMessage("I drink tea.")], "chat", user_id="ana")
    before = stored_vector(memory, "beverage")
    memory.save_messages([AIMessage("And I eat electricity.")], "chat", user_id="ana")
    assert memory.stats().unembedded == 0
    assert stored_vector(memory, "beverage") == before


def test_a_longer_answer_alone_gets_the_vector_of_all_of_it(memory: Driver) -> None:
    first = memory.save_messages([AIMessage("One.")], "chat", user_id="ana")
    memory.save_messages([AIMessage("My dog barks.")], "chat", user_id="ana", reply_to=first)
    assert memory.stats().unembedded == 0
    [found] = memory.recall("puppy", user_id="ana")
    alone = memory.remember(found.content, user_id="ben")
    [same] = memory.recall("puppy", user_id="ben")
    assert same.id == alone.id
    assert same.probability == found.probability


def stored_vector(memory: Driver, query: str) -> list[float]:
    return [found.similarity for found in memory.recall(query, user_id="ana")]


def test_missing_vectors_are_computed_at_the_next_opening(
    open_shared: OpenDriver,
) -> None:
    words = open_shared(embeddings=False)
    words.remember_many([MemoryDraft(f"number {n}", user_id="ana") for n in range(600)])
    words.close()
    memory = open_shared()
    assert memory.flush(30)
    assert memory.stats().unembedded == 0


def test_an_embeddings_object_is_the_same_as_the_default(open_shared: OpenDriver) -> None:
    open_shared().remember("tea", user_id="ana")
    assert open_shared(embeddings=StaticEmbeddings()).recall("tea", user_id="ana")


@pytest.mark.parametrize("other", [True, 0, 7, object(), StaticEmbeddings])
def test_other_things_are_no_embeddings(open_driver: OpenDriver, other: Any) -> None:
    with pytest.raises(InvalidInput, match="embeddings must be"):
        open_driver(embeddings=other)


def test_an_answer_brings_no_vector_of_a_text_that_was_corrected(
    memory: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = memory.save_messages([HumanMessage("My dog is called Rex.")], "chat", user_id="ana")
    (asked,) = memory.memories(user_id="ana")
    backend = memory.memory.engine.backend
    add = backend.add

    def corrected_before(*given: Any) -> Any:
        monkeypatch.setattr(backend, "add", add)
        memory.memory.update(asked.id, content="The train leaves at noon.")
        return add(*given)

    monkeypatch.setattr(backend, "add", corrected_before)
    memory.save_messages([AIMessage("Nice.")], "chat", user_id="ana", reply_to=begun)
    assert memory.flush(20)
    file = io.StringIO()
    memory.export(file, vectors=True)
    stored = [json.loads(line) for line in file.getvalue().splitlines()]
    (kept,) = [each for each in stored if each.get("kind") == "memory"]
    assert kept["content"] == "The train leaves at noon.\nAssistant: Nice."
    (expected,) = StaticEmbeddings().embed_documents([kept["content"]])
    vector = np.frombuffer(base64.b64decode(kept["vector"]), "<f2")
    assert vector.astype(np.float64) @ expected == pytest.approx(1, abs=0.01)
