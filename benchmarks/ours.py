"""This package as one of the stores under measure, and what is measured of it alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import embedding_choice
from langchain_kronvex import KronvexMemory, MemoryDraft
from overhead import COLOURS, added_ms
from timing import floor_ms, p50_ms, times_ms
from workload import USER

NAME = "langchain-kronvex"
TOP_K = 10
FLOOR_WIDTHS = (256, 384)  # of the bundled embeddings, and of all-MiniLM-L6-v2
CHAIN_TURNS = 60


class Ours:
    """`KronvexMemory` on a file, all memories of one user."""

    def __init__(self, folder: Path, embeddings: str) -> None:
        self.memory = KronvexMemory(
            f"sqlite:///{folder}/memory.db", **embedding_choice.arguments(embeddings)
        )

    def remember(self, text: str) -> None:
        """Store one memory."""
        self.memory.remember(text, user_id=USER)

    def bulk(self, drafts: Sequence[MemoryDraft]) -> None:
        """Store many memories at once."""
        self.memory.remember_many(drafts)

    def settle(self) -> None:
        """Wait until all memories have their vectors."""
        self.memory.flush()

    def recall(self, query: str) -> list[str]:
        """Recall ten."""
        return [found.content for found in self.memory.recall(query, user_id=USER, top_k=TOP_K)]

    def close(self) -> None:
        """Close the memory; vectors that are not there would make every time wrong."""
        stats = self.memory.stats()
        self.memory.close()
        if stats.failed or stats.degraded:
            raise RuntimeError(stats.last_error)


def alone(store: Ours, queries: Iterator[str], texts: Iterator[str]) -> dict[str, float]:
    """Measure what peers do not have: contexts, recall between writes, and a chain around it."""

    def context(query: str) -> None:
        store.memory.inject_context(query, user_id=USER)

    inject = p50_ms(context, [next(queries) for _ in range(100)])
    at_once, settled = [], []
    for _ in range(20):
        store.remember(next(texts))
        at_once += times_ms(store.recall, [next(queries)])
        store.settle()
        settled += times_ms(store.recall, [next(queries)])
    warnings.simplefilter("ignore")
    added = added_ms(store.memory, [next(queries) for _ in range(CHAIN_TURNS)])
    return {
        "inject_p50_ms": inject,
        "recall_after_write_ms": median(at_once),
        "recall_after_vector_ms": median(settled),
        **{f"added_{colour}_ms": ms for colour, ms in zip(COLOURS, added, strict=True)},
    }


def floors(count: int) -> dict[str, float]:
    """Return the floor of each width."""
    return {f"floor_{width}_ms": floor_ms(count, width) for width in FLOOR_WIDTHS}
