"""The source tree as the architecture tests read it: modules, syntax trees and imports."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import langchain_kronvex

ROOT = Path(langchain_kronvex.__file__).parent
PACKAGE = "langchain_kronvex"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Import:
    """One import of a module of this package; `inside` names the function around it."""

    importer: str
    imported: str
    inside: str | None


@cache
def modules() -> dict[str, Path]:
    """Return every module by its name inside the package; the root is called `""`."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@cache
def imports(name: str) -> tuple[Import, ...]:
    """Return the modules of this package that a module imports, with the places."""
    found: list[Import] = []

    def visit(node: ast.AST, inside: str | None) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = node.name
        found.extend(Import(name, imported, inside) for imported in _imported(node))
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(tree(name), None)
    return tuple(found)


def foreign_imports(name: str) -> set[str]:
    """Return the top-level names of other packages that a module imports, anywhere."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - {PACKAGE}


def runtime_imports(name: str) -> tuple[Import, ...]:
    """Return the imports of a module, without those for type checkers only."""
    guarded: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            guarded |= imports_of(node)
    return tuple(i for i in imports(name) if i.inside or i.imported not in guarded)


def imports_of(code: ast.AST) -> set[str]:
    """Return the modules of this package that a piece of code imports anywhere."""
    return {imported for node in ast.walk(code) for imported in _imported(node)}


@cache
def definitions(name: str) -> tuple[tuple[str, Definition], ...]:
    """Return every class and function of a module with its dotted name."""
    found: list[tuple[str, Definition]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.append((f"{prefix}{child.name}", child))
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(tree(name), f"{name}.")
    return tuple(found)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [_inner(a.name) for a in node.names if a.name.split(".")[0] == PACKAGE]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert not node.level, f"a relative import: {ast.unparse(node)}"
    if (node.module or "").split(".")[0] != PACKAGE:
        return []
    base = _inner(node.module or "")
    whole = [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
    named = [name for name in whole if name in modules()]
    return named if len(named) == len(whole) else [base, *named]


def _inner(name: str) -> str:
    return name.removeprefix(PACKAGE).lstrip(".")
