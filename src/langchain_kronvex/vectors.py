"""What an `Embeddings` object returns, checked: finite numbers, one width, unit length."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_kronvex.errors import EmbeddingsError, InvalidInput
from langchain_kronvex.forking import ForkAware
from langchain_kronvex.ranking import Floats

_CACHED_QUERIES = 512


class EmbeddingModel(ForkAware):
    """An `Embeddings` object with a name, one width, and the vectors of the latest queries.

    Args:
        embeddings: The object that turns texts into vectors.

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
        self.width: int | None = None
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start with an empty cache and a lock that nobody holds."""
        self._cache: OrderedDict[bytes, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def cached(self, query: str) -> Floats | None:
        """Return the vector of a query asked before."""
        with self._lock:
            return self._cache.get(_digest(query))

    def query_vector(self, query: str, raw: Any) -> Floats:
        """Check what `embed_query` returned and keep it; the cache holds no text."""
        vector: Floats = self.checked([raw])[0]
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
            EmbeddingsError: wrong number, ragged, not numbers, NaN, infinite, another width.
        """
        try:
            vectors = np.array(raw, np.float64)
        except (TypeError, ValueError) as error:
            raise EmbeddingsError(f"{self.name} returned no list of numbers: {error}.") from error
        if vectors.ndim != 2 or vectors.shape[1] == 0:
            raise EmbeddingsError(f"{self.name} returned vectors of shape {vectors.shape}.")
        if count is not None and len(vectors) != count:
            raise EmbeddingsError(f"{self.name} returned {len(vectors)} vectors for {count} texts.")
        if not np.isfinite(vectors).all():
            raise EmbeddingsError(f"{self.name} returned NaN or infinite numbers.")
        if self.width not in (None, vectors.shape[1]):
            raise EmbeddingsError(
                f"{self.name} returned {vectors.shape[1]} dimensions where it returned "
                f"{self.width} before."
            )
        self.width = vectors.shape[1]
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        vectors /= np.where(largest > 0, largest, 1)  # so that no square overflows or vanishes
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def _name(embeddings: Embeddings) -> str:
    for attribute in ("model", "model_name", "deployment"):
        value = getattr(embeddings, attribute, None)
        if isinstance(value, str) and value:
            return f"{type(embeddings).__name__}:{value}"
    return type(embeddings).__qualname__


def _digest(query: str) -> bytes:
    return hashlib.blake2b(query.encode("utf-8", "surrogatepass"), digest_size=16).digest()
