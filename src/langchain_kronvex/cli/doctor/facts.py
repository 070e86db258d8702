"""Gathers what can be known of a store, also of one that cannot be opened; changes nothing."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from langchain_kronvex.cli.doctor.files import FileFacts, file_facts, with_probe
from langchain_kronvex.core import __version__
from langchain_kronvex.core.config import urls
from langchain_kronvex.core.errors import KronvexError, StoreBusy, StoreError
from langchain_kronvex.core.records import StoreCondition
from langchain_kronvex.core.types import MemoryStats, SessionSummary, UserSummary
from langchain_kronvex.embeddings.providers import EmbeddingsChoice, resolve_embeddings
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.opening import require_store
from langchain_kronvex.storage.rest.outbox import files as outbox_files
from langchain_kronvex.storage.rest.outbox.outbox import Outbox

Kind = Literal["ram", "file", "postgres", "api", "unknown"]
_TIMEOUT_SECONDS = 2.0
_EXTRAS = {
    "server": "uvicorn", "postgres": "psycopg", "langgraph": "langgraph", "agents": "langchain",
    "openai": "langchain_openai", "llama-index": "llama_index", "mcp": "mcp", "progress": "tqdm",
    "metrics": "prometheus_client", "otel": "opentelemetry", "testing": "langgraph",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OutboxFacts:
    """What waits in an outbox; `error` if it cannot be read."""

    path: str
    server: str = ""
    unsent: int = 0
    refused: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What a store that could be opened holds."""

    stats: MemoryStats
    condition: StoreCondition
    users: Sequence[UserSummary]
    sessions: Sequence[SessionSummary]
    clock_ahead_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the findings are made of.

    Attributes:
        now: The time of this machine.
        url: The store, without a password.
        url_reason: What decided the URL.
        kind: The kind of store.
        agent_id: The agent.
        agent_reason: What decided the agent.
        model: The embeddings that were asked for; None for words alone, or over an API.
        model_error: Why these embeddings cannot be made.
        file: The file of a SQLite store.
        store: What it holds; None if it cannot be opened.
        error: Why it cannot be opened or read.
        outboxes: All outboxes of this user.
        software: Names and versions.
        extras: Which extras are installed.
    """

    now: datetime
    url: str
    url_reason: str
    kind: Kind
    agent_id: str
    agent_reason: str
    model: str | None = None
    model_error: KronvexError | None = None
    file: FileFacts | None = None
    store: StoreFacts | None = None
    error: KronvexError | None = None
    outboxes: Sequence[OutboxFacts] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, bool] = field(default_factory=dict)


def gather(asked: argparse.Namespace) -> Facts:
    """Return the facts about the store that the options name."""
    url, url_reason = urls.url_and_reason(asked.url)
    agent_reason = "the argument" if asked.agent else "KRONVEX_AGENT_ID"
    if not asked.agent and not os.environ.get("KRONVEX_AGENT_ID"):
        agent_reason = "the default"
    kind, model, model_error = _kind(url), None, None
    try:
        chosen = None if kind == "api" else resolve_embeddings(asked.embeddings)
        model = chosen.name if chosen else None
    except KronvexError as error:
        model_error = error
    store, failed, shown = _open(url, asked.agent, kind)
    file = file_facts(url) if kind == "file" else None
    if file and file.exists and (failed is None or isinstance(failed, StoreBusy)):
        file = with_probe(file)
    return Facts(
        now=datetime.now(timezone.utc), url=shown, url_reason=url_reason, kind=kind,
        agent_id=urls.resolve_agent_id(asked.agent), agent_reason=agent_reason, model=model,
        model_error=model_error, file=file, store=store, error=failed, outboxes=_outboxes(),
        software=_software(), extras={name: bool(find_spec(m)) for name, m in _EXTRAS.items()},
    )  # fmt: skip


def _kind(url: str) -> Kind:
    if urls.is_remote(url):
        return "api"
    if urls.is_postgres(url):
        return "postgres"
    if not url.startswith("sqlite://"):
        return "unknown"
    return "ram" if url.removeprefix("sqlite://") in ("", "/", "/:memory:") else "file"


def _open(
    url: str, agent: str | None, kind: Kind
) -> tuple[StoreFacts | None, KronvexError | None, str]:
    """Return what the store holds, or why it cannot be read, and its URL without a password."""
    # The part before :// is not secret; the rest may hold a password.
    shown = url if kind in ("ram", "file") else f"{url.partition('://')[0]}://…"
    shown = "…" if kind == "unknown" else shown
    embeddings: EmbeddingsChoice = None if kind == "api" else False
    try:
        require_store(url)
        with KronvexMemory(
            url, agent_id=agent, embeddings=embeddings, read_only=True,
            timeout_seconds=_TIMEOUT_SECONDS,
        ) as memory:  # fmt: skip
            shown = memory.location
            return _store_facts(memory), None, shown
    except KronvexError as error:
        return None, error, shown
    except OSError as error:
        return None, StoreError(f"{type(error).__name__}: {error}"), shown


def _store_facts(memory: KronvexMemory) -> StoreFacts:
    backend, now = memory.engine.backend, datetime.now(timezone.utc)
    sessions = memory.sessions()  # first: of a server, `stats` hides that it cannot be reached
    return StoreFacts(
        stats=backend.stats(memory.engine.clock()),
        condition=backend.condition(memory.engine.clock()),
        users=memory.users(),
        sessions=sessions,
        clock_ahead_seconds=(memory.engine.clock() - now).total_seconds(),
    )


def _outboxes() -> list[OutboxFacts]:
    found, paths = [], list[Path]()
    with suppress(OSError):
        paths = outbox_files.outboxes_at(outbox_files.location_of(None))
    for path in paths:
        facts = OutboxFacts(str(path), error="it cannot be read")
        with suppress(KronvexError), closing(Outbox(path, 1.0, read_only=True)) as outbox:
            server = outbox_files.identity_of(outbox).base_url
            facts = OutboxFacts(str(path), server, outbox.unsent(), len(outbox.refused()))
        found.append(facts)
    return found


def _software() -> dict[str, str]:
    ours = {"langchain-kronvex": __version__, "langchain-core": version("langchain-core")}
    return {**ours, "Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
