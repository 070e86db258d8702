"""Progress of a long run: shown as a bar in a terminal, or passed to a function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from langchain_kronvex.core.errors import MissingExtra
from langchain_kronvex.core.options import needing
from langchain_kronvex.core.validation import check_flag

Progress = Callable[[int, int], None]


@contextmanager
def reporting(label: str, wanted: bool | Progress | None) -> Iterator[Progress]:
    """Provide the function to call with (done, total).

    Args:
        label: The name of the run, shown before the bar.
        wanted: True draws a bar on stderr; False draws none; None draws one if stderr is a
            terminal and tqdm is installed; a function is called instead.

    Raises:
        MissingExtra: `wanted` is True and tqdm is not installed.
    """
    stream = sys.stderr
    if callable(wanted):
        yield wanted
        return
    if wanted is not None:
        check_flag(wanted, "progress")
    if wanted is False or stream is None or not (wanted or stream.isatty()):
        yield lambda done, total: None
        return
    try:
        with needing("A progress bar needs tqdm", extra="progress"):
            from tqdm import tqdm
    except MissingExtra:
        if wanted:
            raise
        yield lambda done, total: None
        return
    with tqdm(desc=label, file=stream) as bar:

        def draw(done: int, total: int) -> None:
            if bar.total is None:  # an earlier run may have done some of the work
                bar.initial = bar.n = done
            bar.total = total
            bar.update(done - bar.n)

        yield draw
