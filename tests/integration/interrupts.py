"""Ends a call at one of its lines, as a signal does: Ctrl-C in a notebook, or a timeout."""

from __future__ import annotations

import contextlib
import dis
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import langchain_kronvex

# A signal also strikes in the two modules of the standard library that hold locks for us.
FILES = (str(Path(langchain_kronvex.__file__).parent), threading.__file__, contextlib.__file__)
NOP = dis.opmap["NOP"]


class Interrupt(BaseException):
    """What the handler of a signal raises."""


@cache
def _starts(code: CodeType) -> dict[int, int]:
    """Return where each line starts, without those at which no signal is looked for.

    A `with` line is traced again when its block ends, and a `try` line that does nothing may
    belong to no block: there an exception would skip the release of a lock.
    """
    starts: dict[int, int] = {}
    for start, _, line in code.co_lines():
        if line is not None:
            starts.setdefault(line, start)
    return {line: start for line, start in starts.items() if code.co_code[start] != NOP}


def interrupted_at(number: int, call: Callable[[], Any]) -> BaseException | None:
    """Run a call, and raise `Interrupt` before the line with this number, counted from 1.

    Returns:
        What the call raised, with its traceback; None if it has fewer lines.
    """
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(FILES):
            return None
        if event == "line" and frame.f_lasti == _starts(frame.f_code).get(frame.f_lineno):
            lines += 1
            if lines == number:
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupt as raised:
        return raised
    finally:
        sys.settrace(before)
    assert lines < number, "the interruption was lost"
    return None
