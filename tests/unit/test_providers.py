"""The `embeddings` argument, and its errors."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_openai import OpenAIEmbeddings

from inside import resolve_embeddings
from langchain_kronvex import ConfigurationError, InvalidInput, KronvexMemory, MissingExtra


def test_the_default_is_the_bundled_table() -> None:
    model = resolve_embeddings(None)
    assert model is not None
    assert model.name == "StaticEmbeddings:kronvex-static-minilm-256-v1"
    assert model.is_local is True
    assert model.width == 256


def test_false_is_words_alone() -> None:
    assert resolve_embeddings(False) is None


def test_an_object_is_used_as_it_is() -> None:
    embeddings = DeterministicFakeEmbedding(size=8)
    model = resolve_embeddings(embeddings)
    assert model is not None
    assert model.embeddings is embeddings
    assert model.is_local is False


@pytest.mark.parametrize("other", [True, 0, 1, b"openai:x", ["openai:x"], object()])
def test_other_types_are_rejected(other: Any) -> None:
    with pytest.raises(InvalidInput, match=r"Embeddings object"):
        resolve_embeddings(other)


@pytest.mark.parametrize(
    "name", ["", "openai", "openai:", "openai: ", ":model", "text-embedding-3-small", "a:b:c"]
)
def test_an_unknown_name_is_rejected_with_an_example(name: str) -> None:
    with pytest.raises(ConfigurationError, match="'openai:text-embedding-3-small'"):
        resolve_embeddings(name)


def test_a_name_needs_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.embeddings", None)
    with pytest.raises(MissingExtra, match=r'pip install "langchain-kronvex\[openai\]"') as caught:
        KronvexMemory("sqlite://", embeddings="openai:text-embedding-3-small")
    assert isinstance(caught.value, ConfigurationError)


def test_a_missing_provider_package_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"pip install langchain[-_]cohere"):
        KronvexMemory("sqlite://", embeddings="cohere:embed-english-v3.0")


def test_a_name_makes_the_embeddings_of_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    model = resolve_embeddings("openai:text-embedding-3-small")
    assert model is not None
    assert isinstance(model.embeddings, OpenAIEmbeddings)
    assert model.name == "OpenAIEmbeddings:text-embedding-3-small"


def test_a_model_that_cannot_be_created_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        KronvexMemory("sqlite://", embeddings="openai:text-embedding-3-small")
