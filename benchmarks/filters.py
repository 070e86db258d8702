"""What a filter adds to a recall: each question is asked without a filter and with each of some.

    python benchmarks/filters.py [10000]

All memories belong to one user. `topic` has three values, `n` and `doc` a different one for each
memory. The filters change from call to call, so that none is answered from an earlier one. The
first filter that names a field reads it from all metadata: that call is the last row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

from langchain_kronvex import KronvexMemory
from timing import machine, table
from workload import USER, Workload

FILTERS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "none": lambda n, size: {},
    "topic": lambda n, size: {"topic": "work"},
    "range of n": lambda n, size: {"n": {"$gte": n, "$lt": n + size // 2}},
    "one doc": lambda n, size: {"doc": f"d{n}"},
    "topic or n": lambda n, size: {"$or": [{"topic": "work"}, {"n": {"$lt": n}}]},
    "not topic": lambda n, size: {"$not": {"topic": "home"}},
    "nothing": lambda n, size: {"topic": "nowhere"},
}
ROUNDS, QUESTIONS = 5, 40


def main(size: int) -> None:
    workload, topics = Workload(), ("work", "home", "travel")
    drafts = [
        replace(draft, metadata={"topic": topics[n % 3], "n": n, "doc": f"d{n}"})
        for n, draft in enumerate(workload.drafts(size))
    ]
    questions = workload.queries(QUESTIONS, size)
    took: dict[str, list[float]] = {name: [] for name in FILTERS}

    def ask(question: str, **options: Any) -> float:
        began = time.perf_counter()
        memory.recall(question, user_id=USER, **options)
        return 1000 * (time.perf_counter() - began)

    with KronvexMemory("sqlite://") as memory:
        memory.remember_many(drafts)
        ask(questions[0])
        first = ask(questions[0], filter={"doc": "d1"})
        for call in range(ROUNDS * QUESTIONS):
            for name, made in FILTERS.items():  # side by side: the machine is the same for all
                wanted = made(call, size) or None
                took[name].append(ask(questions[call % QUESTIONS], filter=wanted))
    plain = median(took["none"])
    rows = [(name, f"{median(t):.2f}", f"{median(t) / plain:.2f}") for name, t in took.items()]
    rows.append(("first use of a field", f"{first:.2f}", f"{first / plain:.2f}"))
    print(f"{size:,} memories, {machine()}\n")
    print(table(["filter", "recall p50, ms", "beside none"], rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
