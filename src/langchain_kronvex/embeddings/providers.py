"""From what users pass as `embeddings` to a model: nothing, False, a string or an object.

The providers and their names are those of LangChain's `init_embeddings`.
"""

from __future__ import annotations

import importlib
from typing import Literal, NamedTuple

from langchain_core.embeddings import Embeddings

from langchain_kronvex.core.errors import ConfigurationError, MissingExtra
from langchain_kronvex.embeddings.model import EmbeddingModel
from langchain_kronvex.embeddings.static import StaticEmbeddings

EmbeddingsChoice = Embeddings | str | Literal[False] | None


class _Provider(NamedTuple):
    """Where a provider's embeddings are: `keyword` takes the model, `pip` installs the package."""

    package: str
    name: str
    keyword: str
    pip: str


_OPENAI = '"langchain-kronvex[openai]"'
PROVIDERS = {
    "azure_openai": _Provider("langchain_openai", "AzureOpenAIEmbeddings", "model", _OPENAI),
    "bedrock": _Provider("langchain_aws", "BedrockEmbeddings", "model_id", "langchain-aws"),
    "cohere": _Provider("langchain_cohere", "CohereEmbeddings", "model", "langchain-cohere"),
    "google_genai": _Provider(
        "langchain_google_genai", "GoogleGenerativeAIEmbeddings", "model", "langchain-google-genai"
    ),
    "google_vertexai": _Provider(
        "langchain_google_vertexai", "VertexAIEmbeddings", "model", "langchain-google-vertexai"
    ),
    "huggingface": _Provider(
        "langchain_huggingface", "HuggingFaceEmbeddings", "model_name", "langchain-huggingface"
    ),
    "mistralai": _Provider(
        "langchain_mistralai", "MistralAIEmbeddings", "model", "langchain-mistralai"
    ),
    "ollama": _Provider("langchain_ollama", "OllamaEmbeddings", "model", "langchain-ollama"),
    "openai": _Provider("langchain_openai", "OpenAIEmbeddings", "model", _OPENAI),
}


def resolve_embeddings(embeddings: EmbeddingsChoice) -> EmbeddingModel | None:
    """Return the model: the bundled one for None, the one a string or an object names, or None
    for False.

    Raises:
        ConfigurationError: a string names no known provider, or its model cannot be made.
        MissingExtra: the provider's package is not installed.
        InvalidInput: it is none of these.
    """
    if embeddings is False:
        return None
    if embeddings is None:
        return EmbeddingModel(StaticEmbeddings())
    if isinstance(embeddings, str):
        return EmbeddingModel(_from_provider(embeddings))
    return EmbeddingModel(embeddings)


def _from_provider(text: str) -> Embeddings:
    name, separator, model = text.partition(":")
    provider = PROVIDERS.get(name)
    if provider is None or not separator or not model.strip():
        raise ConfigurationError(
            f"embeddings={text!r} is not understood. Write 'provider:model', such as "
            f"'openai:text-embedding-3-small', with one of {', '.join(PROVIDERS)}; or pass any "
            "LangChain Embeddings object."
        )
    try:
        kind = getattr(importlib.import_module(provider.package), provider.name)
    except ImportError as error:
        raise MissingExtra(
            f"embeddings={text!r} needs a package that is not installed or cannot be imported: "
            f"pip install {provider.pip}"
        ) from error
    try:
        made: Embeddings = kind(**{provider.keyword: model})
    except Exception as error:
        raise ConfigurationError(
            f"embeddings={text!r} cannot be used: {type(error).__name__}: {error}"
        ) from error
    return made
