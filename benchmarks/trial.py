"""One store of one size: filled by one process, opened and used by the next.

    python benchmarks/trial.py fill|use|again|both STORE COUNT FOLDER EMBEDDINGS
    python benchmarks/trial.py floor COUNT

Started by `speed.py`; prints what it measured as one JSON object. Files are warm in the cache of
the operating system, since they were just written; the process that opens them is new.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import ours
from peers import PEERS, Peer, Store, load, share_of_nearest
from processes import peak_rss_mib, rss_mib, size_mib
from timing import percentile, times_ms
from workload import Workload

QUERIES = 400
WRITES = 200
BATCH = 1_000
MOST_FILL_SECONDS = 120
BUDGET_SECONDS = 12  # for each measure, so that a slow store is measured with fewer calls


def fill(store: Store, work: Workload, count: int, patience: float) -> dict[str, Any]:
    """Store `count` memories in batches; only the store's own time counts."""
    drafts, durable, stored = work.drafts(count), 0.0, 0
    while batch := list(itertools.islice(drafts, BATCH)):
        began = time.perf_counter()
        store.bulk(batch)
        durable += time.perf_counter() - began
        stored += len(batch)
        if durable > patience and stored < count:
            return {"skipped": f"filling took more than {patience:.0f} s ({stored:,} stored)"}
    began = time.perf_counter()
    store.settle()
    settled = durable + time.perf_counter() - began
    return {"bulk_per_s": count / durable, "settled_bulk_per_s": count / settled}


def use(peer: Peer, folder: Path, count: int, filled: Store | None) -> dict[str, Any]:
    """Open the store, recall, write; one store that keeps nothing comes already filled."""
    work = Workload()
    queries = iter(work.queries(QUERIES + 300, count))
    texts = (work.sentence(count + n) for n in itertools.count())
    result: dict[str, Any] = {"file_mib": size_mib(folder) if peer.keeps else 0.0}
    before, peak_before = rss_mib(), peak_rss_mib()
    began = time.perf_counter()
    store = filled or peer.open(folder)
    found = store.recall(next(queries))
    first = 1000 * (time.perf_counter() - began)
    if len(found) != min(10, count):
        raise RuntimeError(f"recall found {len(found)} memories")
    if filled is None:
        result |= {"first_ms": first, "rss_mib": rss_mib() - before}
        result["peak_rss_mib"] = peak_rss_mib() - peak_before
    result |= recalls(store, queries, count)
    if not isinstance(store, ours.Ours):
        said = [draft.content for draft in work.drafts(count)]
        twenty = itertools.islice(queries, 20)
        result["exact_share"] = share_of_nearest(store, said, twenty, BUDGET_SECONDS)
    result |= writes(store, texts)
    if isinstance(store, ours.Ours):
        result |= ours.alone(store, queries, texts)
    store.close()
    return result


def again(peer: Peer, folder: Path, count: int) -> dict[str, Any]:
    """Open the store and recall once, after another process has left a snapshot of the index."""
    query = Workload().queries(QUERIES + 301, count)[-1]
    result: dict[str, Any] = {"again_file_mib": size_mib(folder)}
    began = time.perf_counter()
    store = peer.open(folder)
    store.recall(query)
    result["again_first_ms"] = 1000 * (time.perf_counter() - began)
    store.close()
    return result


def recalls(store: Store, queries: Iterator[str], count: int) -> dict[str, float]:
    """Measure recall, every query a new one; our own with the floor measured in between."""
    halves = [list(itertools.islice(queries, QUERIES // 2)) for _ in range(2)]
    took = times_ms(store.recall, halves[0], BUDGET_SECONDS)
    floors: dict[str, float] = ours.floors(count) if isinstance(store, ours.Ours) else {}
    took += times_ms(store.recall, halves[1], BUDGET_SECONDS)
    return {"recall_p50_ms": median(took), "recall_p95_ms": percentile(took, 95), **floors}


def writes(store: Store, texts: Iterator[str]) -> dict[str, float]:
    """Measure single writes, and writes until they are found by their vectors."""

    def settled(text: str) -> None:
        store.remember(text)
        store.settle()

    took = times_ms(store.remember, list(itertools.islice(texts, WRITES)), BUDGET_SECONDS)
    store.settle()
    waited = times_ms(settled, list(itertools.islice(texts, 20)), BUDGET_SECONDS)
    return {
        "write_p50_ms": median(took),
        "write_p95_ms": percentile(took, 95),
        "settled_write_p50_ms": median(waited),
    }


def trial(phase: str, name: str, count: int, folder: Path, embeddings: str) -> dict[str, Any]:
    """Fill a store, use a filled one, use it again, or fill and use it in one process."""
    own = name == ours.NAME
    peer = Peer(partial(_open_ours, embeddings=embeddings)) if own else PEERS[name]
    load(peer)
    if phase == "use":
        return use(peer, folder, count, None)
    if phase == "again":
        return again(peer, folder, count)
    before = rss_mib()
    store = peer.open(folder)
    result = fill(store, Workload(), count, math.inf if own else MOST_FILL_SECONDS)
    if phase == "fill" or "skipped" in result:
        store.close()
        return result
    return {**result, "rss_mib": rss_mib() - before, **use(peer, folder, count, store)}


def _open_ours(folder: Path, embeddings: str) -> Store:
    return ours.Ours(folder, embeddings)


def main() -> None:
    """Measure and print."""
    phase, *rest = sys.argv[1:]
    if phase == "floor":
        result: dict[str, Any] = ours.floors(int(rest[0]))
    else:
        name, count, folder, embeddings = rest
        result = trial(phase, name, int(count), Path(folder), embeddings)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
