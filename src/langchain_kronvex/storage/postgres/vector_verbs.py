"""The verbs of a PostgreSQL backend that are about vectors; their work is in another file."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

from langchain_kronvex.core.errors import EmbeddingMismatch, KronvexError
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.storage.backend import MemoryBackend, Unembedded
from langchain_kronvex.storage.postgres import vectors as vectors_of
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.statements import Job, Work, telling_retries

_RELEASING_SECONDS = 2.0


class PostgresEmbedding(MemoryBackend):
    """Keeps vectors; hands out what has none, to one worker at a time."""

    _db: Database
    _agent_id: str
    _worker: uuid.UUID  # who claims
    _may_hold_claims = False
    _tell_of_unembedded: Callable[[], None] = staticmethod(lambda: None)

    def when_unembedded(self, tell: Callable[[], None]) -> None:
        """See `MemoryBackend.when_unembedded`."""
        self._tell_of_unembedded = tell

    def settle_embeddings(self, model: str, width: int | None) -> int | None:
        """See `MemoryBackend.settle_embeddings`."""
        return self._db.run(
            Job(lambda: vectors_of.settling(self._agent_id, self.location, model, width))
        )

    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """See `MemoryBackend.unembedded`; what is returned is claimed for this worker."""
        if upcoming:
            job = Job(lambda: vectors_of.unprepared(self._agent_id, limit, now, after))
        else:
            job = Job(lambda: vectors_of.claiming(self._agent_id, self._worker, limit, now, after))
            self._may_hold_claims = True
        return vectors_of.to_unembedded(self._db.run(job))

    def embed(self, vectors: Mapping[str, Floats], model: str, *, upcoming: bool = False) -> None:
        """See `MemoryBackend.embed`."""
        job = Job(
            lambda: vectors_of.embedding(
                self._agent_id, self.location, vectors, model, upcoming=upcoming
            )
        )
        try:
            self._db.run(job)
        except EmbeddingMismatch:
            self._db.run(Job(lambda: vectors_of.releasing(self._worker)))
            raise

    def release(self) -> None:
        """Give back what this worker has taken, for others to go on with at once."""
        if self._may_hold_claims:
            self._may_hold_claims = False
            with contextlib.suppress(KronvexError):  # then they wait until its time is up
                job = Job(lambda: vectors_of.releasing(self._worker))
                self._db.run(job, patience_seconds=_RELEASING_SECONDS)

    def embedded_elsewhere(self) -> float | None:
        """See `MemoryBackend.embedded_elsewhere`."""
        return self._db.run(Job(lambda: vectors_of.taken_by_others(self._agent_id, self._worker)))

    def prepare_reindex(self, model: str, width: int) -> int:
        """See `MemoryBackend.prepare_reindex`."""
        return self._db.run(Job(lambda: vectors_of.preparing(self._agent_id, model, width)))

    def finish_reindex(self, model: str) -> int:
        """See `MemoryBackend.finish_reindex`."""

        def work(retried: bool) -> Work[int]:
            return vectors_of.finishing(self._agent_id, self.location, model, retried=retried)

        return self._db.run(Job(telling_retries(work)))
