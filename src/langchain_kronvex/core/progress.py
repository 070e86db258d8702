"""Progress of a long run: shown as a bar in a terminal, or passed to a function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from langchain_kronvex.core.errors import MissingExtra

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
    if wanted is False or stream is None or not (wanted or stream.isatty()):
        yield _ignore
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        if wanted:
            raise MissingExtra(
                'A progress bar needs tqdm: pip install "langchain-kronvex[progress]"'
            ) from error
        yield _ignore
        return
    with tqdm(desc=label, file=stream) as bar:

        def draw(done: int, total: int) -> None:
            if bar.total is None:  # an earlier run may have done some of the work
                bar.initial = bar.n = done
            bar.total = total
            bar.update(done - bar.n)

        yield draw


def _ignore(done: int, total: int) -> None:
    pass
