"""The tests know the inside of the package through one module alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PUBLIC = {
    "langchain_kronvex", "langchain_kronvex.consolidation", "langchain_kronvex.embeddings",
    "langchain_kronvex.importers",
    "langchain_kronvex.langgraph", "langchain_kronvex.llama_index", "langchain_kronvex.middleware",
    "langchain_kronvex.mcp", "langchain_kronvex.server", "langchain_kronvex.testing",
    "langchain_kronvex.tools",
}  # fmt: skip
ABOUT_THE_INSIDE = {"architecture", "inside.py"}
FILES = sorted(
    path for path in TESTS.rglob("*.py") if path.relative_to(TESTS).parts[0] not in ABOUT_THE_INSIDE
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_private_modules_are_imported_through_one_door(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}

    ours = {name for name in imported if name.split(".")[0] == "langchain_kronvex"}
    assert ours <= PUBLIC, "import these names from `inside`"
