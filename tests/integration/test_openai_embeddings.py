"""LangChain's own OpenAI embeddings, named by a string, against a server on a loopback port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings

from defaults import limit_pauses
from docs.openai_stub import openai_stub
from langchain_kronvex import EmbeddingMismatch, EmbeddingsError, KronvexMemory

OpenMemory = Callable[..., KronvexMemory]
SMALL = "openai:text-embedding-3-small"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the server was asked to embed; the environment leads to it."""
    given: list[Any] = []
    with openai_stub(given, refused="poison") as url:
        monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        yield given


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are bytes: the real ones would be downloaded."""
    encoding = tiktoken.Encoding(
        "bytes",
        pat_str=r"(?s:.)",
        mergeable_ranks={bytes([n]): n for n in range(256)},
        special_tokens={},
    )
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda name: encoding)


@pytest.mark.usefixtures("tokens")
async def test_a_model_named_by_a_string(open_memory: OpenMemory, asked: list[Any]) -> None:
    memory = open_memory(embeddings=SMALL)
    memory.remember("Ana drinks green tea", user_id="ana")
    await memory.aremember("Ana rides a bicycle", user_id="ana")
    assert memory.flush(30)
    assert memory.stats().unembedded == 0
    assert memory.recall("green tea", user_id="ana")[0].content == "Ana drinks green tea"
    found = await memory.arecall("bicycle", user_id="ana")
    assert found[0].content == "Ana rides a bicycle"
    assert list(b"green tea") in asked  # token arrays, which is what OpenAIEmbeddings sends
    memory.close()
    with pytest.raises(EmbeddingMismatch, match="text-embedding-3-small"):
        open_memory()
    with pytest.raises(EmbeddingMismatch, match="text-embedding-3-large"):
        open_memory(embeddings="openai:text-embedding-3-large")
    assert open_memory(embeddings=SMALL).recall("bicycle", user_id="ana")


def test_another_server_that_accepts_only_texts(open_memory: OpenMemory, asked: list[Any]) -> None:
    embeddings = OpenAIEmbeddings(model="local", check_embedding_ctx_length=False)
    memory = open_memory(embeddings=embeddings)
    memory.remember("Ana drinks green tea", user_id="ana")
    assert memory.flush(30)
    assert memory.stats().unembedded == 0
    assert asked == ["Ana drinks green tea"]


def test_reindexing_with_a_named_model(
    open_memory: OpenMemory, asked: list[Any], tokens: None
) -> None:
    memory = open_memory()
    for number in range(70):
        memory.remember(f"number {number}", user_id="ana")
    assert memory.reindex(SMALL) == 70
    assert memory.recall("number 7", user_id="ana", top_k=1)[0].content == "number 7"
    assert open_memory(embeddings=SMALL).stats().unembedded == 0


def test_a_text_that_the_server_rejects(open_memory: OpenMemory, asked: list[Any]) -> None:
    errors = list[Exception]()
    embeddings = OpenAIEmbeddings(model="local", check_embedding_ctx_length=False)
    memory = open_memory(embeddings=embeddings, on_error=errors.append)
    memory.save_exchange("a good one", "yes", user_id="ana")
    memory.save_exchange("a poisonous text", "no", user_id="ana")
    memory.save_exchange("another good one", "yes", user_id="ana")
    assert memory.flush(30)
    assert memory.stats().unembedded == 1
    assert [type(error) for error in errors] == [EmbeddingsError]
    assert "poison" not in str(errors[0])
    with pytest.raises(EmbeddingsError):
        memory.recall("poison", user_id="ana")
    assert "poisonous" in memory.inject_context("the poisonous text", user_id="ana").context


def test_without_the_token_file_memories_are_found_by_words(
    open_memory: OpenMemory, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(name: str) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(tiktoken, "encoding_for_model", offline)
    limit_pauses(monkeypatch, 0.002)
    memory = open_memory(embeddings=SMALL)
    memory.remember("Ana drinks green tea", user_id="ana")
    assert memory.flush(30)
    assert "ConnectionError" in str(memory.stats().last_error)
    assert "green tea" in memory.inject_context("tea", user_id="ana").context
