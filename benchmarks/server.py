"""How fast `langchain-kronvex serve` answers over HTTP, alone and in a crowd.

    python benchmarks/server.py [10000] [--queries 300] [--clients 16] [--writers 64]

One server process on a store in a temporary folder, filled with memories of one user
(`workload.py`) before it starts; everything else is asked for over loopback. One client asks
`--queries` distinct questions, one after the other; then `--clients` clients ask as many at once;
then `--writers` writers store 20 memories each at once. The clients are threads of one other
process with a connection each, and share the cores with the server: what they and HTTP itself cost
shows in the rows of `/health`, which asks for next to nothing. The time of an answer includes the
embedding of its question; a write is counted when the server has acknowledged it, and is on disk
then. A write that is refused or breaks off has failed; none is tried again.

With `--metrics` only recalls are asked, of this server and of one with `--metrics` in turns.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from langchain_kronvex import KronvexMemory
from processes import ONE_THREAD
from timing import machine, percentile, table, times_ms
from workload import USER, Workload

AGENT = "default"  # that of a memory which names none
WRITES = 20  # of each writer
RECALLS = 40  # of each client
WARM_UP = 10
ROUNDS = 5  # of `--metrics`
PATIENCE_SECONDS = 60
T = TypeVar("T")


class Client:
    """One connection, kept open: the standard library's own, which costs the least.

    Args:
        address: URL of the agent.
        key: An API key, if the server asks for one.
    """

    def __init__(self, address: str, key: str = "") -> None:
        parts = urlsplit(address)
        self._headers = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}
        self._path = parts.path
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS
        )

    def post(self, verb: str, body: dict[str, object]) -> tuple[int, bytes]:
        """Send a JSON body to a verb of the agent; return status and answer."""
        return self._asked("POST", f"{self._path}/{verb}", json.dumps(body))

    def health(self) -> None:
        """Ask whether the server is there."""
        status, _ = self._asked("GET", "/health", None)
        if status != 200:
            sys.exit("the server does not feel well")

    def _asked(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


Act = Callable[[Client, str], T]


@contextmanager
def served(folder: Path, url: str, *options: str) -> Iterator[str]:
    """Run a server on a store, with its log in a folder; gives the address of the agent."""
    log = Path(tempfile.mkstemp(dir=folder)[1])
    command = [sys.executable, "-m", "langchain_kronvex.cli", "serve", "--port", "0"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--url", url, *options], stdout=out, stderr=out, env=ONE_THREAD | os.environ
        )
    try:
        yield f"{address(process, log)}/api/v1/agents/{AGENT}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the server says where it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if said := re.search(r"running on (http://\S+)", log.read_text()):
            return said[1]
        time.sleep(0.02)
    sys.exit(f"the server did not start: {log.read_text()}")


def store(folder: Path) -> str:
    """Return the URL of the store."""
    return f"sqlite:///{folder / 'memory.db'}"


def fill(url: str, work: Workload, count: int) -> None:
    """Store the memories, with their vectors."""
    with KronvexMemory(url) as memory:
        memory.remember_many(work.drafts(count))
        memory.flush()


def recall(client: Client, query: str) -> None:
    """Ask for the ten best memories; a failure ends the program."""
    status, answer = client.post("recall", {"query": query, "top_k": 10, "user_id": USER})
    if status != 200 or not json.loads(answer)["results"]:
        sys.exit(f"nothing was found ({status})")


def write(client: Client, text: str) -> bool:
    """Store one memory; return whether the server acknowledged it."""
    try:
        status, _ = client.post("remember", {"content": text, "user_id": USER})
    except (OSError, http.client.HTTPException):
        return False
    return status == 201


def health(client: Client, _: str) -> None:
    """Ask for next to nothing."""
    client.health()


def at_once(
    clients: Sequence[Client], each: int, inputs: Iterator[str], act: Act[T]
) -> tuple[float, list[T], list[float]]:
    """Let every client act `each` times; return seconds in all, what came back, and ms of each."""
    shares = [list(itertools.islice(inputs, each)) for _ in clients]
    start = threading.Barrier(len(clients) + 1)

    def work(client: Client, share: list[str]) -> tuple[list[T], list[float]]:
        results: list[T] = []
        start.wait()
        took = times_ms(lambda text: results.append(act(client, text)), share)
        return results, took

    with ThreadPoolExecutor(len(clients)) as pool:
        working = [pool.submit(work, *both) for both in zip(clients, shares, strict=True)]
        start.wait()
        began = time.perf_counter()
        done = [each.result() for each in working]
        seconds = time.perf_counter() - began
    results = [result for part, _ in done for result in part]
    return seconds, results, [ms for _, took in done for ms in took]


def measure(url: str, work: Workload, given: argparse.Namespace) -> list[tuple[str, str]]:
    """Ask and write; return the rows of the table."""
    asked = given.queries + given.clients * RECALLS + WARM_UP
    queries = iter(work.queries(asked, given.memories))
    texts = (work.sentence(given.memories + n) for n in itertools.count())
    clients = [Client(url) for _ in range(max(given.clients, given.writers))]
    for client in clients:
        client.health()
    for query in itertools.islice(queries, WARM_UP):
        recall(clients[0], query)
    crowd = clients[: given.clients]
    _, _, trivial = at_once(clients[:1], given.queries, itertools.repeat(""), health)
    _, _, one = at_once(clients[:1], given.queries, queries, recall)
    seconds_trivial, _, many_trivial = at_once(crowd, RECALLS, itertools.repeat(""), health)
    seconds, _, many = at_once(crowd, RECALLS, queries, recall)
    writing, stored, _ = at_once(clients[: given.writers], WRITES, texts, write)
    return [
        ("recall p50, one client, ms", f"{percentile(one, 50):.1f}"),
        ("recall p95, one client, ms", f"{percentile(one, 95):.1f}"),
        ("`/health` p50, one client, ms", f"{percentile(trivial, 50):.1f}"),
        (f"recalls a second, {given.clients} clients", f"{len(many) / seconds:,.0f}"),
        (f"recall p99, {given.clients} clients, ms", f"{percentile(many, 99):.1f}"),
        (
            f"`/health` a second, {given.clients} clients",
            f"{len(many_trivial) / seconds_trivial:,.0f}",
        ),
        (f"writes a second, {given.writers} writers x {WRITES}", f"{sum(stored) / writing:,.0f}"),
        ("failed writes", str(len(stored) - sum(stored))),
    ]


def metrics(folder: Path, work: Workload, given: argparse.Namespace) -> list[tuple[str, str]]:
    """Recall with and without metrics in turns; return the rows of the table."""
    queries = iter(work.queries(2 * ROUNDS * given.queries + 2 * WARM_UP, given.memories))
    with served(folder, store(folder)) as off, served(folder, store(folder), "--metrics") as on:
        clients = [Client(off), Client(on)]
        for client in clients:
            for query in itertools.islice(queries, WARM_UP):
                recall(client, query)
        took: list[list[float]] = [[], []]
        for _ in range(ROUNDS * given.queries):  # question by question: both meet the same machine
            for client, times in zip(clients, took, strict=True):
                times += at_once([client], 1, queries, recall)[2]
    without, with_ = (percentile(times, 50) for times in took)
    return [
        ("recall p50 without metrics, ms", f"{without:.2f}"),
        ("recall p50 with metrics, ms", f"{with_:.2f}"),
        ("ratio", f"{with_ / without:.3f}"),
    ]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="How fast the server answers over HTTP.")
    parser.add_argument("memories", type=int, nargs="?", default=10_000)
    parser.add_argument("--queries", type=int, default=300, help="of the client that is alone")
    parser.add_argument("--clients", type=int, default=16, help="that recall at once")
    parser.add_argument("--writers", type=int, default=64, help="that store at once")
    parser.add_argument("--metrics", action="store_true", help="compare with and without metrics")
    return parser.parse_args()


def main() -> None:
    """Measure and print the table."""
    given, work = options(), Workload()
    with tempfile.TemporaryDirectory(prefix="server-") as name:
        folder = Path(name)
        fill(store(folder), work, given.memories)
        if given.metrics:
            rows = metrics(folder, work, given)
        else:
            with served(folder, store(folder)) as url:
                rows = measure(url, work, given)
    print(machine())
    print(table([f"{given.memories:,} memories", "over HTTP"], rows))


if __name__ == "__main__":
    main()
