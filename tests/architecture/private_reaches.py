"""Finds uses of private names of another module or library.

A reach is an attribute `x._name`, where `x` is not `self`, `cls` or `super()` and `_name` is not
defined in the module; `getattr(x, "_name")` and its like; and an import of a private name or of a
private module. What Python documents (`_replace` of a named tuple, `os._exit`) is public.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import TypeGuard

from .source import tree

DOCUMENTED = {"_asdict", "_replace", "_make", "_fields", "_field_defaults", "_exit"}
BY_NAME = {"getattr", "setattr", "hasattr", "delattr", "attrgetter"}


@cache
def private_reaches(module: str) -> tuple[str, ...]:
    """Return the reaches of a module, each as the code that makes it."""
    return reaches_of(tree(module))


def reaches_of(code: ast.Module) -> tuple[str, ...]:
    """Return the reaches of a piece of code."""
    own = set(_defined(code))
    found = {reach for node in ast.walk(code) for reach in _reaches(node, own)}
    return tuple(sorted(found))


def is_private(name: str) -> bool:
    """Return whether a name is private to the module or the class that defines it."""
    special = name.startswith("__") and name.endswith("__")
    return name.startswith("_") and not special and name not in DOCUMENTED


def _reaches(node: ast.AST, own: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        if is_private(node.attr) and node.attr not in own and not _is_oneself(node.value):
            yield ast.unparse(node)
    elif isinstance(node, ast.ImportFrom):
        names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        if any(is_private(name) for name in names):
            yield ast.unparse(node)
    elif isinstance(node, ast.Import):
        if any(is_private(name) for alias in node.names for name in alias.name.split(".")):
            yield ast.unparse(node)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in BY_NAME:
        names = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if any(isinstance(name, str) and is_private(name) and name not in own for name in names):
            yield ast.unparse(node)


def _is_oneself(value: ast.expr) -> bool:
    return ast.unparse(value) in ("self", "cls", "super()", "type(self)")


def _defined(code: ast.Module) -> Iterator[str]:
    """Yield every name that a module defines: functions, classes, variables and attributes."""
    for node in ast.walk(code):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif _is_set_on_oneself(node):
            yield node.attr


def _is_set_on_oneself(node: ast.AST) -> TypeGuard[ast.Attribute]:
    stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    return stored and _is_oneself(node.value)
