"""The pages for developers: every link works, and everything they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .source import ROOT, modules

CHECKOUT = ROOT.parent.parent
PAGES = [
    CHECKOUT / "CONTRIBUTING.md",
    CHECKOUT / "SECURITY.md",
    CHECKOUT / "docs" / "architecture.md",
    *sorted((CHECKOUT / "docs" / "adr").glob("*.md")),
]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@every_page
def test_a_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))

    assert not [link for link in links if not (page.parent / link).exists()]


@every_page
def test_a_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`([\w/.-]+\.(?:py|sql|md|toml))`", page.read_text(encoding="utf-8"))

    def is_there(name: str) -> bool:
        return (CHECKOUT / name).exists() or any(
            next(place.rglob(name), None) for place in (CHECKOUT / "src", CHECKOUT / "tests")
        )

    assert not [name for name in named if not is_there(name)]


def test_the_architecture_names_classes_that_exist() -> None:
    page = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|as )([A-Z][a-z]+[A-Z]\w+)", page))
    source = "\n".join(path.read_text(encoding="utf-8") for path in modules().values())

    assert named
    assert not {name for name in named if f"class {name}" not in source}


def test_every_decision_is_listed_and_has_its_three_parts() -> None:
    listed = (CHECKOUT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    for page in (CHECKOUT / "docs" / "adr").glob("0*.md"):
        text = page.read_text(encoding="utf-8")
        assert f"({page.name})" in listed
        assert re.findall("^## (.+)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]
