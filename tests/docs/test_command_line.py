"""The page on the command line: its blocks run in their order, and print what it says."""

from __future__ import annotations

import doctest
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inside import parser

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
STEPS = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(BLOCKS), re.MULTILINE)
LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.skipif(sys.platform == "win32", reason="the page is for a POSIX shell")
def test_the_blocks_print_what_the_page_says(shell: Callable[[str], str]) -> None:
    assert len(STEPS) > 20
    for line, wanted in STEPS:
        got = shell(line)
        assert doctest.OutputChecker().check_output(wanted, got, LIKE), f"$ {line}\n{got}"


def test_every_command_is_on_the_page() -> None:
    [commands] = [a.choices for a in parser()._actions if isinstance(a.choices, dict)]
    assert [name for name in commands if f"`{name}`" not in PAGE] == []
