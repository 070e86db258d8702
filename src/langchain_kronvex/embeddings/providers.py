"""From the `embeddings` argument to a model: nothing, False, a name or an object.

Names are resolved by LangChain's `init_embeddings`.
"""

from __future__ import annotations

from typing import Literal

from langchain_core.embeddings import Embeddings

from langchain_kronvex.core.options import by_name
from langchain_kronvex.embeddings.model import EmbeddingModel
from langchain_kronvex.embeddings.static import StaticEmbeddings

EmbeddingsChoice = Embeddings | str | Literal[False] | None


def resolve_embeddings(embeddings: EmbeddingsChoice) -> EmbeddingModel | None:
    """Return the bundled model for None, no model for False, else the one given or named.

    Raises:
        ConfigurationError: the name is unknown, or its model cannot be created.
        MissingExtra: LangChain or the provider's package is not installed.
        InvalidInput: the argument is of another type.
    """
    if embeddings is False:
        return None
    if embeddings is None:
        return EmbeddingModel(StaticEmbeddings())
    if isinstance(embeddings, str):
        return EmbeddingModel(_from_name(embeddings), choice=embeddings)
    return EmbeddingModel(embeddings)


def _from_name(name: str) -> Embeddings:
    example = "'provider:model', such as 'openai:text-embedding-3-small', or any LangChain "
    with by_name("embeddings", name, instead=f"{example}Embeddings object"):
        from langchain.embeddings import init_embeddings

        return init_embeddings(name)
