"""An `Embeddings` object whose vectors are checked: finite numbers, one width, unit length."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_kronvex.core.errors import EmbeddingMismatch, EmbeddingsError, InvalidInput
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.records import Floats
from langchain_kronvex.embeddings.static import StaticEmbeddings

_CACHED_QUERIES = 512


class EmbeddingModel(ForkAware):
    """An `Embeddings` object with a name, one width, and the vectors of the latest queries.

    Args:
        embeddings: The object that turns texts into vectors.
        choice: The name that the user gave instead of an object.

    Attributes:
        choice: What the user chose: the object, or its name.
        name: Identifies the model; kept in the store.
        width: Dimensions of its vectors; None until the first is known.
        is_local: Whether it is the bundled table, whose vectors are stored with the text.

    Raises:
        InvalidInput: It is not a LangChain `Embeddings` object.
    """

    def __init__(self, embeddings: Embeddings, choice: str | None = None) -> None:
        if not isinstance(embeddings, Embeddings):
            raise InvalidInput(
                "embeddings must be a langchain_core.embeddings.Embeddings object, not "
                f"{type(embeddings).__name__}."
            )
        self.embeddings = embeddings
        self.choice = choice or embeddings
        self.name = _name(embeddings)
        self._table = embeddings if type(embeddings) is StaticEmbeddings else None
        self.is_local = self._table is not None
        self.width: int | None = StaticEmbeddings.dimensions if self.is_local else None
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start with an empty cache and a new lock."""
        self._cache: OrderedDict[bytes, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def document_vectors(self, texts: Sequence[str]) -> Floats:
        """Return the unit vectors of texts, shape (texts, width).

        Raises:
            EmbeddingsError: The embeddings failed, or did not return a vector for each text.
            EmbeddingMismatch: The vectors have another width than before.
        """
        if self._table:  # one array of unit vectors, which needs no check
            known = self._cached(texts[0]) if len(texts) == 1 else None  # a turn's own words
            return self._table.embed_array(texts) if known is None else known[None].copy()
        return self._fetched(
            lambda: self.embeddings.embed_documents(list(texts)),
            len(texts),
            "to embed memories, which are found by their words until their vectors can be fetched",
        )

    def query_vector(self, query: str) -> Floats:
        """Return the unit vector of a query; those of the latest queries are remembered.

        Raises:
            EmbeddingsError: The embeddings failed, or did not return a vector.
            EmbeddingMismatch: The vector has another width than before.
        """
        if (known := self._cached(query)) is not None:
            return known
        if self._table:
            vector: Floats = self._table.embed_array([query])[0]
        else:
            vector = self._fetched(
                lambda: [self.embeddings.embed_query(query)], 1, "to embed the query"
            )[0]
        with self._lock:
            self._cache[_digest(query)] = vector
            if len(self._cache) > _CACHED_QUERIES:
                self._cache.popitem(last=False)
        return vector

    def _cached(self, query: str) -> Floats | None:
        with self._lock:
            return self._cache.get(_digest(query))

    def load(self) -> None:
        """Read the tables of the bundled embeddings, if this is their model."""
        if self.is_local:
            StaticEmbeddings.load()

    def forget_queries(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._cache.clear()

    def _fetched(self, fetch: Callable[[], Sequence[Any]], count: int, purpose: str) -> Floats:
        try:
            raw = fetch()
        except Exception as error:
            raise EmbeddingsError(
                f"{self.name} failed {purpose} ({type(error).__name__})."
            ) from error
        return self._checked(raw, count)

    def _checked(self, raw: Sequence[Any], count: int) -> Floats:
        """Return unit vectors, shape (count, width); a vector of zeros is left as it is."""
        try:
            vectors = np.array(raw, np.float64)
        except (TypeError, ValueError) as error:
            kind = type(error).__name__  # its message may quote a text
            raise EmbeddingsError(f"{self.name} did not return numbers ({kind}).") from error
        if vectors.ndim != 2 or vectors.shape[1] == 0:
            raise EmbeddingsError(f"{self.name} returned vectors of shape {vectors.shape}.")
        if len(vectors) != count:
            raise EmbeddingsError(f"{self.name} returned {len(vectors)} vectors for {count} texts.")
        if not np.isfinite(vectors).all():
            raise EmbeddingsError(f"{self.name} returned NaN or infinite numbers.")
        if self.width not in (None, vectors.shape[1]):
            raise EmbeddingMismatch(
                f"{self.name} returned {vectors.shape[1]} dimensions where it returned "
                f"{self.width} before. If that is intended, call memory.reindex()."
            )
        self.width = vectors.shape[1]
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        vectors /= np.where(largest > 0, largest, 1)  # so that no square overflows or vanishes
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


class ModelInUse:
    """The embeddings of an open memory, and those it is being reindexed with.

    Both change while other threads recall and save. When the store rejects vectors of one model,
    `after` returns the model to try instead.

    Args:
        model: The embeddings; None for words alone.
    """

    def __init__(self, model: EmbeddingModel | None) -> None:
        self._models = (model, model)  # replaced as a whole: no thread sees half a change

    @property
    def current(self) -> EmbeddingModel | None:
        """The model to embed with."""
        return self._models[0]

    def after(self, refused: EmbeddingModel | None) -> EmbeddingModel | None:
        """Return the model that may have replaced the refused one, or None."""
        return next((model for model in self._models if model is not refused), None)

    def prepare(self, upcoming: EmbeddingModel) -> None:
        """Set a model to try if the store rejects the current one."""
        self._models = (self._models[0], upcoming)

    def settle(self, model: EmbeddingModel | None) -> None:
        """Use this model from now on."""
        self._models = (model, model)

    def forget_queries(self) -> None:
        """Empty the caches."""
        for model in self._models:
            if model:
                model.forget_queries()


def _digest(query: str) -> bytes:
    return hashlib.blake2b(query.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _name(embeddings: Embeddings) -> str:
    for attribute in ("model", "model_name", "model_id", "deployment"):
        value = getattr(embeddings, attribute, None)
        if isinstance(value, str) and value:
            return f"{type(embeddings).__name__}:{value}"
    return type(embeddings).__qualname__
