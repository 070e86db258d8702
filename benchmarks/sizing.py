"""What many memories and many users at once take, and what breaks first.

    python benchmarks/sizing.py [--memories 1e6 1e8 1e10] [--at-once 10 1000 100000]
                                [--each 1000] [--seconds 30] [--measure]

A calculator, from costs that were measured (`speed.py`, `postgres.py`) and grow in proportion; it
was not run at these sizes. `--measure` takes the costs of SQLite from this machine instead.

A user "at once" says something every `--seconds` seconds; each turn recalls once and saves twice.
Users have `--each` memories on average. A machine has 8 cores, 32 GB and 1 TB.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass, replace
from statistics import median

from langchain_kronvex import KronvexMemory
from timing import machine, table, times_ms
from workload import USER, Workload

CORES, RAM_BYTES, DISK_BYTES = 8, 32e9, 1e12
MOST_CONNECTIONS = 100  # of PostgreSQL as it is installed
CONNECTIONS_OF_WORKER = 10
RECALLS_OF_TURN, SAVES_OF_TURN = 1, 2
SNAPSHOT_FROM = 500  # memories of a user: a larger index is kept on disk as well


@dataclass(frozen=True)
class Costs:
    """Measured costs.

    Attributes:
        name: Of the store.
        disk_bytes: Of one memory with its vector and indexes.
        ram_bytes: Of one memory in the index of its user.
        user_bytes: Of the index of a user without memories.
        recall_ms: The time of a recall, by how many memories the user has.
        save_ms: The time of a save, of which the store does one at a time for each writer.
        turn_ms: The time of the rest of a turn: history, traces, messages.
        writers: How many saves the store does at once.
    """

    name: str
    disk_bytes: float
    ram_bytes: float
    user_bytes: float
    recall_ms: tuple[tuple[int, float], ...]
    save_ms: float
    writers: int
    turn_ms: float = 1.5

    def recall_of(self, memories: float) -> float:
        """Return the milliseconds of a recall: between two sizes, a straight line of logarithms."""
        known = sorted(self.recall_ms)
        below = [each for each in known[:-1] if each[0] <= memories] or known[:1]
        (size, low), (next_size, high) = below[-1], known[known.index(below[-1]) + 1]
        slope = math.log(high / low) / math.log(next_size / size)
        return low * float((max(memories, 1) / size) ** max(slope, 0))


_RECALL = ((600, 0.5), (10_000, 1.2), (100_000, 2.2), (1_000_000, 25.0))
SQLITE = Costs("SQLite, one file", 1_100, 770, 20_000, _RECALL, 0.2, 1)
POSTGRES = Costs("PostgreSQL, one database", 1_550, 770, 20_000, _RECALL, 1.5, 8)


@dataclass(frozen=True)
class Needs:
    """What a load takes, each as the share of what one machine or database has."""

    disk: float
    ram: float
    cores: float
    saves: float
    connections: float

    @property
    def first(self) -> str:
        """What breaks first; "nothing" if all of it fits."""
        name, share = max(vars(self).items(), key=lambda each: each[1])
        return name if share > 1 else "nothing"

    @property
    def machines(self) -> int:
        """How many machines or databases there must be, with users spread over them."""
        largest: float = max(vars(self).values())
        return max(1, math.ceil(largest))


def needs(costs: Costs, memories: float, at_once: int, each: int, seconds: float) -> Needs:
    """Return what a load takes of one machine and one store."""
    active, turns = min(at_once, max(memories / each, 1)), at_once / seconds
    saves = turns * SAVES_OF_TURN
    recall_ms = RECALLS_OF_TURN * costs.recall_of(each)
    busy_ms = turns * (recall_ms + costs.turn_ms) + saves * costs.save_ms
    workers = max(1, math.ceil(busy_ms / 1000))
    snapshot_bytes = costs.ram_bytes if each >= SNAPSHOT_FROM else 0
    is_shared = costs.writers > 1  # SQLite has no connections to run out of
    return Needs(
        disk=memories * (costs.disk_bytes + snapshot_bytes) / DISK_BYTES,
        ram=active * (each * costs.ram_bytes + costs.user_bytes) / RAM_BYTES,
        cores=busy_ms / 1000 / CORES,
        saves=saves * costs.save_ms / 1000 / costs.writers,
        connections=workers * CONNECTIONS_OF_WORKER / MOST_CONNECTIONS if is_shared else 0,
    )


def measured(costs: Costs) -> Costs:
    """Return the costs of SQLite on this machine, from 600 and 6,000 memories of a user."""
    work, found = Workload(), []
    for count in (600, 6_000):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/memory.db"
            with KronvexMemory(url) as memory:
                memory.remember_many(work.drafts(count))
            with KronvexMemory(url) as memory:
                size = memory.stats().size_bytes or 0
                queries = work.queries(120, count)
                took = times_ms(lambda q: memory.recall(q, user_id=USER), queries)
                save = times_ms(lambda q: memory.remember(q, user_id=USER), queries)
            found.append((count, median(took[20:]), size, median(save)))
    (few, fast, small, _), (many, slow, large, save_ms) = found
    return replace(
        costs,
        disk_bytes=(large - small) / (many - few),
        recall_ms=((few, fast), (many, max(slow, fast))),
        save_ms=save_ms,
    )


def share(value: float) -> str:
    """Write a share of a machine with two digits."""
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def lines(costs: Costs, given: argparse.Namespace) -> str:
    """Return the table of one store."""
    rows = []
    for memories in given.memories:
        for at_once in given.at_once:
            found = needs(costs, memories, at_once, given.each, given.seconds)
            cells = [share(value) for value in vars(found).values()]
            rows.append([f"{memories:.0e}", f"{at_once:,}", *cells, found.first, found.machines])
    header = ["memories", "at once", *vars(found), "breaks first", "stores"]
    return table([costs.name, *header[1:]], rows)


def main() -> None:
    """Print a table for each store."""
    parser = argparse.ArgumentParser(description="What breaks first, and how many stores it takes.")
    parser.add_argument("--memories", type=float, nargs="+", default=[1e6, 1e8, 1e10])
    parser.add_argument("--at-once", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--each", type=int, default=1_000, help="memories of a user")
    parser.add_argument("--seconds", type=float, default=30, help="between two turns of a user")
    parser.add_argument("--measure", action="store_true", help="measure SQLite on this machine")
    given = parser.parse_args()
    if given.measure:
        print(machine())
    for costs in (measured(SQLITE) if given.measure else SQLITE, POSTGRES):
        print(f"\n{lines(costs, given)}")


if __name__ == "__main__":
    main()
