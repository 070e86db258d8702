"""What a user would take instead of this package, all behind the same few verbs.

LangGraph's `InMemoryStore` and `SqliteStore`, Chroma (embedded, in a folder), and the store that
tutorials write: rows of text and a JSON list in SQLite, compared one by one in Python. All of them
find by the cosine of the same vectors, those of the bundled `StaticEmbeddings`, and embed inside
their verbs, so that every time includes the embedding. Chroma searches approximately, the others
exactly. Each holds the memories of one user.

    pip install --group bench      # from a checkout; what is not installed is left out
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np

from langchain_kronvex import MemoryDraft
from langchain_kronvex.embeddings import StaticEmbeddings
from workload import USER

TOP_K = 10
NAMESPACE = ("memories", USER)


class Store(Protocol):
    """One user's memories; `remember` and `bulk` return when the texts are stored."""

    def remember(self, text: str) -> None:
        """Store one text."""

    def bulk(self, drafts: Sequence[MemoryDraft]) -> None:
        """Store many texts at once."""

    def settle(self) -> None:
        """Wait until what was stored is also found by its vector."""

    def recall(self, query: str) -> list[str]:
        """Return the ten nearest texts, best first."""

    def close(self) -> None:
        """Let go of the files."""


class TextStore(ABC):
    """A peer: it keeps the texts alone, and embeds them at once."""

    def __init__(self) -> None:
        self.embeddings = StaticEmbeddings()

    @abstractmethod
    def add(self, texts: list[str]) -> None:
        """Embed and store texts."""

    @abstractmethod
    def recall(self, query: str) -> list[str]:
        """Return the ten nearest texts, best first."""

    def remember(self, text: str) -> None:
        """Store one text."""
        self.add([text])

    def bulk(self, drafts: Sequence[MemoryDraft]) -> None:
        """Store many texts at once."""
        self.add([draft.content for draft in drafts])

    def settle(self) -> None:  # noqa: B027 - nothing is left to do
        """Wait until what was stored is also found by its vector."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of the files."""


class InMemory(TextStore):
    """LangGraph's `InMemoryStore`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.count = 0
        self.store = self.opened(folder)

    def opened(self, folder: Path) -> Any:
        """Return the store."""
        from langgraph.store.memory import InMemoryStore

        return InMemoryStore(index=self.index())

    def index(self) -> Any:
        """Return the configuration of the vector index."""
        sizes = {"dims": self.embeddings.dimensions, "embed": self.embeddings}
        return {**sizes, "fields": ["text"], "text_fields": ["text"]}  # SqliteStore reads the other

    def add(self, texts: list[str]) -> None:
        """Put all items in one batch."""
        from langgraph.store.base import PutOp

        self.store.batch(
            [
                PutOp(NAMESPACE, str(key), {"text": text})
                for key, text in enumerate(texts, self.count)
            ]
        )
        self.count += len(texts)

    def recall(self, query: str) -> list[str]:
        """Search the namespace."""
        found = self.store.search(NAMESPACE, query=query, limit=TOP_K)
        return [item.value["text"] for item in found]


class Sqlite(InMemory):
    """LangGraph's `SqliteStore`, which needs the sqlite-vec extension."""

    def opened(self, folder: Path) -> Any:
        """Return the store on a file."""
        from langgraph.store.sqlite import SqliteStore

        self.context = SqliteStore.from_conn_string(str(folder / "store.db"), index=self.index())
        store = self.context.__enter__()
        store.setup()
        self.count = store.conn.execute("SELECT count(*) FROM store").fetchone()[0]
        return store

    def close(self) -> None:
        """Close the file."""
        self.context.__exit__(None, None, None)


