"""`KronvexStore` beside LangGraph's own stores: put, get, search, delete; the same bundled vectors.

    python benchmarks/langgraph_store.py 1000 10000

All items are in one namespace. Every time includes the embedding; ours also searches by words.
`SqliteStore` needs the packages of `pip install --group bench`; without them it is left out, and
the output says so.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore

from langchain_kronvex import KronvexMemory
from langchain_kronvex.embeddings import StaticEmbeddings
from langchain_kronvex.langgraph import KronvexStore
from peers import PEERS, load, missing
from timing import machine, table, times_ms
from workload import Workload

NAMESPACE = ("memories", "ana")
OURS = "KronvexStore"
SQLITE = "LangGraph SqliteStore"
VERBS = ("put", "get", "delete", "search", "search, filtered", "newest 10")
_REPEATS = 200
_BUDGET_SECONDS = 8.0
_FILL_BATCH = 1000


def index() -> Any:
    """Return the index configuration of LangGraph's stores; SqliteStore reads `text_fields`."""
    embeddings = StaticEmbeddings()
    sizes = {"dims": embeddings.dimensions, "embed": embeddings}
    return {**sizes, "fields": ["text"], "text_fields": ["text"]}


@contextmanager
def kronvex(folder: Path) -> Iterator[BaseStore]:
    """Ours, on a file."""
    with (
        KronvexMemory(f"sqlite:///{folder / 'memory.db'}") as memory,
        KronvexStore(memory, index={"fields": ["text"]}) as store,
    ):
        yield store


@contextmanager
def in_memory(folder: Path) -> Iterator[BaseStore]:
    """LangGraph's `InMemoryStore`, which keeps nothing."""
    yield InMemoryStore(index=index())


@contextmanager
def sqlite(folder: Path) -> Iterator[BaseStore]:
    """LangGraph's `SqliteStore`, on a file."""
    load(PEERS[SQLITE])
    module = importlib.import_module("langgraph.store.sqlite")
    with module.SqliteStore.from_conn_string(str(folder / "store.db"), index=index()) as store:
        store.setup()
        yield store


STORES: dict[str, Callable[[Path], Any]] = {
    OURS: kronvex,
    "LangGraph InMemoryStore": in_memory,
    SQLITE: sqlite,
}


def measure(name: str, count: int) -> dict[str, float]:
    """Return the median of each verb in milliseconds, and the items put a second in bulk."""
    work = Workload()
    values = [{"text": draft.content, "odd": n % 2} for n, draft in enumerate(work.drafts(count))]
    puts = [PutOp(NAMESPACE, str(number), value) for number, value in enumerate(values)]
    queries = work.queries(_REPEATS, count)
    more = [{"text": work.sentence(count + number), "odd": 1} for number in range(_REPEATS)]
    with tempfile.TemporaryDirectory() as folder, STORES[name](Path(folder)) as store:
        began = time.perf_counter()
        for start in range(0, count, _FILL_BATCH):
            store.batch(puts[start : start + _FILL_BATCH])
        measured = {"items/s": count / (time.perf_counter() - began)}
        store.search(NAMESPACE, query="warm")
        only_odd = {"odd": 1}
        actions: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
            "get": (lambda n: store.get(NAMESPACE, str(n)), list(range(_REPEATS))),
            "search": (lambda q: store.search(NAMESPACE, query=q), queries),
            "search, filtered": (
                lambda q: store.search(NAMESPACE, query=q, filter=only_odd),
                queries,
            ),
            "newest 10": (lambda q: store.search(NAMESPACE), queries),
            "put": (lambda v: store.put(NAMESPACE, str(time.perf_counter_ns()), v), more),
            "delete": (lambda n: store.delete(NAMESPACE, str(n)), list(range(_REPEATS))),
        }
        for verb, (action, inputs) in actions.items():
            measured[verb] = median(times_ms(action, inputs, _BUDGET_SECONDS))
    return measured


def main() -> None:
    """Measure and print a table for each number of items."""
    print(machine())
    names = list(STORES)
    if reason := missing(PEERS[SQLITE]):
        print(f"{SQLITE} is left out: {reason}")
        names.remove(SQLITE)
    for count in [int(argument) for argument in sys.argv[1:]] or [1000, 10_000]:
        print(f"\n{count} items of one namespace; p50 in ms, and how many times as long as ours")
        ours: dict[str, float] = {}
        rows = []
        for name in names:
            measured = measure(name, count)
            ours = ours or measured
            cells = [f"{measured[verb]:.2f} ({measured[verb] / ours[verb]:.1f}x)" for verb in VERBS]
            rows.append([name, *cells, f"{measured['items/s']:,.0f}"])
        print(table(["", *VERBS, "bulk put, items/s"], rows))


if __name__ == "__main__":
    main()
