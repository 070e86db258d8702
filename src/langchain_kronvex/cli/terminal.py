"""What commands write to the terminal: lines, tables and JSON, in which foreign text is escaped."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from langchain_kronvex.core.errors import printable

_COLOURS = {"ok": "32", "note": "33", "problem": "31"}
_LEVEL_COLUMNS = 9
_LEAST_LAST_COLUMN = 20


def say(line: str, *, level: str = "") -> None:
    """Write a line of the result, after the level of a finding in its colour."""
    before = f"{_coloured(level)}{'':{_LEVEL_COLUMNS - len(level)}}" if level else ""
    sys.stdout.write(f"{before}{printable(line)}\n")


def note(line: str) -> None:
    """Write a line about what was done."""
    sys.stderr.write(f"{printable(line)}\n")


def counted(count: int, noun: str) -> str:
    """Return how many there are: "1 memory", "2,000 memories"."""
    if count != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun}"


def say_json(value: object) -> None:
    """Write a value, such as a memory, as one line of JSON in ASCII."""
    sys.stdout.write(f"{json.dumps(value, default=_plain)}\n")


def keys_of(kind: type) -> str:
    """Return the keys of a dataclass as JSON, for the help of a command."""
    return ", ".join(field.name for field in fields(kind))


def say_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write aligned columns; in a terminal the last one is cut to fit."""
    cells = [[printable(_cell(each)) for each in row] for row in rows]
    if not cells:
        return
    widths = [max(map(_width, column)) for column in zip(head, *cells, strict=True)]
    left = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * len(widths[:-1])
    for row in [list(head), *cells]:
        if sys.stdout.isatty():
            row[-1] = shortened(row[-1], max(left, _LEAST_LAST_COLUMN))
        padded = [
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ]
        sys.stdout.write("  ".join([*padded[:-1], row[-1]]).rstrip() + "\n")


def shortened(text: str, columns: int) -> str:
    """Return a text that takes at most so many columns of a terminal."""
    if _width(text) <= columns:
        return text
    while _width(text) >= columns:
        text = text[: -max(1, (_width(text) - columns) // 2)]
    return f"{text}…"


def _coloured(word: str) -> str:
    """Return the level of a finding in its colour, if colours are wanted and can be shown."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return word
    return f"\033[{_COLOURS[word]}m{word}\033[0m"


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return "-" if value is None else str(value)


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    widths = (
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )
    return sum(widths)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return dict(value) if isinstance(value, Mapping) else list(value)
