"""The site builds strictly, asks no other host for anything, and documents every public name."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from inside import parser

from .pages import ROOT

SOURCE = ROOT / "src" / "langchain_kronvex"
INTERNAL = {"cli", "storage"}  # rooms whose __all__ is for this package alone
LOADED = {"src", "srcset", "href", "data", "poster", "action", "xlink:href"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class Requests(HTMLParser):
    """Collects what a browser asks for by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.found += [value for name, value in attrs if name in LOADED and value]
        kinds = [value for name, value in attrs if name == "class" and value]
        assert not any("mermaid" in kind for kind in kinds), "Mermaid would come from another host"


def test_it_asks_no_other_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        requests = Requests()
        requests.feed(page.read_text(encoding="utf-8"))
        assert not [url for url in requests.found if re.match(r"(https?:)?//", url)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\W*(?:https?:)?//", sheet.read_text("utf-8")), sheet


def public_names() -> Iterator[str]:
    """Yield the names in `__all__` of the package and of its public modules, and its tools."""
    yield "langchain_kronvex.tools.create_memory_tools"
    for module in (SOURCE / "__init__.py", *SOURCE.glob("*/__init__.py")):
        if module.parent.name in INTERNAL:
            continue
        dotted = ".".join(module.parent.relative_to(SOURCE.parent).parts)
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                yield from (f"{dotted}.{name}" for name in ast.literal_eval(node.value))


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    documented = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    assert not set(public_names()) - documented


def test_every_command_and_operation_is_in_the_reference(site: Path) -> None:
    [commands] = [a.choices for a in parser()._actions if isinstance(a.choices, dict)]
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert not [name for name in commands if f">langchain-kronvex {name}</code>" not in page]
    assert "POST /api/v1/agents/{agent_id}/recall" in (site / "reference" / "rest.html").read_text()
