"""How fast memories move house: exported to a file, and imported into another store.

Run: python benchmarks/moving.py [--memories 100000] [--url postgresql://…]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from langchain_kronvex import KronvexMemory, MemoryDraft
from processes import MIB, peak_rss_mib
from timing import machine, table

USERS = 100
WORDS = (
    "tea coffee garden train Lisbon Bruno Ana meeting Monday report budget piano guitar doctor "
    "school holiday mountain river bicycle kitchen letter music film winter summer market".split()
)
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
BATCH = 5000


def draft(number: int) -> MemoryDraft:
    """Return a memory of some 90 characters."""
    words = " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(3, 14))
    return MemoryDraft(
        f"{words} {number}",
        user_id=f"user{number % USERS}",
        metadata={"number": number},
        created_at=START + timedelta(minutes=number),
    )


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(count: int, url: str | None, *, vectors: bool, suffix: str) -> list[str]:
    """Export and import `count` memories; return the row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"memories{suffix}"
        with KronvexMemory(f"sqlite:///{folder}/from.db") as source:
            for first in range(0, count, BATCH):
                numbers = range(first, min(first + BATCH, count))
                source.remember_many([draft(number) for number in numbers])
            exporting = timed(lambda: source.export(file, vectors=vectors, progress=False))
        with KronvexMemory(url or f"sqlite:///{folder}/to.db", agent_id="moving") as target:
            target.clear()
            importing = timed(lambda: target.import_(file, progress=False))
            again = timed(lambda: target.import_(file, progress=False))
            assert target.stats().memories == count
            target.clear()
        size = file.stat().st_size / MIB
    seconds = (exporting, importing, again)
    rates = [f"{taken:.1f} s ({count / taken:,.0f}/s)" for taken in seconds]
    return [f"{suffix}{' with vectors' if vectors else ''}", f"{size:.0f} MiB", *rates]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--url", help="the store to import into; a SQLite file by default")
    asked = parser.parse_args()
    ways = [(False, ".jsonl"), (True, ".jsonl"), (False, ".jsonl.gz"), (True, ".jsonl.gz")]
    rows = [measure(asked.memories, asked.url, vectors=v, suffix=suffix) for v, suffix in ways]
    print(f"{asked.memories:,} memories of {USERS} users. {machine()}\n")
    print(table(["file", "size", "export", "import", "import again"], rows))
    print(f"\npeak {peak_rss_mib():.0f} MiB, the making of the memories and their indexes included")


if __name__ == "__main__":
    main()
