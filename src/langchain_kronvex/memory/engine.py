"""Opening and closing a memory: its backend, its embeddings and its background work."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from langchain_kronvex.core.background import BackgroundWriter, OnError
from langchain_kronvex.core.effects import Plan, both, call
from langchain_kronvex.core.errors import ConfigurationError, described
from langchain_kronvex.embeddings.model import EmbeddingModel, ModelInUse
from langchain_kronvex.embeddings.providers import EmbeddingsChoice, resolve_embeddings
from langchain_kronvex.memory.embedder import BackgroundEmbedder
from langchain_kronvex.memory.recaller import Recaller
from langchain_kronvex.memory.upkeep_jobs import AccessCounter, Eraser
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.postgres.options import PostgresOptions
from langchain_kronvex.storage.rest.options import ServiceOptions, is_service
from langchain_kronvex.storage.urls import open_backend, resolve_agent_id, resolve_url

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("langchain_kronvex")
Self = TypeVar("Self", bound="OpenMemory")
_PASSED_ON = (  # to the memory of another agent beside this one
    "api_key", "on_error", "timeout_seconds", "cache_megabytes", "http_client",
    "http_async_client", "outbox", "allow_http", "postgres", "clock",
)  # fmt: skip


class OpenMemory:
    """The parts of an open memory. See `KronvexMemory` for the arguments."""

    _last_degraded: str | None = None

    def __init__(
        self,
        url: str | None = None,
        *,
        agent_id: str | None = None,
        api_key: str | SecretStr | None = None,
        embeddings: EmbeddingsChoice = None,
        on_error: OnError | None = None,
        timeout_seconds: float = 30.0,
        cache_megabytes: int = 256,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
        outbox: str | Path | None = None,
        allow_http: bool = False,
        postgres: PostgresOptions | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        if isinstance(api_key, str):
            api_key = SecretStr(api_key)  # no repr of what is kept shows it
        self._settings = {k: v for k, v in locals().items() if k in _PASSED_ON}
        self.agent_id = resolve_agent_id(agent_id)
        self._on_error = on_error
        self._degraded = 0
        self._place = place = resolve_url(url, api_key, postgres)
        self._model = ModelInUse(_model_for(place, embeddings))
        self._backend = open_backend(
            place,
            self.agent_id,
            timeout=timeout_seconds,
            cache_bytes=cache_megabytes << 20,
            service=ServiceOptions(api_key, http_client, outbox, allow_http),
            postgres=postgres,
        )
        self._clock = clock or self._backend.now
        self._begin(on_error)

    def _begin(self, on_error: OnError | None) -> None:
        """Start the background work, and see to it that it ends."""
        self.writer = BackgroundWriter(on_error=on_error)
        # Apart from the writer: a slow provider must not hold up what is to be saved.
        self._embedding_writer = BackgroundWriter(on_error=on_error)
        self._finalizer = weakref.finalize(
            self, _shut, self.writer, self._embedding_writer, self._backend
        )
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        accesses = AccessCounter(self._backend, self.writer)
        self._recaller = Recaller(
            self._backend, self._model, accesses, self._clock, self.report_degraded
        )
        self._embedder = BackgroundEmbedder(
            self._backend, self._model, self._embedding_writer, self._clock
        )
        self._eraser = Eraser(self._backend, self.writer, self._clock)
        if model := self._model.current:
            model.load()
            model.width = self._backend.settle_embeddings(model.name, model.width)
            if self._is_left_over():
                self._embedder.wake()
        self._backend.purge(self._clock())
        self._backend.start(_weakly(self.report_degraded))
        self._backend.when_unembedded(self._embedder.wake_for_others)

    def _is_left_over(self) -> bool:
        """Tell whether an earlier process left memories without a vector, or others have some."""
        left = self._backend.unembedded(1, self._clock())
        return bool(left) or self._backend.embedded_elsewhere() is not None

    def beside(self: Self, agent_id: str, **settings: Any) -> Self:
        """Open the memory of another agent in the same place, with the same embeddings.

        Args:
            agent_id: The other agent.
            settings: Arguments of the constructor that are to differ.

        Returns:
            A memory for its caller to close. Of `sqlite://` it is one of its own. Its outbox, if
            this one's is a file of yours, is a file beside that.
        """
        model = self._model.current
        if not self._backend.is_service:
            settings = {"embeddings": model.embeddings if model else False, **settings}
        elif (chosen := self._settings["outbox"]) and not Path(chosen).expanduser().is_dir():
            digest = hashlib.blake2b(agent_id.encode(), digest_size=8).hexdigest()
            settings = {"outbox": f"{chosen}-{digest}", **settings}
        return type(self)(self._place, agent_id=agent_id, **{**self._settings, **settings})

    @property
    def location(self) -> str:
        """Where the memories are kept, as a URL."""
        return self._backend.location

    def __repr__(self) -> str:
        return f"KronvexMemory({self.location!r}, agent_id={self.agent_id!r})"

    def embed_soon(self, stored_with: EmbeddingModel | None) -> None:
        """Let the vectors of memories just stored be fetched in the background.

        An instant model's were stored with them, unless the memory was reindexed meanwhile.
        """
        model = self._model.current
        if model and not (model.instant and model is stored_with):
            self._embedder.wake()

    def erase_soon(self) -> None:
        """Let what was deleted be erased from the files in the background."""
        self._eraser.wake()

    def report_degraded(self, error: Exception) -> None:
        """Note that a turn went on without its memory, or with less of it: log it once, count it
        for `stats`, and tell `on_error`. The log holds no memory text.
        """
        self._degraded += 1
        self._last_degraded = described(error)
        logger.warning("memory degraded, the chat goes on: %s", self._last_degraded)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception as raised:  # noqa: BLE001 - no traceback: it may quote memory text
                logger.error("on_error raised %s", type(raised).__name__)  # noqa: TRY400

    def _flush(self, timeout: float | None = None) -> Plan[bool]:
        """Wait for the background work; False when `timeout` seconds were not enough."""
        started = time.monotonic()
        saved: bool = yield call(self.writer, "flush", timeout)
        left = None if timeout is None else max(timeout - (time.monotonic() - started), 0)
        embedded: bool = yield call(self._embedding_writer, "flush", left)
        left = None if timeout is None else max(timeout - (time.monotonic() - started), 0)
        sent: bool = yield call(self._backend, "flush", left)
        return saved and embedded and sent

    flush, aflush = both(_flush)

    def close(self) -> None:
        """Finish the background work and let go of the store. Also done at exit."""
        self._finalizer()

    async def aclose(self) -> None:
        """Twin of `close`, to be awaited."""
        await asyncio.to_thread(self.close)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _shut(writer: BackgroundWriter, embedding: BackgroundWriter, backend: MemoryBackend) -> None:
    writer.close()
    embedding.close()
    backend.close()


def _model_for(url: str, embeddings: EmbeddingsChoice) -> EmbeddingModel | None:
    if not is_service(url):
        return resolve_embeddings(embeddings)
    if embeddings is not None:
        raise ConfigurationError(
            "embeddings cannot be chosen for a Kronvex API: the server embeds the memories itself. "
            "Leave the argument out, or keep the memories in sqlite:///path.db"
        )
    return None


def _weakly(report: OnError) -> OnError:
    """Return a function that calls a bound method without keeping its object alive."""
    method = weakref.WeakMethod(report)

    def told(error: Exception) -> None:
        alive = method()
        if alive is not None:
            alive(error)

    return told
