"""The README is short, its program and its commands do what it shows, and its links work."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .pages import LINK, ROOT, blocks, is_printed

PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_the_program_remembers_across_processes(
    shell: Callable[[str], str], tmp_path: Path
) -> None:
    [program], [session] = blocks(PAGE, "python"), blocks(PAGE, "console")
    (tmp_path / "chat.py").write_text(program, encoding="utf-8")
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    for line, wanted in steps:
        assert is_printed([wanted], shell(line)), line
    assert "] User: I am allergic to peanuts." in wanted


@pytest.mark.slow
def test_the_demo_prints_what_the_page_and_the_picture_show() -> None:
    recorder: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "record_demo.py"))
    screen = recorder["demo_screen"]()
    lines = recorder["shown_lines"](screen)
    picture = recorder["PICTURE"].read_text(encoding="utf-8")
    assert recorder["lines_in"](picture) == lines, "run scripts/record_demo.py"

    [shown] = blocks(PAGE, "text")
    remaining = iter(lines)
    assert all(line in remaining for line in shown.splitlines() if line)  # in this order


def test_the_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README, re.MULTILINE):
        assert f"\n{''.join(command)}:" in makefile


def test_the_extras_are_those_of_the_project() -> None:
    [listed] = re.findall(r"^Extras: (.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    [table] = re.findall(r"^\[project.optional-dependencies\]\n(.*?)\n\n", PROJECT, re.M | re.S)
    named = re.findall(r"`([a-z-]+)`(?: \(|,|\.)", listed)
    assert sorted(named) == sorted(re.findall(r"^([a-z-]+) =", table, re.MULTILINE))


def test_pypi_shows_no_link_to_a_file() -> None:
    tomllib = pytest.importorskip("tomllib")
    hook = tomllib.loads(PROJECT)["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    shown = README
    for each in hook["substitutions"]:
        shown = re.sub(each["pattern"], each["replacement"], shown)
    assert not LINK.findall(shown)
    assert "docs/" not in re.sub(r"```.*?```", "", shown, flags=re.DOTALL)