class Chroma(TextStore):
    """Chroma in a folder: a collection for each user, cosine distance."""

    shared = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        self.collection = chromadb.PersistentClient(str(folder), settings).get_or_create_collection(
            "memories", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        self.count = self.collection.count()

    def add(self, texts: list[str]) -> None:
        """Add all documents in one call."""
        self.collection.add(
            ids=[str(key) for key in range(self.count, self.count + len(texts))],
            documents=texts,
            embeddings=self.embeddings.embed_array(texts),
            metadatas=[{"user_id": USER}] * len(texts),
        )
        self.count += len(texts)

    def recall(self, query: str) -> list[str]:
        """Query the collection."""
        found = self.collection.query(
            query_embeddings=self.embeddings.embed_array([query]),
            n_results=TOP_K,
            where={"user_id": USER} if self.shared else None,
        )
        texts: list[str] = (found["documents"] or [[]])[0]
        return texts


class SharedChroma(Chroma):
    """Chroma with one collection for all users, and a filter for one of them."""

    shared = True


class Tutorial(TextStore):
    """What tutorials write: JSON vectors in a table, compared in Python."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.connection = sqlite3.connect(folder / "memory.db")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS memories"
            " (id INTEGER PRIMARY KEY, text TEXT, embedding TEXT)"
        )

    def add(self, texts: list[str]) -> None:
        """Insert all rows and commit."""
        vectors = map(json.dumps, self.embeddings.embed_documents(texts))
        self.connection.executemany(
            "INSERT INTO memories (text, embedding) VALUES (?, ?)",
            zip(texts, vectors, strict=True),
        )
        self.connection.commit()

    def recall(self, query: str) -> list[str]:
        """Compare the query with every row."""
        wanted = self.embeddings.embed_query(query)
        rows = self.connection.execute("SELECT text, embedding FROM memories")
        scored = [(cosine(wanted, json.loads(embedding)), text) for text, embedding in rows]
        scored.sort(reverse=True)
        return [text for _, text in scored[:TOP_K]]

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def cosine(one: list[float], other: list[float]) -> float:
    """Return the cosine of two vectors, 0 if one of them is zero."""
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    lengths = math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other))
    return dot / lengths if lengths else 0.0


def share_of_nearest(
    store: Store, texts: list[str], queries: Iterable[str], budget_seconds: float
) -> float:
    """Return which share of the ten nearest texts a store finds: 1 for an exact search."""
    embeddings = StaticEmbeddings()
    matrix = embeddings.embed_array(texts)
    shares, end = [], time.perf_counter() + budget_seconds
    for query in queries:
        nearest = np.argsort(-(matrix @ embeddings.embed_array([query])[0]))[:TOP_K]
        shares.append(
            len({texts[row] for row in nearest} & set(store.recall(query))) / len(nearest)
        )
        if time.perf_counter() > end:
            break
    return fmean(shares)


@dataclass(frozen=True)
class Peer:
    """How a peer is opened, what it imports, and what to install for it."""

    open: Callable[[Path], Store]
    modules: tuple[str, ...] = ()
    pip: str = ""
    keeps: bool = True  # what was stored is there in the next process


PEERS: dict[str, Peer] = {
    "LangGraph InMemoryStore": Peer(
        InMemory, ("langgraph.store.memory",), "langgraph-checkpoint", keeps=False
    ),
    "LangGraph SqliteStore": Peer(
        Sqlite,
        ("langgraph.store.sqlite", "sqlite_vec"),
        "langgraph-checkpoint-sqlite",
    ),
    "Chroma": Peer(Chroma, ("chromadb",), "chromadb"),
    "Chroma, filtered by user": Peer(SharedChroma, ("chromadb",), "chromadb"),
    "JSON in SQLite": Peer(Tutorial),
}


def missing(peer: Peer) -> str | None:
    """Say what has to be installed before a peer can be measured; None when it is all there."""
    if not all(map(_found, peer.modules)):
        return f"pip install {peer.pip}"
    if peer.open is Sqlite and not (_loads_extensions() or _found("pysqlite3")):
        return "needs a Python with loadable SQLite extensions, or: pip install pysqlite3-binary"
    return None


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def _loads_extensions() -> bool:
    return hasattr(sqlite3.Connection, "enable_load_extension")


def load(peer: Peer) -> None:
    """Import what a peer needs, so that its memory can be told from that of its modules."""
    if peer.open is Sqlite and not _loads_extensions():
        sys.modules["sqlite3"] = importlib.import_module("pysqlite3")
    for module in peer.modules:
        importlib.import_module(module)
