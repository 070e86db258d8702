"""Every block, link and command of every page works."""

from __future__ import annotations

import re
import shlex
from inspect import signature
from pathlib import Path

import pytest

from inside import errors, parser
from langchain_kronvex import KronvexMemory

from .pages import (
    DOCS,
    LINK,
    PAGES,
    ROOT,
    anchors,
    blocks,
    is_printed,
    name_of,
    promised,
    run_blocks,
)

WITH_OTHER_TESTS = {"README.md", "docs/migration.md", "docs/privacy.md"}
PROGRAMS = {name_of(page): blocks(page, "python") for page in PAGES}
WITH_PROGRAMS = sorted(
    name for name, code in PROGRAMS.items() if code and name not in WITH_OTHER_TESTS
)
every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.mark.parametrize("page", WITH_PROGRAMS)
def test_the_blocks_print_what_they_promise(page: str, tmp_path: Path, model_url: str) -> None:
    programs = PROGRAMS[page]
    outputs = run_blocks(programs, tmp_path, model_url)
    for code, output in zip(programs, outputs, strict=True):
        assert is_printed(promised(code), output), f"{code}\n--- printed:\n{output}"


@every_page
def test_the_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor}"


@every_page
def test_the_commands_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = "".join(blocks(page, "bash")).splitlines()
    for words in (shlex.split(line, comments=True) for line in lines):
        if words[:1] == ["langchain-kronvex"]:
            parser().parse_args(words[1:])
        elif words[:1] == ["make"]:
            assert f"\n{words[1]}:" in makefile
    for program in re.findall(
        r"python ((?:benchmarks|examples)/[a-z_]+\.py)", page.read_text("utf-8")
    ):
        assert (ROOT / program).exists()


def test_every_error_is_listed_with_what_to_do() -> None:
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    named = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert [name for name in named if f"| `{name}` |" not in page] == ["KronvexError"]


def test_every_option_is_listed() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert not [name for name in signature(KronvexMemory).parameters if f"`{name}`" not in page]


def test_every_example_is_listed() -> None:
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").glob("*.py"):
        assert f"| `{path.name}` |" in listed


def test_every_page_of_the_site_is_reached() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert not {page for page in pages if f" {page}\n" not in navigation}
