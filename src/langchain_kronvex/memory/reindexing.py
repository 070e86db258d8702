"""Changing over to other embeddings: all vectors are computed anew beside the old, then swapped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from langchain_core.embeddings import Embeddings

from langchain_kronvex.core.effects import Plan, both, call, run
from langchain_kronvex.core.errors import (
    EmbeddingMismatch,
    EmbeddingsError,
    InvalidInput,
    NotSupported,
)
from langchain_kronvex.core.progress import Progress, reporting
from langchain_kronvex.embeddings.model import EmbeddingModel, ModelInUse
from langchain_kronvex.embeddings.providers import resolve_embeddings
from langchain_kronvex.memory.embedder import TRIVIAL_TEXT, batch_size, embed_batch
from langchain_kronvex.memory.engine import OpenMemory
from langchain_kronvex.storage.backend import MemoryBackend, Unembedded

_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)  # before a provider that fails is asked again


@dataclass(slots=True)
class Reindexing:
    """The run of one reindexing; what an earlier, broken-off run of the same model did is kept."""

    backend: MemoryBackend
    in_use: ModelInUse
    model: EmbeddingModel
    clock: Callable[[], datetime]
    progress: bool | Progress | None
    refused: list[str] = field(default_factory=list)
    _abandoned: bool = False

    def complete(self) -> int:
        """Embed what is missing, then swap; return how many memories have vectors."""
        previous = self.in_use.current
        self.in_use.prepare(self.model)
        try:
            self._embed_all()
            count = self.backend.finish_reindex(self.model.name)
        except BaseException:
            self.in_use.settle(previous)
            raise
        self.in_use.settle(self.model)
        return count

    async def acomplete(self) -> int:
        """Twin of `complete`; when it is cancelled, the work ends with the batch under way."""
        try:
            return await asyncio.to_thread(self.complete)
        finally:
            self._abandoned = True

    def _embed_all(self) -> None:
        with reporting("reindex", self.progress) as tell:
            vectors = run(self.model.document_vectors([TRIVIAL_TEXT]))  # before any change
            done = self.backend.prepare_reindex(self.model.name, vectors.shape[1])
            total = self.backend.stats(self.clock()).memories
            tell(min(done, total), total)
            for batch in self._batches():
                self.refused += self._embed(batch)
                done += len(batch)
                total = max(total, done)  # others may be writing
                tell(done, total)
                if self._abandoned:
                    raise EmbeddingsError("The reindexing was abandoned; call it again to go on.")

    def _batches(self) -> Iterator[list[Unembedded]]:
        size, position = batch_size(self.model), 0
        while batch := self.backend.unembedded(size, self.clock(), after=position, upcoming=True):
            position = batch[-1].position
            yield batch

    def _embed(self, batch: Sequence[Unembedded], tries: int = 0) -> list[str]:
        try:
            return embed_batch(self.backend, self.model, batch, upcoming=True)
        except EmbeddingMismatch:
            raise
        except EmbeddingsError:
            if tries == len(_PAUSES_SECONDS):
                raise
        time.sleep(_PAUSES_SECONDS[tries])
        return self._embed(batch, tries + 1)


class MemoryReindexing(OpenMemory):
    """Changes the embeddings of an open memory."""

    def _reindex(
        self,
        embeddings: Embeddings | str | None = None,
        *,
        progress: bool | Progress | None = None,
    ) -> Plan[int]:
        """Compute the vectors of all memories of this agent anew, and use these embeddings then.

        Until all are there, the old vectors serve every process; then all change over at once.
        Other processes have to open the memory anew, with the new embeddings. When it is broken
        off, even by `kill -9`, the next call with the same embeddings goes on where it stopped.

        Args:
            embeddings: As for the constructor; this memory's own when None.
            progress: True draws a bar on stderr (extra: `progress`), False none, None one if stderr
                is a terminal and tqdm is installed; or a function that is called with (memories
                done, memories in all).

        Returns:
            How many memories have a vector now. Texts that the embeddings refuse have none: they
            are found by their words, logged, counted in `stats().failed` and told to `on_error`.

        Raises:
            EmbeddingsError: the embeddings failed; what was computed is kept for the next call.
            EmbeddingMismatch: another process ended this reindexing or began another one.
            ConfigurationError: the embeddings cannot be made of a string.
            InvalidInput: there are no embeddings to index with.
            NotSupported: the memories are on a server.
        """
        if self._backend.is_service:
            raise NotSupported(
                "reindex: a Kronvex server embeds the memories itself; there is nothing to change "
                "from here."
            )
        model = self._upcoming_model(embeddings)
        work = Reindexing(self._backend, self._model, model, self._clock, progress)
        count: int = yield call(work, "complete")
        self._embedder.set_aside(model, work.refused)
        self._embedder.wake()  # for what was written at the last moment
        return count

    def _upcoming_model(self, embeddings: Embeddings | str | None) -> EmbeddingModel:
        current = self._model.current
        if embeddings is None and current is not None:
            return EmbeddingModel(current.embeddings)
        model = None if embeddings is None else resolve_embeddings(embeddings)
        if model is None:
            raise InvalidInput(
                "Say which embeddings to index with: reindex('openai:text-embedding-3-small'), or "
                "any LangChain Embeddings. This memory was opened without any."
            )
        return model

    reindex, areindex = both(_reindex)
