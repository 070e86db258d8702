"""What may be passed as embeddings, and what is said when it cannot be used."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from langchain_kronvex import ConfigurationError, InvalidInput, KronvexMemory, MissingExtra
from langchain_kronvex.embeddings.providers import PROVIDERS, resolve_embeddings


def test_nothing_is_the_bundled_table() -> None:
    model = resolve_embeddings(None)
    assert model is not None
    assert model.name == "StaticEmbeddings:kronvex-static-minilm-256-v1"
    assert model.is_local is True
    assert model.width == 256


def test_false_is_words_alone() -> None:
    assert resolve_embeddings(False) is None


def test_an_object_is_taken_as_it_is() -> None:
    embeddings = DeterministicFakeEmbedding(size=8)
    model = resolve_embeddings(embeddings)
    assert model is not None
    assert model.embeddings is embeddings
    assert model.is_local is False


@pytest.mark.parametrize("other", [True, 0, 1, b"openai:x", ["openai:x"], object()])
def test_other_things_are_refused(other: Any) -> None:
    with pytest.raises(InvalidInput, match=r"Embeddings object"):
        resolve_embeddings(other)


@pytest.mark.parametrize(
    "text",
    ["", "openai", "openai:", "openai: ", ":model", "text-embedding-3-small", "OpenAI:x", "a:b:c"],
)
def test_what_names_no_model_lists_the_known_providers(text: str) -> None:
    with pytest.raises(ConfigurationError, match="provider:model") as caught:
        resolve_embeddings(text)
    assert all(name in str(caught.value) for name in PROVIDERS)


def test_the_names_are_those_of_langchain() -> None:
    assert set(PROVIDERS) == {
        "azure_openai", "bedrock", "cohere", "google_genai", "google_vertexai", "huggingface",
        "mistralai", "ollama", "openai",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("openai:small", 'pip install "langchain-kronvex[openai]"'),
        ("azure_openai:small", 'pip install "langchain-kronvex[openai]"'),
        ("bedrock:amazon.titan-embed-text-v2:0", "pip install langchain-aws"),
        ("cohere:embed", "pip install langchain-cohere"),
        ("google_genai:models/x", "pip install langchain-google-genai"),
        ("google_vertexai:x", "pip install langchain-google-vertexai"),
        ("huggingface:a/b", "pip install langchain-huggingface"),
        ("mistralai:x", "pip install langchain-mistralai"),
        ("ollama:nomic", "pip install langchain-ollama"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, text: str, line: str) -> None:
    monkeypatch.setitem(sys.modules, PROVIDERS[text.split(":")[0]].package, None)
    with pytest.raises(MissingExtra) as caught:
        KronvexMemory("sqlite://", embeddings=text)
    assert str(caught.value).endswith(line)
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_model_is_passed_under_the_providers_own_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    provider = PROVIDERS[name]

    class Made(Embeddings):
        def __init__(self, **options: str) -> None:
            vars(self).update(options)

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[1.0] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return [1.0]

    module: Any = types.ModuleType(provider.package)
    setattr(module, provider.name, Made)
    monkeypatch.setitem(sys.modules, provider.package, module)
    model = resolve_embeddings(f"{name}:some/model:v2")
    assert model is not None
    assert vars(model.embeddings) == {provider.keyword: "some/model:v2"}
    assert model.name == "Made:some/model:v2"


def test_a_model_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        KronvexMemory("sqlite://", embeddings="openai:text-embedding-3-small")
