"""What a memory does in the background: fetching vectors and counting accesses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from langchain_kronvex.backends.base import MemoryBackend
from langchain_kronvex.background import BackgroundWriter
from langchain_kronvex.errors import EmbeddingsError
from langchain_kronvex.forking import ForkAware
from langchain_kronvex.vectors import EmbeddingModel

_BATCH = 64
_GATHER_SECONDS = 0.5


class BackgroundEmbedder:
    """Fetches the vectors of memories that have none yet, also those of an earlier process."""

    def __init__(
        self,
        backend: MemoryBackend,
        model: EmbeddingModel,
        writer: BackgroundWriter,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend, self._model = backend, model
        self._writer, self._clock = writer, clock

    def wake(self) -> None:
        """Catch up in the background; cheap to call after every write."""
        self._writer.submit("vectors", self._catch_up, once=True)

    def _catch_up(self) -> None:
        while batch := self._backend.unembedded(_BATCH, self._clock()):
            texts = [text for _, text in batch]
            try:
                raw = self._model.embeddings.embed_documents(texts)
            except Exception as error:
                raise EmbeddingsError(
                    f"{self._model.name} failed ({type(error).__name__}); memories are found by "
                    "their words until their vectors can be fetched."
                ) from error
            vectors = self._model.checked(raw, len(texts))
            self._backend.settle_embeddings(self._model.name, self._model.width)
            self._backend.embed(dict(zip([id_ for id_, _ in batch], vectors, strict=True)))


class AccessCounter(ForkAware):
    """Counts what recall returns: in RAM at once, in the store a little later."""

    def __init__(self, backend: MemoryBackend, writer: BackgroundWriter) -> None:
        self._backend, self._writer = backend, writer
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start from nothing: what was counted before is the parent's to store."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, ids: Iterable[str]) -> None:
        """Note one access of each id; never waits and never fails."""
        with self._lock:
            self._counts.update(ids)
        self._writer.submit("accesses", self._store, once=True, delay_seconds=_GATHER_SECONDS)

    def uncounted(self, id_: str) -> int:
        """Return the accesses of an id that the store does not know yet."""
        return self._counts.get(id_, 0)

    def _store(self) -> None:
        with self._lock:
            taken, self._counts = self._counts, Counter()
        try:
            self._backend.count_accesses(taken)
        except BaseException:
            with self._lock:
                self._counts.update(taken)
            raise
