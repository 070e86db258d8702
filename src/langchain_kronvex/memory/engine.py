"""The parts of an open memory, and the operations that its verbs and the adapters are made of."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import compress
from typing import Literal

from langchain_kronvex.core import errors
from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.background import BackgroundWriter, OnError, notify
from langchain_kronvex.core.config.settings import Settings
from langchain_kronvex.core.config.urls import is_remote, resolve_agent_id, resolve_url
from langchain_kronvex.core.records import Page, Record, Replacement, Scope, Selection
from langchain_kronvex.core.threads import Threads
from langchain_kronvex.core.types import MemoryStats
from langchain_kronvex.embeddings.model import EmbeddingModel, ModelInUse
from langchain_kronvex.embeddings.providers import EmbeddingsChoice, resolve_embeddings
from langchain_kronvex.memory.before_save import BeforeSave
from langchain_kronvex.memory.embedder import BackgroundEmbedder
from langchain_kronvex.memory.recalling.recaller import AccessCounter, Recaller
from langchain_kronvex.memory.retainer import Eraser, Retainer
from langchain_kronvex.memory.spans import SPANS, UNTRACED
from langchain_kronvex.recall.bm25 import load_thesaurus
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.opening import open_backend

logger = logging.getLogger("langchain_kronvex")
OnFailure = Literal["degrade", "raise"]  # of the memory in a chat
# Reads that hardly wait: with as many threads as tasks, 64 tasks read 10 % less a second.
_COMPUTING_THREADS = {"sqlite": 2, "postgresql": 4}


class DegradedTurns:
    """Counts the turns that had to do without memory, or with less of it."""

    def __init__(self, on_error: OnError | None) -> None:
        self.count = 0
        self.last_error: str | None = None
        self._on_error = on_error

    def report(self, error: Exception, *, in_chat: bool = True) -> None:
        """Count one turn, log the error without any memory text, and call `on_error`."""
        self.count += 1
        self.last_error = errors.described(error)
        chat = ", the chat goes on" if in_chat else ""
        logger.warning("memory degraded%s: %s", chat, self.last_error)
        notify(self._on_error, error)

    @contextmanager
    def going_on(
        self, on_error: OnFailure, report: Callable[[Exception], None] | None = None
    ) -> Iterator[None]:
        """Report an error and go on without the memory, unless `on_error` is `raise`.

        Mistakes in the program are raised: values that do not fit, and a closed memory.
        """
        try:
            yield
        except (errors.InvalidInput, errors.MemoryClosed):
            raise
        except Exception as error:
            if on_error == "raise":
                raise
            (report or self.report)(error)


class Engine:
    """An open memory: its backend, embeddings, background work and threads.

    It is internal to the package: adapters use it, users use `KronvexMemory`. It is closed when
    nothing refers to it any more, and at exit.

    Attributes:
        url: The resolved URL of the store.
        agent_id: The agent that the memories belong to.
        settings: The settings it was opened with.
        before_save: Asks the user's `before_save` about texts; adapters that make records do so.
        backend: The store.
        model: The embeddings in use.
        clock: Returns the current time, as an aware datetime.
        writer: Saves in the background.
        closing: Set when the memory is being closed.
        further_writers: Those of adapters, which end them; `stats` counts their work.
        accesses: Counts accesses of recalled memories.
        recaller: Finds memories.
        embedder: Fetches vectors in the background.
        retainer: Erases what the retention does not keep; None without one.
        has_hinted: Whether a reading without ids was reported (see `listing.hint_at_users`).
        degraded: Counts degraded turns.
        threads: The threads of the async verbs.
        patience_seconds: How long a turn waits for its messages to be on disk before it goes on.
        erasures: How often something was erased through this object. Anything recalled before the
            last erasure may contain erased text.
    """

    def __init__(
        self,
        url: str | None,
        agent_id: str | None,
        embeddings: EmbeddingsChoice,
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.before_save = BeforeSave(settings.before_save)
        self.agent_id = resolve_agent_id(agent_id)
        self.url = resolve_url(url, settings.api_key, settings.postgres)
        self.model = ModelInUse(_model_for(self.url, embeddings))
        self.backend = open_backend(self.url, self.agent_id, settings)
        self.clock = settings.clock or self.backend.clock
        self.degraded = DegradedTurns(settings.on_error)
        max_reads = partial(_max_reads, self.url, self.model, settings.max_threads)
        self.threads = Threads(settings.max_threads, max_reads)
        self.writer = BackgroundWriter(on_error=settings.on_error)
        # Separate from the writer, so that a slow provider does not delay saving.
        self._embedding_writer = BackgroundWriter(on_error=settings.on_error)
        self.closing, self.further_writers = threading.Event(), list[BackgroundWriter]()
        parts = (self.threads, self.writer, self._embedding_writer, self.backend)
        self._finalizer = weakref.finalize(self, _shut, self.closing, *parts)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        if self.url.startswith("sqlite:"):  # the current directory may change
            self.url = self.backend.location
        self.erasures, self.has_hinted = 0, False
        self.patience_seconds = 1.0
        self.accesses = AccessCounter(self.backend, self.writer, self.clock)
        report = partial(self.degraded.report, in_chat=False)  # a verb may be called anywhere
        self.recaller = Recaller(
            self.backend, self.model, self.accesses, self.clock, report, self.before_save,
            self.settings.rerank,
        )  # fmt: skip
        self.embedder = BackgroundEmbedder(
            self.backend, self.model, self._embedding_writer, self.clock
        )
        self.eraser = Eraser(self.backend, self.writer, self.clock)
        self.retainer = None
        if (retention := self.settings.retention) is not None:
            self.retainer = Retainer(
                self.backend, retention, self.writer, self.accesses, self.clock, self.eraser.wake,
                self.closing,
            )  # fmt: skip
        model = self.model.current
        if model:  # what the first recall would read
            load_thesaurus()
            model.load()
        if self.settings.read_only:
            self.backend.start(report, lambda: None)
            return
        if model:
            model.width = self.backend.settle_embeddings(model.name, model.width)
            # Memories may have no vector yet, for example because a process ended early.
            left = self.backend.unembedded(1, self.clock())
            if left or self.backend.embedded_elsewhere() is not None:
                self.embedder.wake()
        self.backend.purge(self.clock())
        if self.backend.is_erasing:
            self.eraser.wake()
        self.backend.start(report, self.embedder.wake_for_others)
        self._retain(())

    # -- records -------------------------------------------------------------------------------

    def add(self, records: Sequence[Record], now: datetime) -> list[Record]:
        """Store records, all or none, and return them as stored; see `MemoryBackend.add`.

        With the bundled embeddings, memories are stored together with their vectors; other vectors
        are fetched in the background.
        """
        span = SPANS.begin and SPANS.begin("kronvex.remember", self.backend.location, {})
        with span or UNTRACED as counts:
            stored = self._add(records, now)
            counts["records"] = len(stored)
        return stored

    def _add(self, records: Sequence[Record], now: datetime) -> list[Record]:
        if self.backend.is_remote or not records:  # a server embeds the memories
            return self.backend.add(records, now) if records else []
        model = self.model.current
        records, maker = with_local_vectors(model, records)
        stored = self.backend.add(records, now, maker)
        changed = any(a.found_by != b.found_by for a, b in zip(stored, records, strict=True))
        self.embed_soon(None if changed else model)  # what others changed has no vector yet
        self._retain(records)
        return stored

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        deleted: Sequence[Selection] = (),
        expected: Sequence[str | None] | None = None,
    ) -> bool:
        """Store records, replacing those with the same keys, and delete others, in one step.

        The bytes of deleted records are erased in the background. False if the contents there were
        not those `expected`; then nothing was stored.
        """
        model = self.model.current
        records, maker = with_local_vectors(model, records)
        if not self.backend.put(Replacement(records, maker, expected, deleted), now):
            return False
        if records:
            self.embed_soon(model)
        if deleted:
            self.eraser.wake()
        self._retain(records)
        return True

    def _retain(self, stored: Sequence[Record]) -> None:
        if self.retainer is not None:
            self.retainer.wake(record.scope.owner for record in stored)

    def find(self, selection: Selection, page: Page | None = None) -> list[Record]:
        """Return the selected records that are visible now."""
        return self.backend.find(selection, page or Page(), self.clock())

    def find_memory(self, id_: str, scope: Scope | None = None) -> Record | None:
        """Return the record of a memory, of any scope or of this one; or None."""
        chosen = Selection(kind="memory", scope=scope or None, ids=(checks.check_id(id_, "id"),))
        return next(iter(self.find(chosen)), None)

    def change(self, id_: str, changed: Callable[[Record], Record]) -> Record:
        """Change the record of a memory; changes that others make at the same time are kept.

        Raises:
            MemoryNotFound: no memory has this id.
            ErasurePending: it is changed; the bytes of its former text are erased later.
        """
        record = self.find_memory(id_)
        if record is None:
            raise errors.MemoryNotFound()
        new = replace(self.before_save.memory(changed(record), record), base=record)
        if new.content == record.content:
            self.backend.change(new, self.clock())
            return new
        model = self.model.current
        (with_vector,), maker = with_local_vectors(model, [new])
        self.model.forget_queries()
        try:
            self.backend.change(with_vector, self.clock(), maker)
        except errors.ErasurePending:
            self.eraser.wake()
            raise
        finally:
            self.erasures += 1
            self.embed_soon(model)
        return new

    def erase(self, chosen: Selection) -> int:
        """Erase records permanently, and drop what is waiting to be saved; return how many."""
        span = SPANS.begin and SPANS.begin("kronvex.forget", self.backend.location, {})
        with span or UNTRACED as counts:
            if chosen.ids is None and chosen.keys is None:
                scope = chosen.scope
                self.writer.discard(lambda lane: _is_within(lane, scope))
                self.threads.wait_for_saves(self.settings.timeout_seconds)
            self.model.forget_queries()
            try:
                counts["records"] = erased = self.delete(chosen)
            finally:
                self.erasures += 1
        return erased

    def delete(self, chosen: Selection) -> int:
        """Erase records permanently; return how many.

        Raises:
            ErasurePending: they are deleted; their bytes are erased in the background.
        """
        try:
            return self.backend.delete(chosen, self.clock())
        except errors.ErasurePending:
            self.eraser.wake()
            raise

    def embed_soon(self, stored_with: EmbeddingModel | None) -> None:
        """Fetch the vectors of memories that were just stored, in the background.

        Vectors of the bundled embeddings were stored with the memories, unless the memory was
        reindexed in the meantime.
        """
        model = self.model.current
        if model and not (model.is_local and model is stored_with):
            self.embedder.wake()

    def stats(self) -> MemoryStats:
        """Return the figures of the store and of the background work."""
        writers = (self.writer, self._embedding_writer, *self.further_writers)
        stored = self.backend.stats(self.clock())
        told = [*(w.last_error for w in writers), stored.last_error, self.degraded.last_error]
        return replace(
            stored,
            unembedded=stored.unembedded if self.model.current else 0,
            pending=stored.pending + sum(writer.pending for writer in writers),
            failed=stored.failed + sum(writer.failed for writer in writers),
            degraded=self.degraded.count,
            last_error=next(filter(None, told), None),
        )

    # -- the end -------------------------------------------------------------------------------

    def flush(self, timeout: float | None) -> bool:
        """Wait for the background work; return False if `timeout` seconds were not enough."""
        end = 0.0 if timeout is None else checks.check_seconds(timeout, "timeout")
        end, done = end + time.monotonic(), True
        for part in (self.writer, self._embedding_writer, self.backend):
            left = None if timeout is None else max(end - time.monotonic(), 0)
            done = part.flush(left) and done
        return done

    def close(self) -> None:
        """Finish the background work and close the store."""
        self._finalizer()


def with_local_vectors(
    model: EmbeddingModel | None, records: Sequence[Record]
) -> tuple[Sequence[Record], str | None]:
    """Return the records and the name of the model of their vectors.

    Memories that have and keep no vector get one if the embeddings are the bundled, fast ones.
    """
    if model is None or not model.is_local:
        return records, None
    missing = [r.kind == "memory" and r.vector is None and not r.keeps_vector for r in records]
    if not any(missing):  # as with the answer of a turn
        return records, model.name
    vectors = iter(model.document_vectors([r.found_by for r in compress(records, missing)]))
    return [
        replace(record, vector=next(vectors)) if is_missing else record
        for record, is_missing in zip(records, missing, strict=True)
    ], model.name


def _shut(closing: threading.Event, *parts: Threads | BackgroundWriter | MemoryBackend) -> None:
    closing.set()
    with ExitStack() as stack:  # closes every part, also when closing one is cut short
        for part in reversed(parts):
            stack.callback(part.close)


def _max_reads(url: str, model: ModelInUse, max_threads: int) -> int:
    """Return how many reads may run at once: fewer if they spend their time computing."""
    current = model.current
    is_local = current is None or current.is_local
    computing = _COMPUTING_THREADS.get(url.partition(":")[0], max_threads)
    return min(max_threads, computing) if is_local else max_threads


def _model_for(url: str, embeddings: EmbeddingsChoice) -> EmbeddingModel | None:
    if not is_remote(url):
        return resolve_embeddings(embeddings)
    if embeddings is not None:
        raise errors.ConfigurationError(
            "embeddings cannot be chosen for a Kronvex API: the server embeds the memories. "
            "Leave the argument out, or keep the memories in sqlite:///path.db"
        )
    return None


def _is_within(lane: object, scope: Scope | None) -> bool:
    """Return whether background work belongs to a scope; None means any scope."""
    if not isinstance(lane, Scope):
        return False
    return scope is None or (
        lane.owner == scope.owner and scope.only_session in (None, lane.session_id)
    )
