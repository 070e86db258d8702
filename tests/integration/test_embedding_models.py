"""Vectors of one model are never compared with those of another: it is refused, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from defaults import limit_pauses
from langchain_kronvex import EmbeddingMismatch, EmbeddingsError, KronvexMemory, with_memory

from .parts import Fickle, HashedWords, parrot

OpenMemory = Callable[..., KronvexMemory]
CONFIG: Any = {"configurable": {"user_id": "ana", "session_id": "chat"}}


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_pauses(monkeypatch, 0.002)


class Other(HashedWords):
    """Another class, so another model."""


@pytest.mark.parametrize(
    ("embeddings", "name"),
    [(HashedWords(16, "another-model"), "another-model"), (Other(16, "hashed-words"), "Other")],
)
def test_another_model_is_rejected_by_name(
    open_memory: OpenMemory, embeddings: Embeddings, name: str
) -> None:
    with open_memory(embeddings=HashedWords(16, "hashed-words")) as memory:
        memory.remember("tea", user_id="ana")
        memory.flush(30)
    with pytest.raises(EmbeddingMismatch) as caught:
        open_memory(embeddings=embeddings)
    assert "HashedWords:hashed-words" in str(caught.value)
    assert name in str(caught.value)
    assert "16 dimensions" in str(caught.value)
    assert "embeddings=False" in str(caught.value)
    assert "memory.reindex(" in str(caught.value)
    # What the message advises works.
    with open_memory(embeddings=False) as memory:
        assert [m.content for m in memory.recall("tea", user_id="ana")] == ["tea"]
    with open_memory(embeddings=HashedWords(16, "hashed-words")) as memory:
        assert [m.content for m in memory.recall("tea", user_id="ana")] == ["tea"]


def test_two_agents_of_one_store_may_use_different_models(open_memory: OpenMemory) -> None:
    with open_memory(agent_id="a", embeddings=HashedWords(16, "one")) as memory:
        memory.remember("tea", user_id="ana")
        memory.flush(30)
    with open_memory(agent_id="b", embeddings=HashedWords(24, "two")) as memory:
        memory.remember("coffee", user_id="ana")
        memory.flush(30)
        assert [m.content for m in memory.recall("coffee", user_id="ana")] == ["coffee"]


def test_another_width_within_one_process_is_rejected(open_memory: OpenMemory) -> None:
    embeddings, errors = Fickle(), list[Exception]()
    memory = open_memory(embeddings=embeddings, on_error=errors.append)
    memory.remember("first", user_id="ana")
    memory.flush(30)
    embeddings.width = 24
    memory.remember("second", user_id="ana")
    memory.flush(30)
    assert memory.stats().unembedded == 1
    assert any("24" in str(error) and "16" in str(error) for error in errors)
    with pytest.raises(EmbeddingsError, match="24"):
        memory.recall("second", user_id="ana")
    assert "second" in memory.inject_context("second", user_id="ana").context
    embeddings.width = 16
    memory.remember("third", user_id="ana")
    memory.flush(30)
    assert memory.stats().unembedded == 0


def test_another_width_of_the_same_name_after_a_restart_is_rejected(
    open_memory: OpenMemory,
) -> None:
    with open_memory(embeddings=Fickle(16)) as memory:
        memory.remember("first words", user_id="ana")
        memory.flush(30)
    errors = list[Exception]()
    memory = open_memory(embeddings=Fickle(24), on_error=errors.append)
    with pytest.raises(EmbeddingsError, match="24"):
        memory.recall("first", user_id="ana")
    context = memory.inject_context("first", user_id="ana")
    assert context.degraded is True
    assert "first words" in context.context
    memory.remember("second words", user_id="ana")
    memory.flush(30)
    assert any(isinstance(error, EmbeddingMismatch) for error in errors)
    assert memory.stats().unembedded == 1
    chain = with_memory(parrot(), memory)
    assert chain.invoke({"input": "first?"}, CONFIG) == "re first?"
    with open_memory(embeddings=Fickle(16)) as memory:
        memory.flush(30)
        assert memory.stats().unembedded == 0
        assert len(memory.recall("words", user_id="ana", top_k=9)) == 3


class Other(DeterministicFakeEmbedding):
    """Another model."""


def test_after_clear_another_model_may_be_used(open_memory: OpenMemory) -> None:
    with open_memory(embeddings=DeterministicFakeEmbedding(size=8)) as memory:
        memory.remember("tea", user_id="ana")
        memory.flush()
    with pytest.raises(EmbeddingMismatch):
        open_memory(embeddings=Other(size=12))
    with open_memory(embeddings=False) as memory:
        memory.clear()
    with open_memory(embeddings=Other(size=12)) as memory:
        memory.remember("coffee", user_id="ana")
        memory.flush()
        assert memory.stats().unembedded == 0
        assert memory.recall("coffee", user_id="ana")[0].content == "coffee"
