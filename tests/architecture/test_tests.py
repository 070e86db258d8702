"""The tests know the inside of the package through one module alone."""

from __future__ import annotations

import ast
from pathlib import Path

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


def test_private_modules_are_imported_through_one_door() -> None:
    private = {
        str(path.relative_to(TESTS)): names
        for path in FILES
        if (names := imported(ast.parse(path.read_text(encoding="utf-8"))) - PUBLIC)
    }

    assert not private, "import these names from `inside`"


def imported(code: ast.Module) -> set[str]:
    nodes = list(ast.walk(code))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    names |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    return {name for name in names if name.split(".")[0] == "langchain_kronvex"}
