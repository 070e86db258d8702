"""The pages of the documentation: their blocks, links and anchors."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Callable
from pathlib import Path

from databases import DATABASES

from .programs import run_program, settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(DOCS.rglob("*.md"))]
ANNOUNCED = "RunnableWithMessageHistory is deprecated"  # by LangChain, whatever we do
NEXT = "\n=== next block ===\n"
RUNNER = f"""\
import os, pathlib, runpy, sys
for path in map(pathlib.Path, sys.argv[1:]):
    os.chdir(path.parent)
    os.environ["XDG_DATA_HOME"] = str(path.parent / "data")
    runpy.run_path(str(path), run_name="__main__")
    print({NEXT!r}, end="", flush=True)
"""
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)")
_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
DATE = re.compile(r"\d{4}-\d\d-\d\d")


def name_of(page: Path) -> str:
    """Return the path of a page within the checkout."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page."""
    fenced = re.compile(rf"^```{language}\b[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return fenced.findall(page.read_text(encoding="utf-8"))


def run_blocks(programs: list[str], folder: Path, model_url: str) -> list[str]:
    """Run programs one after the other in one process, each in an empty folder of its own.

    Where a program names a PostgreSQL database, an empty one takes its place; ChatOpenAI uses the
    stand-in server. Nothing may be written to stderr.

    Returns:
        What each has printed.
    """
    paths = []
    for number, code in enumerate(programs):
        paths.append(folder / str(number) / "block.py")
        paths[-1].parent.mkdir()
        if "postgresql://" in code:
            code = re.sub(r"postgresql://[^\"]+", DATABASES.fresh(), code)
        paths[-1].write_text(code, encoding="utf-8")
    runner = folder / "runner.py"
    runner.write_text(RUNNER, encoding="utf-8")
    environment = settings(folder, model_url)
    done = run_program(runner, *paths, folder=folder, environment=environment, strict=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not [line for line in done.stderr.splitlines() if ANNOUNCED not in line]
    return done.stdout.split(NEXT)[:-1]


def run_consoles(text: str, shell: Callable[[str], str]) -> int:
    """Run the console blocks of a text, which must print what it says; return how many lines."""
    steps = _STEP.findall("".join(_CONSOLE.findall(text)))
    for line, wanted in steps:
        got = shell(line)
        assert doctest.OutputChecker().check_output(wanted, got, _LIKE), f"$ {line}\n{got}"
    return len(steps)


def promised(code: str) -> list[str]:
    """Return what a block says that it prints: the comments that follow a `print` statement."""
    lines = code.splitlines()
    prints = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Expr) and re.match(r"print\(", ast.unparse(node))
    ]
    found = []
    for node in sorted(prints, key=lambda each: each.lineno):
        for line in lines[node.end_lineno :]:
            if not line.strip().startswith("# "):
                break
            found.append(line.strip()[2:])
    return found


def is_printed(promise: list[str], output: str) -> bool:
    """Return whether an output has these texts in their order; `…` stands for any text."""
    texts = [re.escape(DATE.sub("DATE", line)).replace("…", ".*?") for line in promise]
    return re.search(".*?".join(texts), DATE.sub("DATE", output), re.DOTALL) is not None


def anchors(page: Path) -> set[str]:
    """Return the names under which GitHub shows the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
