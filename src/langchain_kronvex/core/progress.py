"""How far a long run is, told as a bar in a terminal or to a function."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Progress = Callable[[int, int], None]
_WIDTH = 12
_EIGHTHS = ("", *"▏▎▍▌▋▊▉")
_REDRAW_SECONDS = 0.1


class ProgressBar:
    """Draws `reindex  45%|█████▍      | 1,234/2,741 [00:03<00:04]`, over and over on one line.

    Args:
        label: What is under way.
        stream: Where to draw.
    """

    def __init__(self, label: str, stream: TextIO) -> None:
        self._label, self._stream = label, stream
        self._started = self._drawn = 0.0
        self._done_before = self._columns = 0

    def __call__(self, done: int, total: int) -> None:
        """Draw anew, at most ten times a second, and the end always."""
        now = time.monotonic()
        if not self._started:
            self._started, self._done_before = now, done  # an earlier run may have done some
        if done < total and now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        line = bar_line(
            self._label, done, total, now - self._started, done - self._done_before
        ).ljust(self._columns)
        self._columns = len(line)
        self._stream.write("\r" + _within(line, self._stream.encoding or "ascii"))
        self._stream.flush()

    def close(self) -> None:
        """Leave the bar standing and go on below it."""
        self._stream.write("\n")
        self._stream.flush()


def bar_line(label: str, done: int, total: int, seconds: float, done_now: int) -> str:
    """Return one line: per cent, bar, counts, elapsed and remaining time.

    Args:
        label: What is under way.
        done: How many are done in all.
        total: How many there are.
        seconds: How long this run has taken.
        done_now: How many of the done ones are this run's.
    """
    share = min(done / total, 1.0) if total else 1.0
    full, eighths = divmod(int(share * _WIDTH * 8), 8)
    bar = ("█" * full + _EIGHTHS[eighths]).ljust(_WIDTH)
    left = _clock(seconds / done_now * max(total - done, 0)) if done_now else "?"
    return f"{label} {share:4.0%}|{bar}| {done:,}/{total:,} [{_clock(seconds)}<{left}]"


@contextmanager
def reporting(label: str, wanted: bool | Progress | None) -> Iterator[Progress]:
    """Give what is to be called with (done, total).

    Args:
        label: What is under way.
        wanted: True draws a bar on stderr, False nothing, None a bar when stderr is a terminal; a
            function is called instead.
    """
    if callable(wanted):
        yield wanted
    elif sys.stderr is None or not (sys.stderr.isatty() if wanted is None else wanted):
        yield _nothing
    else:
        bar = ProgressBar(label, sys.stderr)
        try:
            yield bar
        finally:
            bar.close()


def _nothing(done: int, total: int) -> None:
    """Tell nobody."""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _within(line: str, encoding: str) -> str:
    """Replace blocks that a terminal's encoding does not have."""
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return line.translate({ord(block): "#" for block in "█▏▎▍▌▋▊▉"})
    return line
