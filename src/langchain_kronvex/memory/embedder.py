"""Gives memories their vectors in the background.

A text that a provider rejects must not delay the vectors of others, and an outage of the provider
must not make texts look rejected. Therefore a trivial text is embedded after a batch has failed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.errors import EmbeddingMismatch, EmbeddingsError, MemoryClosed
from langchain_kronvex.core.records import Floats, Unembedded
from langchain_kronvex.embeddings.model import EmbeddingModel, ModelInUse
from langchain_kronvex.storage.backend import MemoryBackend

TRIVIAL_TEXT = "hello"  # every working provider can embed it
_MAX_REPORTED_IDS = 20
_OTHERS_SECONDS = 2.0  # by then a living worker has usually embedded its own memories
_GRACE_SECONDS = 1.0  # after this, another worker's claim has certainly expired


def vectors_apart(model: EmbeddingModel, texts: Sequence[str]) -> list[Floats | None]:
    """Return the vectors of texts, with None for each text that is rejected even on its own.

    Raises:
        EmbeddingsError: the provider also fails on a trivial text.
    """
    try:
        return list(model.document_vectors(texts))
    except EmbeddingsError:
        model.document_vectors([TRIVIAL_TEXT])
    if len(texts) > 1:
        half = len(texts) // 2
        return [*vectors_apart(model, texts[:half]), *vectors_apart(model, texts[half:])]
    try:  # the failure may have been temporary
        return list(model.document_vectors(texts))
    except EmbeddingsError:
        return [None]


def embed_batch(
    backend: MemoryBackend,
    model: EmbeddingModel,
    batch: Sequence[Unembedded],
    *,
    upcoming: bool = False,
) -> list[Unembedded]:
    """Embed memories and store their vectors; return those that are rejected.

    Raises:
        EmbeddingsError: the provider fails.
        EmbeddingMismatch: the store's vectors now belong to another model.
    """
    found = vectors_apart(model, [memory.text for memory in batch])
    pairs = list(zip(batch, found, strict=True))
    if made := [(memory, vector) for memory, vector in pairs if vector is not None]:
        backend.embed(made, model.name, upcoming=upcoming)
    return [memory for memory, vector in pairs if vector is None]


class BackgroundEmbedder:
    """Fetches missing vectors of memories, including memories written by other processes.

    Texts that the provider rejects are not tried again until the store is reopened.
    """

    def __init__(
        self,
        backend: MemoryBackend,
        model: ModelInUse,
        writer: BackgroundWriter,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend, self._model = backend, model
        self._writer, self._clock = writer, clock
        self._refused: dict[str, set[tuple[str, int]]] = {}  # by the name of the model
        self._timer = threading.Timer(0, self.wake_for_others)  # replaced when it is needed

    def wake(self) -> None:
        """Fetch missing vectors in the background; cheap enough to call after every write."""
        self._writer.submit("vectors", self._catch_up, once=True)

    def wake_for_others(self) -> None:
        """Fetch missing vectors a little later, in case the worker that wrote a memory has died.

        The claims of living workers decide when to look again.
        """
        if self._model.current is not None:
            with contextlib.suppress(MemoryClosed):
                self._writer.submit(
                    "vectors of others", self._catch_up, once=True, delay_seconds=_OTHERS_SECONDS
                )

    def _catch_up(self) -> None:
        model = self._model.current
        if model is None:
            return
        try:
            self._embed_all(model)
        except EmbeddingMismatch:
            if self._model.after(model) is None:
                raise
            # This memory is being reindexed, which wakes the embedder at the end.
        seconds = self._backend.embedded_elsewhere()
        if seconds is not None:
            self._timer.cancel()
            self._timer = threading.Timer(seconds + _GRACE_SECONDS, self.wake_for_others)
            self._timer.daemon = True
            self._timer.start()

    def _embed_all(self, model: EmbeddingModel) -> None:
        refused = self._refused.setdefault(model.name, set())
        for batch in self.batches(model):
            fresh = [memory for memory in batch if _name(memory) not in refused]
            if fresh:
                self.set_aside(model, embed_batch(self._backend, model, fresh))

    def batches(
        self, model: EmbeddingModel, *, upcoming: bool = False
    ) -> Iterator[list[Unembedded]]:
        """Yield the memories without a vector, as many at once as a provider takes in a request."""
        size, position = 512 if model.is_local else 64, 0
        while batch := self._backend.unembedded(
            size, self._clock(), after=position, upcoming=upcoming
        ):
            position = batch[-1].position
            yield batch

    def set_aside(self, model: EmbeddingModel, rejected: Sequence[Unembedded]) -> None:
        """Report memories with texts that the model rejects, and do not try them again."""
        if not rejected:
            return
        self._refused.setdefault(model.name, set()).update(map(_name, rejected))
        ids = [memory.id for memory in rejected]
        more = ", …" if len(ids) > _MAX_REPORTED_IDS else ""
        error = EmbeddingsError(
            f"{model.name} rejects the texts of {len(ids)} memories, although it accepts others; "
            f"they are found by their words. Ids: {', '.join(ids[:_MAX_REPORTED_IDS])}{more}"
        )
        self._writer.report(error, len(ids))


def _name(memory: Unembedded) -> tuple[str, int]:
    return memory.id, hash(memory.text)  # another text may be accepted
