"""Sizes, names and docstrings of the source tree."""

from __future__ import annotations

import ast
import re
from collections import Counter

import langchain_kronvex

from .source import ROOT, definitions, modules, tree

MOST_FUNCTION_LINES = 40
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "base_utils"}
FORBIDDEN_WORDS = re.compile(r"\b(issues?|tickets?|todo|fixme|xxx|hack)\b", re.IGNORECASE)


def test_a_function_has_at_most_40_lines_without_its_docstring() -> None:
    long = {
        name: lines
        for module in modules()
        for name, node in definitions(module)
        if not isinstance(node, ast.ClassDef) and (lines := length(node)) > MOST_FUNCTION_LINES
    }

    assert not long


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    documented = ast.get_docstring(node) is not None
    docstring = first.end_lineno - first.lineno + 1 if documented and first.end_lineno else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_every_module_has_a_docstring() -> None:
    assert not [module for module in modules() if not ast.get_docstring(tree(module))]


def test_public_classes_and_functions_have_docstrings() -> None:
    undocumented = [
        name
        for module in modules()
        for name, node in definitions(module)
        if not any(part.startswith("_") for part in name.split("."))
        and not is_local(module, name)
        and not ast.get_docstring(node)
    ]

    assert not undocumented


def is_local(module: str, name: str) -> bool:
    """Return whether a definition is inside a function, where no other code can use it."""
    functions = {n for n, node in definitions(module) if not isinstance(node, ast.ClassDef)}
    return any(name.startswith(f"{function}.") for function in functions)


def test_module_names_are_not_vague() -> None:
    assert not [module for module in modules() if set(module.split(".")) & EMPTY_NAMES]


def test_no_two_modules_differ_by_a_plural() -> None:
    singular = Counter(re.sub(r"(ies|y|s)$", "", module) for module in modules())

    assert [name for name, count in singular.items() if count > 1] == []


def test_the_source_holds_no_notes_to_its_authors() -> None:
    found = {
        module: words
        for module, path in modules().items()
        if (words := FORBIDDEN_WORDS.findall(path.read_text(encoding="utf-8")))
    }

    assert not found


def test_the_root_holds_public_names_and_nothing_else() -> None:
    docstring, *statements = tree("").body

    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(s, ast.ImportFrom | ast.Assign) for s in statements)
    assert [ast.unparse(s.targets[0]) for s in statements if isinstance(s, ast.Assign)] == [
        "__all__"
    ]


def test_the_public_names_are_sorted_and_all_there() -> None:
    names = langchain_kronvex.__all__

    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert all(getattr(langchain_kronvex, name).__doc__ for name in names)


def test_the_package_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()
