"""The bar of a long run."""

from __future__ import annotations

import io
import sys

import pytest

from langchain_kronvex.core import progress
from langchain_kronvex.core.progress import ProgressBar, bar_line, reporting


@pytest.mark.parametrize(
    ("done", "total", "seconds", "done_now", "line"),
    [
        (1234, 2741, 3.2, 1234, "reindex  45%|█████▍      | 1,234/2,741 [00:03<00:03]"),
        (0, 10, 0.0, 0, "reindex   0%|            | 0/10 [00:00<?]"),
        (10, 10, 61.0, 10, "reindex 100%|████████████| 10/10 [01:01<00:00]"),
        (0, 0, 0.0, 0, "reindex 100%|████████████| 0/0 [00:00<?]"),
        (500, 1000, 10.0, 100, "reindex  50%|██████      | 500/1,000 [00:10<00:50]"),
        (1, 1000, 10.0, 1, "reindex   0%|            | 1/1,000 [00:10<2:46:30]"),
        (12, 10, 1.0, 12, "reindex 100%|████████████| 12/10 [00:01<00:00]"),
    ],
)
def test_a_line(done: int, total: int, seconds: float, done_now: int, line: str) -> None:
    assert bar_line("reindex", done, total, seconds, done_now) == line


class Terminal(io.StringIO):
    """A stream that says it is a terminal of some encoding."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = True) -> None:
        super().__init__()
        self._encoding, self._terminal = encoding, terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def test_it_is_drawn_over_itself_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = Terminal()
    bar = ProgressBar("reindex", stream)
    for done in range(0, 1001):
        bar(done, 1000)
        now[0] += 0.01
    bar.close()
    text = stream.getvalue()
    assert text.startswith("\rreindex   0%")
    assert text.endswith("\n")
    lines = text.strip("\r\n").split("\r")
    assert 90 <= len(lines) <= 103
    assert "1,000/1,000" in lines[-1]
    widths = [len(line) for line in lines]
    assert widths == sorted(widths)  # nothing of a longer line is left standing


def test_a_terminal_without_blocks_gets_signs() -> None:
    stream = Terminal("ascii")
    ProgressBar("reindex", stream)(3, 5)
    assert "|#######" in stream.getvalue()
    assert stream.getvalue().isascii()


@pytest.mark.parametrize(
    ("wanted", "terminal", "drawn"),
    [
        (None, True, True), (None, False, False), (True, True, True), (True, False, True),
        (False, True, False), (False, False, False),
    ],
)  # fmt: skip
def test_who_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, wanted: bool | None, terminal: bool, drawn: bool
) -> None:
    stream = Terminal(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    with reporting("reindex", wanted) as tell:
        tell(1, 2)
    assert bool(stream.getvalue()) is drawn


def test_a_program_without_stderr_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with reporting("reindex", True) as tell:
        tell(1, 2)


def test_a_function_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    with reporting("reindex", lambda done, total: told.append((done, total))) as tell:
        tell(1, 2)
        tell(2, 2)
    assert told == [(1, 2), (2, 2)]
    assert capsys.readouterr() == ("", "")
