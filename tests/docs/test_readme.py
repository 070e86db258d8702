"""Every Python block of the README runs unchanged, in an empty folder.

Where a block names a PostgreSQL database, an empty one takes its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import DATABASES

from .openai_stub import openai_stub
from .programs import run_program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *(ROOT / "docs").glob("*.md")]
ANNOUNCED = "RunnableWithMessageHistory is deprecated"  # by LangChain, whatever we do
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with openai_stub() as url:
        yield url


def run(code: str, folder: Path, model_url: str, answers: str = "") -> str:
    """Run a block as a new process; ChatOpenAI uses the stand-in server."""
    script = folder / "block.py"
    if "postgresql://" in code:
        code = re.sub(r"postgresql://[^\"]+", DATABASES.fresh(), code)
    script.write_text(code, encoding="utf-8")
    environment = {
        **os.environ,
        "OPENAI_API_KEY": "not-a-key",
        "OPENAI_BASE_URL": model_url,
        "XDG_DATA_HOME": str(folder / "data"),
    }
    done = run_program(script, folder=folder, environment=environment, answers=answers, strict=True)
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if ANNOUNCED not in line]
    assert not complaints
    return done.stdout


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(code: str, tmp_path: Path, model_url: str) -> None:
    run(code, tmp_path, model_url, answers="monday\nHello\n")


@pytest.mark.slow
def test_the_first_program_remembers_across_two_runs(tmp_path: Path, model_url: str) -> None:
    run(BLOCKS[0], tmp_path, model_url, "monday\nI am allergic to peanuts.\n")
    answer = run(BLOCKS[0], tmp_path, model_url, "tuesday\nWhat must I not eat?\n")
    assert "] User: I am allergic to peanuts. Assistant:" in answer  # quoted from the prompt


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8"))
    assert links or page.parent.name == "examples"
    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target), anchor


def anchors(page: Path) -> set[str]:
    """Return the names under which GitHub shows the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_example_is_listed() -> None:
    examples = ROOT / "examples"
    listed = (examples / "README.md").read_text(encoding="utf-8")
    section = README[README.index("## Examples, and moving here") : README.index("## Whose memory")]
    for path in examples.glob("*.py"):
        assert f"| `{path.name}` |" in listed
        if "__main__" in path.read_text(encoding="utf-8"):
            assert f"`{path.stem}`" in section


def test_the_two_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README, re.MULTILINE):
        assert f"\n{''.join(command)}:" in makefile
