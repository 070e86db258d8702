"""What commands write to the terminal: one line each, in which foreign text is escaped."""

from __future__ import annotations

import sys

from langchain_kronvex.core.errors import printable


def say(line: str) -> None:
    """Write a line of the result."""
    sys.stdout.write(f"{printable(line)}\n")


def note(line: str) -> None:
    """Write a line about what was done."""
    sys.stderr.write(f"{printable(line)}\n")
