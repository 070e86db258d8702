"""The page on the command line: its blocks run in their order, and print what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inside import parser

from .pages import run_consoles

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="the page is for a POSIX shell")
def test_the_blocks_print_what_the_page_says(shell: Callable[[str], str]) -> None:
    assert run_consoles(PAGE, shell) > 20


def test_every_command_is_on_the_page() -> None:
    [commands] = [a.choices for a in parser()._actions if isinstance(a.choices, dict)]
    assert [name for name in commands if f"`{name}`" not in PAGE] == []
