"""Timing that can be repeated: medians, and ratios to a floor measured in the same run."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def p50_ms(action: Callable[[Any], object], inputs: Iterable[Any]) -> float:
    """Return the median time of one call, in milliseconds."""
    took = []
    for value in inputs:
        began = time.perf_counter()
        action(value)
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def floor_ms(rows: int, width: int = 384, top_k: int = 10) -> float:
    """Return the median time of one float32 matrix-vector product with its top-k."""
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((rows, width), np.float32)
    queries = generator.standard_normal((50, width), np.float32)
    return p50_ms(lambda query: np.argpartition(matrix @ query, -top_k)[-top_k:], queries)


def table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Say where this was measured."""
    import os

    return (
        f"Python {platform.python_version()}, numpy {np.__version__}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    )
