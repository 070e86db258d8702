"""The size and the shape of the package: `make measure` prints them, a test bounds them.

A room is a direct child of the package: a folder with all that is in it, or a module. The folders
beside the package whose programs import it (`benchmarks`, `scripts`) are rooms too. An arrow leads
from a room to each room that it imports at run time, at the top of a module or inside a function.
A room stands one floor above the highest room it imports. An arrow of imports inside functions that
would close a circle runs back up: it counts as an arrow, not for the floors. Rooms that import
each other in a circle all the same stand on one floor. A line of code is not blank, not a comment
and not a docstring.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .source import PACKAGE, ROOT, imports_of, modules, runtime_imports

CHECKOUT = ROOT.parent.parent
BESIDE_THE_PACKAGE = ("benchmarks", "scripts")
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER, tokenize.ENCODING,
}  # fmt: skip
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


Arrow = tuple[str, str]  # the room that imports, and the room it imports from


@dataclass(frozen=True)
class Shape:
    """The rooms by floor (1 is the lowest), the arrows, those that run back up, and circles."""

    floors: dict[str, int]
    arrows: frozenset[Arrow]
    back_up: frozenset[Arrow]
    circles: tuple[tuple[str, ...], ...]

    @property
    def height(self) -> int:
        """Return the number of floors."""
        return max(self.floors.values())


def room_of(module: str) -> str:
    """Return the direct child of the package that holds a module; the root is `__init__`."""
    return module.split(".")[0] or "__init__"


def shape() -> Shape:
    """Return the shape of the package as it stands."""
    imports = [i for module in modules() for i in runtime_imports(module)]
    at_the_top = {(room_of(i.importer), room_of(i.imported)) for i in imports if not i.inside}
    in_functions = {(room_of(i.importer), room_of(i.imported)) for i in imports if i.inside}
    for folder in BESIDE_THE_PACKAGE:
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            at_the_top |= {(f"/{folder}", room_of(name)) for name in imports_of(tree)}
    return shape_of(at_the_top, in_functions)


def shape_of(at_the_top: set[Arrow], in_functions: set[Arrow]) -> Shape:
    """Return the floors and the circles that the imports between rooms make."""
    kept = {(a, b) for a, b in at_the_top if a != b}
    back_up = set()
    for a, b in sorted(in_functions):
        if a != b and (a, b) not in kept:
            (back_up if a in _reached(b, kept) else kept).add((a, b))
    rooms = {room for arrow in at_the_top | in_functions for room in arrow}
    below = {room: _reached(room, kept) for room in rooms}
    circle = {a: frozenset({a, *(b for b in below[a] if a in below[b])}) for a in rooms}

    @cache
    def floor(circle_of: frozenset[str]) -> int:
        under = {circle[b] for a, b in kept if a in circle_of} - {circle_of}
        return 1 + max((floor(other) for other in under), default=0)

    circles = {tuple(sorted(c)) for c in circle.values() if len(c) > 1}
    floors = {room: floor(circle[room]) for room in sorted(rooms)}
    return Shape(floors, frozenset(kept | back_up), frozenset(back_up), tuple(sorted(circles)))


def _reached(start: str, arrows: set[Arrow]) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        room = left.pop()
        new = {b for a, b in arrows if a == room} - found
        found |= new
        left += new
    return found


def root_entries() -> list[str]:
    """Return the modules and folders in the root of the package."""
    return sorted(p.name for p in ROOT.iterdir() if p.name not in ("py.typed", "__pycache__"))


def folders() -> Counter[str]:
    """Return how many modules each folder of the package holds."""
    return Counter(path.parent.relative_to(ROOT.parent).as_posix() for path in modules().values())


def file_lines() -> dict[str, int]:
    """Return the number of lines of every file of the package, blank ones and all."""
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules().values()
    }


def code_lines(path: Path) -> int:
    """Return the number of lines that are not blank, not a comment and not a docstring."""
    source = path.read_text(encoding="utf-8")
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def code_lines_by_room() -> Counter[str]:
    """Return the lines of code of every room of the package."""
    found: Counter[str] = Counter()
    for module, path in modules().items():
        found[room_of(module)] += code_lines(path)
    return found


def main() -> None:
    """Print the figures."""
    from .warm_calls import files_passed

    now, lines, files = shape(), code_lines_by_room(), file_lines()
    folder, most = folders().most_common(1)[0]
    largest = max(files, key=files.__getitem__)
    print(f"{'floors of imports between rooms':36}{now.height:6}")
    print(f"{'arrows between rooms':36}{len(now.arrows):6}   {len(now.floors)} rooms")
    for importer, imported in sorted(now.back_up):
        print(f"  {'runs back up, in a function':40}   {importer} -> {imported}")
    for circle in now.circles:
        print(f"{'a circle, counted as one floor':36}{len(circle):6}   {', '.join(circle)}")
    print(f"{'entries in the package root':36}{len(root_entries()):6}")
    print(f"{'files in the fullest folder':36}{most:6}   {folder}")
    print(f"{'lines of the largest file':36}{files[largest]:6}   {largest}")
    print(f"{'lines of code':36}{sum(lines.values()):6}   {len(files)} files")
    for room, floor in sorted(now.floors.items(), key=lambda item: (-item[1], item[0])):
        beside = "beside the package" if room.startswith("/") else f"{lines[room]:6} lines of code"
        print(f"  floor {floor}  {room:26}{beside}")
    print(f"\nfiles of {PACKAGE} that one warm call passes")
    for call, passed in files_passed().items():
        print(f"  {call:34}{len(passed):6}")


if __name__ == "__main__":
    main()
