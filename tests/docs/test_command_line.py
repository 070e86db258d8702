"""The page on the command line: its blocks run in their order, and print what it says."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inside import main, parser

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
STEPS = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(BLOCKS), re.MULTILINE)
LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Does what a shell does with a line of the page; the commands run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))

    def run(line: str) -> str:
        line = os.path.expandvars(line) if "'" not in line else line
        if exported := re.fullmatch(r"export (\w+)=(.*)", line):
            monkeypatch.setenv(exported[1], exported[2])
            return ""
        if assigned := re.fullmatch(r"(\w+)=\$\((.*)\)", line):
            main(shlex.split(assigned[2])[1:])
            told = capsys.readouterr()
            monkeypatch.setenv(assigned[1], told.out.strip())
            return told.err
        if line.startswith("langchain-kronvex "):
            main(shlex.split(line)[1:])
            told = capsys.readouterr()
            return told.out + told.err
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    return run


@pytest.mark.skipif(sys.platform == "win32", reason="the page is for a POSIX shell")
def test_the_blocks_print_what_the_page_says(shell: Callable[[str], str]) -> None:
    assert len(STEPS) > 20
    for line, wanted in STEPS:
        got = shell(line)
        assert doctest.OutputChecker().check_output(wanted, got, LIKE), f"$ {line}\n{got}"


def test_every_command_is_on_the_page() -> None:
    [commands] = [a.choices for a in parser()._actions if isinstance(a.choices, dict)]
    assert [name for name in commands if f"`{name}`" not in PAGE] == []
