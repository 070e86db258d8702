"""How fast recall and remember are, against one numpy matrix-vector product of the same size.

python benchmarks/recall_speed.py [600 10000 ...]
"""

from __future__ import annotations

import sys
import tempfile
import time

from langchain_kronvex import KronvexMemory
from timing import floor_ms, machine, p50_ms, table
from workload import Workload


def measure(count: int) -> list[str]:
    """Return one row of the table: `count` memories of one user, words only."""
    work = Workload()
    drafts = list(work.drafts(count))
    queries = work.queries(100)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/memory.db"
        with KronvexMemory(url) as memory:
            began = time.perf_counter()
            memory.remember_many(drafts)
            bulk = count / (time.perf_counter() - began)
        with KronvexMemory(url) as memory:
            first = p50_ms(lambda q: memory.recall(q, user_id="ana"), queries[:1])
            warm = p50_ms(lambda q: memory.recall(q, user_id="ana"), queries)
            floor = floor_ms(count)
            again = p50_ms(lambda q: memory.recall(q, user_id="ana"), queries)
            contents = [f"{work.sentence()} {n}" for n in range(300)]
            write = p50_ms(lambda c: memory.remember(c, user_id="ana"), contents)
            after = p50_ms(lambda q: memory.recall(q, user_id="ana"), queries[:1])
    recall = min(warm, again)
    return [
        f"{count:,}",
        f"{floor:.2f}",
        f"{recall:.2f}",
        f"{recall / floor:.1f}",
        f"{first:.1f}",
        f"{after:.2f}",
        f"{write:.2f}",
        f"{bulk:,.0f}",
    ]


def main() -> None:
    """Measure and print the table."""
    sizes = [int(size) for size in sys.argv[1:]] or [600, 10_000]
    header = [
        "memories", "floor ms", "recall p50 ms", "recall / floor", "first recall ms",
        "recall after 300 writes ms", "remember p50 ms", "remember_many /s",
    ]  # fmt: skip
    print(machine())
    print(table(header, [measure(size) for size in sizes]))


if __name__ == "__main__":
    main()
