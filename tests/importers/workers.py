"""What child processes do; see `integration/crew.py`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_kronvex import KronvexMemory
from langchain_kronvex.importers import import_from


def import_reading_slowly(
    say: Callable[[Any], None], hear: Callable[[], Any], url: str, source: str, file: str
) -> None:
    """Import a file; before each portion of it is read, say so and wait for an answer."""

    class Slow(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            say("reading")
            hear()
            return super().read(4000)

    with KronvexMemory(url) as memory:
        stream = Slow(Path(file).read_text(encoding="utf-8"))
        import_from(memory, source, stream, user_id="ana")
