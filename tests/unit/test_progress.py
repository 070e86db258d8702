"""The progress bar of a long run."""

from __future__ import annotations

import io
import sys

import pytest

from inside import reporting
from langchain_kronvex import ConfigurationError


class Stream(io.StringIO):
    """A stream that is a terminal, or is not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def report(monkeypatch: pytest.MonkeyPatch, wanted: bool | None, *, terminal: bool) -> str:
    """Return the output of a run of two reports."""
    stream = Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    with reporting("reindex", wanted) as tell:
        tell(2, 5)
        tell(5, 5)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("wanted", "terminal", "drawn"),
    [
        (None, True, True), (None, False, False), (True, True, True), (True, False, True),
        (False, True, False), (False, False, False),
    ],
)  # fmt: skip
def test_when_a_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch, wanted: bool | None, terminal: bool, drawn: bool
) -> None:
    output = report(monkeypatch, wanted, terminal=terminal)
    assert bool(output) is drawn
    if drawn:
        assert "reindex: 100%" in output
        assert "5/5" in output


def test_no_bar_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with reporting("reindex", True) as tell:
        tell(1, 2)


def test_without_tqdm_an_automatic_bar_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert report(monkeypatch, None, terminal=True) == ""


def test_without_tqdm_a_bar_asked_for_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ConfigurationError, match=r'pip install "langchain-kronvex\[progress\]"'):
        report(monkeypatch, True, terminal=True)


def test_a_function_is_called_instead_of_drawing_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    with reporting("reindex", lambda done, total: told.append((done, total))) as tell:
        tell(1, 2)
        tell(2, 2)
    assert told == [(1, 2), (2, 2)]
    assert capsys.readouterr() == ("", "")
