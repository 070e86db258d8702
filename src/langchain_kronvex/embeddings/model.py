"""What an `Embeddings` object returns, checked: finite numbers, one width, unit length."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_kronvex.core.errors import EmbeddingMismatch, EmbeddingsError, InvalidInput
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.embeddings.static import StaticEmbeddings
from langchain_kronvex.recall import thesaurus
from langchain_kronvex.recall.ranking import Floats

_CACHED_QUERIES = 512


class EmbeddingModel(ForkAware):
    """An `Embeddings` object with a name, one width, and the vectors of the latest queries.

    Args:
        embeddings: The object that turns texts into vectors.

    Attributes:
        name: Tells models apart; it stands in the store.
        width: Dimensions of its vectors; None until it has made the first.
        is_local: Whether it is the bundled table, whose vectors are stored with the text.

    Raises:
        InvalidInput: it is no LangChain `Embeddings`.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        if not isinstance(embeddings, Embeddings):
            raise InvalidInput(
                "embeddings must be a langchain_core.embeddings.Embeddings object, not "
                f"{type(embeddings).__name__}."
            )
        self.embeddings = embeddings
        self.name = _name(embeddings)
        self._table = embeddings if type(embeddings) is StaticEmbeddings else None
        self.is_local = self._table is not None
        self.width: int | None = StaticEmbeddings.dimensions if self.is_local else None
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start with an empty cache and a lock that nobody holds."""
        self._cache: OrderedDict[bytes, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def document_vectors(self, texts: Sequence[str]) -> Floats:
        """Return the unit vectors of texts, shape (texts, width).

        Raises:
            EmbeddingsError: the embeddings failed, or returned something else.
        """
        if self._table:  # one array of unit vectors: nothing to convert and to check
            return self._table.embed_array(texts)
        try:
            raw = self.embeddings.embed_documents(list(texts))
        except Exception as error:
            raise EmbeddingsError(
                f"{self.name} failed ({type(error).__name__}); memories are found by their words "
                "until their vectors can be fetched."
            ) from error
        return self.checked(raw, len(texts))

    def query_vector(self, query: str) -> Floats:
        """Return the unit vector of a query, kept for when it is asked again.

        Raises:
            EmbeddingsError: the embeddings failed, or returned something else.
        """
        known = self.cached(query)
        if known is not None:
            return known
        if self._table:
            return self._cache_vector(query, self._table.embed_array([query])[0])
        try:
            raw = self.embeddings.embed_query(query)
        except Exception as error:
            raise EmbeddingsError(
                f"{self.name} failed on the query ({type(error).__name__})."
            ) from error
        return self.keep(query, raw)

    def load(self) -> None:
        """Read the tables that the first recall would have to read."""
        thesaurus.load()
        if self.is_local:
            StaticEmbeddings.load()

    def cached(self, query: str) -> Floats | None:
        """Return the vector of a query asked before."""
        with self._lock:
            return self._cache.get(_digest(query))

    def keep(self, query: str, raw: Any) -> Floats:
        """Check what `embed_query` returned and keep it; the cache holds no text."""
        return self._cache_vector(query, self.checked([raw])[0])

    def _cache_vector(self, query: str, vector: Floats) -> Floats:
        with self._lock:
            self._cache[_digest(query)] = vector
            if len(self._cache) > _CACHED_QUERIES:
                self._cache.popitem(last=False)
        return vector

    def forget_queries(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._cache.clear()

    def checked(self, raw: Sequence[Any], count: int | None = None) -> Floats:
        """Return unit vectors, shape (count, width); a vector of zeros stays one.

        Raises:
            EmbeddingsError: wrong number, ragged, not numbers, NaN, infinite.
            EmbeddingMismatch: another width than before.
        """
        try:
            vectors = np.array(raw, np.float64)
        except (TypeError, ValueError) as error:
            kind = type(error).__name__  # what it says may quote a text
            raise EmbeddingsError(f"{self.name} returned no list of numbers ({kind}).") from error
        if vectors.ndim != 2 or vectors.shape[1] == 0:
            raise EmbeddingsError(f"{self.name} returned vectors of shape {vectors.shape}.")
        if count is not None and len(vectors) != count:
            raise EmbeddingsError(f"{self.name} returned {len(vectors)} vectors for {count} texts.")
        if not np.isfinite(vectors).all():
            raise EmbeddingsError(f"{self.name} returned NaN or infinite numbers.")
        if self.width not in (None, vectors.shape[1]):
            raise EmbeddingMismatch(
                f"{self.name} returned {vectors.shape[1]} dimensions where it returned "
                f"{self.width} before. If it now does so always, call memory.reindex()."
            )
        self.width = vectors.shape[1]
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        vectors /= np.where(largest > 0, largest, 1)  # so that no square overflows or vanishes
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


class ModelInUse:
    """The embeddings of an open memory, and those it is being reindexed with.

    Both change while other threads recall and save. Whoever is refused by the store because the
    vectors are of another model asks `after` which to try instead.

    Args:
        model: The embeddings; None for words alone.
    """

    def __init__(self, model: EmbeddingModel | None) -> None:
        self._models = (model, model)  # replaced as a whole, so that nobody sees half a change

    @property
    def current(self) -> EmbeddingModel | None:
        """What to embed with."""
        return self._models[0]

    def after(self, refused: EmbeddingModel | None) -> EmbeddingModel | None:
        """Return the model that may have taken the place of another; None when none has."""
        return next((model for model in self._models if model is not refused), None)

    def prepare(self, upcoming: EmbeddingModel) -> None:
        """Let a model be tried where the current one is refused."""
        self._models = (self._models[0], upcoming)

    def settle(self, model: EmbeddingModel | None) -> None:
        """Use this model from now on."""
        self._models = (model, model)

    def forget_queries(self) -> None:
        """Empty the caches."""
        for model in self._models:
            if model:
                model.forget_queries()


def _name(embeddings: Embeddings) -> str:
    for attribute in ("model", "model_name", "model_id", "deployment"):
        value = getattr(embeddings, attribute, None)
        if isinstance(value, str) and value:
            return f"{type(embeddings).__name__}:{value}"
    return type(embeddings).__qualname__


def _digest(query: str) -> bytes:
    return hashlib.blake2b(query.encode("utf-8", "surrogatepass"), digest_size=16).digest()
