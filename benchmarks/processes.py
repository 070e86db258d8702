"""Measuring in a process of its own: what it prints as JSON, and what it takes in RAM."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

MIB = 1 << 20

# With more threads, matrix products on a busy machine wait for each other, and times say nothing.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def measured(script: str, *arguments: object, timeout_seconds: float) -> dict[str, Any]:
    """Run a script of this folder, numpy in one thread; return the JSON object it prints last.

    Raises:
        RuntimeError: it failed, or took too long; the message says how.
    """
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    environment = ONE_THREAD | os.environ
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"took more than {timeout_seconds:.0f} s") from error
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rss_mib() -> float:
    """Return the resident memory of this process now; its peak where /proc is not there."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_rss_mib()
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def peak_rss_mib() -> float:
    """Return the highest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def size_mib(folder: Path) -> float:
    """Return what the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB
