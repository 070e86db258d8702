"""The bounds of the package's size and shape; no module uses private names of others."""

from __future__ import annotations

import ast

import pytest

from .measure import (
    code_lines_by_room,
    file_lines,
    folders,
    root_entries,
    shape,
    shape_of,
)
from .private_reaches import private_reaches, reaches_of
from .source import modules
from .warm_calls import files_passed

MOST_FLOORS = 7
MOST_ARROWS = 53
MOST_ROOT_ENTRIES = 18
MOST_FILES_IN_A_FOLDER = 16
MOST_FILE_LINES = 400
MOST_CODE_LINES = 24_900
MOST_FILES_PASSED = {
    "remember, SQLite": 12,
    "recall, SQLite": 22,
    "POST /recall": 30,
    "remember and flush, REST": 16,
}
LONGER_FILES = {"memory/memory.py"}  # a class of one-line verbs, each with its docstring


def test_the_rooms_stand_on_few_floors() -> None:
    assert shape().height <= MOST_FLOORS


def test_few_arrows_tie_the_rooms() -> None:
    assert len(shape().arrows) <= MOST_ARROWS


def test_an_import_in_a_function_may_run_back_up() -> None:
    found = shape_of({("a", "b"), ("b", "c"), ("b", "b")}, {("c", "a"), ("a", "c"), ("c", "d")})

    assert found.floors == {"a": 4, "b": 3, "c": 2, "d": 1}
    assert found.back_up == {("c", "a")}
    assert len(found.arrows) == 5


def test_a_circle_stands_on_one_floor() -> None:
    found = shape_of({("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")}, set())

    assert found.floors == {"a": 3, "b": 2, "c": 2, "d": 1}
    assert found.circles == (("b", "c"),)


def test_the_root_of_the_package_has_few_entries() -> None:
    assert len(root_entries()) <= MOST_ROOT_ENTRIES


def test_a_folder_holds_few_files() -> None:
    full = {folder: files for folder, files in folders().items() if files > MOST_FILES_IN_A_FOLDER}

    assert not full


def test_a_file_is_short() -> None:
    long = {name: lines for name, lines in file_lines().items() if lines > MOST_FILE_LINES}

    assert not long.keys() - LONGER_FILES


def test_the_package_has_few_lines_of_code() -> None:
    assert sum(code_lines_by_room().values()) <= MOST_CODE_LINES


@pytest.mark.slow
def test_a_warm_call_passes_few_files() -> None:
    passed = files_passed()

    assert passed.keys() == MOST_FILES_PASSED.keys()
    assert not {
        call: sorted(files)
        for call, files in passed.items()
        if len(files) > MOST_FILES_PASSED[call]
    }


def test_a_module_uses_no_private_name_of_another() -> None:
    reaches = {module: found for module in modules() if (found := private_reaches(module))}

    assert not reaches


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("memory._clock()", ("memory._clock",)),
        ("getattr(pool, '_backend')", ("getattr(pool, '_backend')",)),
        ("from asyncio import _get_running_loop", ("from asyncio import _get_running_loop",)),
        ("import httpx._client", ("import httpx._client",)),
        ("self._own, cls._own, super()._own, module.__name__, row._replace(a=1)", ()),
        ("class A:\n    def __init__(self): self._x = 1\n    def same(self, b): return b._x", ()),
    ],
)
def test_uses_of_private_names_are_recognised(code: str, found: tuple[str, ...]) -> None:
    assert reaches_of(ast.parse(code)) == found
