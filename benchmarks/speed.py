"""How fast it is and what it takes, beside the numpy floor and beside what one would use instead.

    python benchmarks/speed.py [600 10000 100000] [--peers] [--floor-only]
                               [--embeddings static|none|openai:MODEL]

Memories of one user (`workload.py`), top ten, every query a new one, p50 unless it says otherwise.
The floor is one float32 matrix-vector product with its ten best: n x 256, the width of the bundled
embeddings, and n x 384, that of all-MiniLM-L6-v2. Every store is filled by one process, in batches
of 1,000, and opened and used by another (`trial.py`), files warm. numpy has one thread everywhere;
set OPENBLAS_NUM_THREADS for more. Every time includes embedding; where our own `remember` returns
before that, the time until the memory is found by its vector is shown too. A filled store has no
snapshot of its index yet; the process that uses it leaves one for the next. RAM is what the second
process grew by, from after its imports to after its first recall; for a store that keeps nothing,
by being filled.

`--peers` measures the stores of `peers.py` too: pip install --group bench. One that takes more than
120 s to be filled is left out at that size and above, one whose recall takes more than 2 s above.
"exact" is the share of the ten nearest vectors that it finds; we do not order by vectors alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import embedding_choice
import ours
from peers import PEERS, missing
from processes import measured
from timing import machine, table

SIZES = [600, 10_000, 100_000]
MOST_RECALL_MS = 2_000
MOST_TRIAL_SECONDS = 3_600
Result = dict[str, Any]

OURS = {
    "floor n x 256, ms": "floor_256_ms",
    "floor n x 384, ms": "floor_384_ms",
    "recall p50, ms": "recall_p50_ms",
    "recall p95, ms": "recall_p95_ms",
    "recall p50 / floor n x 256": "ratio_256",
    "recall p50 / floor n x 384": "ratio_384",
    "inject_context p50, ms": "inject_p50_ms",
    "recall at once after a write, ms": "recall_after_write_ms",
    "recall after a write and its vector, ms": "recall_after_vector_ms",
    "opening + first recall in a new process, ms": "first_ms",
    "the same with a snapshot of the index, ms": "again_first_ms",
    "remember p50, ms": "write_p50_ms",
    "remember p95, ms": "write_p95_ms",
    "remember until found by its vector p50, ms": "settled_write_p50_ms",
    "remember_many, per second": "bulk_per_s",
    "remember_many until found by vectors, per second": "settled_bulk_per_s",
    "with_memory adds to invoke, ms": "added_invoke_ms",
    "with_memory adds to ainvoke, ms": "added_ainvoke_ms",
    "with_memory adds to the first token, ms": "added_first token_ms",
    "RAM after the first recall, MiB": "rss_mib",
    "RAM at its peak until then, MiB": "peak_rss_mib",
    "file, MiB": "file_mib",
    "file and snapshot, MiB": "again_file_mib",
}

PEER_COLUMNS = {
    "write p50 ms": "write_p50_ms",
    "until found p50 ms": "settled_write_p50_ms",
    "bulk until found /s": "settled_bulk_per_s",
    "opening + first recall ms": "first_ms",
    "recall p50 ms": "recall_p50_ms",
    "recall p95 ms": "recall_p95_ms",
    "recall p50 / ours": "ratio_ours",
    "exact": "exact_share",
    "RAM MiB": "rss_mib",
    "file MiB": "file_mib",
}


def trial(name: str, count: int, embeddings: str, *, keeps: bool = True) -> Result:
    """Measure one store of one size; the result has "skipped" when it could not be."""
    limit = MOST_TRIAL_SECONDS
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        given = (name, count, Path(folder), embeddings)
        try:
            if not keeps:
                return measured("trial.py", "both", *given, timeout_seconds=limit)
            filled = measured("trial.py", "fill", *given, timeout_seconds=limit)
            if "skipped" in filled:
                return filled
            phases = ("use", "again") if name == ours.NAME else ("use",)
            for phase in phases:
                filled |= measured("trial.py", phase, *given, timeout_seconds=limit)
        except RuntimeError as error:
            return {"skipped": str(error)}
        return filled


def own(count: int, embeddings: str) -> Result:
    """Measure this package; a failure ends the program."""
    result = trial(ours.NAME, count, embeddings)
    if "skipped" in result:
        sys.exit(f"{ours.NAME} at {count:,}: {result['skipped']}")
    for width in ours.FLOOR_WIDTHS:
        result[f"ratio_{width}"] = result["recall_p50_ms"] / result[f"floor_{width}_ms"]
    return result


def number(value: float | None) -> str:
    """Write a number with three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def floor_table(sizes: list[int]) -> str:
    """Return the floors alone."""
    rows = []
    for count in sizes:
        floors = measured("trial.py", "floor", count, timeout_seconds=MOST_TRIAL_SECONDS)
        rows.append([f"{count:,}", *map(number, floors.values())])
    return table(["memories", *(f"n x {width}, ms" for width in ours.FLOOR_WIDTHS)], rows)


def own_table(results: dict[int, Result]) -> str:
    """Return one column for each size."""
    return table(
        ["memories", *(f"{count:,}" for count in results)],
        [
            [label, *(number(result[key]) for result in results.values())]
            for label, key in OURS.items()
        ],
    )


def compare(count: int, mine: Result, given_up: dict[str, str]) -> str:
    """Return the table of the peers at one size, and why some are not in it."""
    rows = {ours.NAME: mine | {"ratio_ours": 1.0}}
    for name, peer in PEERS.items():
        if name in given_up:
            continue
        result = trial(name, count, "static", keeps=peer.keeps)
        if "skipped" in result:
            given_up[name] = f"{result['skipped']} at {count:,}"
            continue
        rows[name] = result | {"ratio_ours": result["recall_p50_ms"] / mine["recall_p50_ms"]}
        if result["recall_p50_ms"] > MOST_RECALL_MS:
            given_up[name] = f"recall took {result['recall_p50_ms'] / 1000:.1f} s at {count:,}"
    lines = [
        [name, *(number(r.get(key)) for key in PEER_COLUMNS.values())] for name, r in rows.items()
    ]
    notes = [f"{name} is left out: {why}" for name, why in given_up.items() if name not in rows]
    return "\n\n".join([table([f"{count:,} memories", *PEER_COLUMNS], lines), *notes])


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Speed, beside the floor and beside peers.")
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="numbers of memories")
    embedding_choice.add_embeddings(parser)
    parser.add_argument("--peers", action="store_true", help="measure other stores too")
    parser.add_argument("--floor-only", action="store_true", help="measure nothing but numpy")
    return parser.parse_args()


def main() -> None:
    """Measure and print the tables."""
    given = options()
    print(machine(), flush=True)
    if given.floor_only:
        print(floor_table(given.sizes))
        return
    results = {count: own(count, given.embeddings) for count in given.sizes}
    print(f"embeddings: {given.embeddings}\n\n{own_table(results)}", flush=True)
    if given.peers:
        given_up = {name: why for name, peer in PEERS.items() if (why := missing(peer))}
        for count, mine in results.items():
            print(f"\n{compare(count, mine, given_up)}", flush=True)


if __name__ == "__main__":
    main()
