"""Changing over to other embeddings: all vectors are computed anew beside the old, then swapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_core.embeddings import Embeddings
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from langchain_kronvex.core import errors
from langchain_kronvex.core.progress import Progress, reporting
from langchain_kronvex.core.records import Unembedded
from langchain_kronvex.embeddings.model import EmbeddingModel
from langchain_kronvex.embeddings.providers import resolve_embeddings
from langchain_kronvex.memory.embedder import TRIVIAL_TEXT, embed_batch
from langchain_kronvex.memory.engine import Engine


@dataclass(slots=True)
class Reindexing:
    """One run of reindexing; it continues an earlier run of the same model that was broken off.

    Args:
        engine: Of the memory to reindex.
        embeddings: What to index with; None for those in use.
        progress: As for `KronvexMemory.reindex`.

    Raises:
        NotSupported: the memories are on a server.
        InvalidInput: there are no embeddings to index with.
        ConfigurationError: the embeddings cannot be made from a string.
    """

    engine: Engine
    embeddings: Embeddings | str | None
    progress: bool | Progress | None
    abandoned: bool = False
    model: EmbeddingModel = field(init=False)
    _refused: list[Unembedded] = field(default_factory=list, init=False)
    first_pause_seconds: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        if self.engine.backend.is_remote:
            raise errors.NotSupported(
                "reindex: a Kronvex server embeds the memories itself; there is nothing to change "
                "from here."
            )
        current, chosen = self.engine.model.current, self.embeddings
        if chosen is None and current is not None:
            chosen = current.embeddings
        model = None if chosen is None else resolve_embeddings(chosen)
        if model is None:
            raise errors.InvalidInput(
                "Say which embeddings to index with: reindex('openai:text-embedding-3-small'), or "
                "any LangChain Embeddings. This memory was opened without any."
            )
        self.model = model

    def complete(self) -> int:
        """Embed what is missing, then swap; return how many memories have vectors."""
        in_use = self.engine.model
        previous = in_use.current
        in_use.prepare(self.model)
        try:
            self._embed_all()
            count = self.engine.backend.finish_reindex(self.model.name)
        except BaseException:
            in_use.settle(previous)
            raise
        in_use.settle(self.model)
        self.engine.embedder.set_aside(self.model, self._refused)
        self.engine.embedder.wake()  # for what was written at the last moment
        return count

    def _embed_all(self) -> None:
        with reporting("reindex", self.progress) as tell:
            vectors = self.model.document_vectors([TRIVIAL_TEXT])  # before anything is changed
            done = self.engine.backend.prepare_reindex(self.model.name, vectors.shape[1])
            total = self.engine.backend.stats(self.engine.clock()).memories
            tell(min(done, total), total)
            for batch in self.engine.embedder.batches(self.model, upcoming=True):
                self._refused += self._embed(batch)
                done += len(batch)
                total = max(total, done)  # others may be writing
                tell(done, total)
                if self.abandoned:
                    raise errors.EmbeddingsError(
                        "The reindexing was abandoned; call it again to go on."
                    )

    def _embed(self, batch: Sequence[Unembedded]) -> list[Unembedded]:
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_exponential(multiplier=self.first_pause_seconds),
            stop=stop_after_attempt(5),
            reraise=True,
        )
        return retrying(embed_batch, self.engine.backend, self.model, batch, upcoming=True)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, errors.EmbeddingsError) and not isinstance(
        error, errors.EmbeddingMismatch
    )
