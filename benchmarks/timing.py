"""Timing that can be repeated: medians, and ratios to a floor measured in the same run."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


def times_ms(
    action: Callable[[Any], object], inputs: Iterable[Any], budget_seconds: float = float("inf")
) -> list[float]:
    """Return the time of each call in milliseconds; at least three, then until the budget is spent.

    The inputs are made before the clock starts if they are a list.
    """
    took: list[float] = []
    for value in inputs:
        began = time.perf_counter()
        action(value)
        took.append(1000 * (time.perf_counter() - began))
        if len(took) >= 3 and sum(took) > 1000 * budget_seconds:
            break
    return took


def p50_ms(action: Callable[[Any], object], inputs: Iterable[Any]) -> float:
    """Return the median time of one call, in milliseconds."""
    return statistics.median(times_ms(action, inputs))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of the values do not exceed."""
    return sorted(values)[percent * (len(values) - 1) // 100]


def floor_ms(rows: int, width: int, top_k: int = 10) -> float:
    """Return the median time of one float32 matrix-vector product with its top-k."""
    generator = np.random.default_rng(0)
    matrix = generator.random((rows, width), np.float32)
    queries = generator.random((50, width), np.float32)
    return p50_ms(lambda query: np.argpartition(matrix @ query, -top_k)[-top_k:], queries)


def table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Say where this was measured."""
    return (
        f"Python {platform.python_version()}, numpy {np.__version__}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    )
