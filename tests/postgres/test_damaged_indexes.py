"""What damages a vector, or ends a recall halfway, is mended by the next one."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from integration.interrupts import interrupted_at
from langchain_kronvex import KronvexMemory

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]


@pytest.mark.parametrize("condition", ["content LIKE '%%peanuts%%'", "true"], ids=["one", "all"])
def test_a_vector_of_another_width_is_skipped_reported_and_fetched_anew(
    condition: str, open_memory: OpenMemory, sql: Sql
) -> None:
    errors: list[Exception] = []
    writer, reader = open_memory(), open_memory(on_error=errors.append)
    writer.remember("Ana is allergic to peanuts.", user_id="ana")
    writer.remember("Ana lives in Porto.", user_id="ana")
    stored = "SELECT seq, vector::text FROM langchain_kronvex.records ORDER BY seq"
    whole = sql(stored)
    sql(f"UPDATE langchain_kronvex.records SET vector = '[1,2,3]' WHERE {condition}")

    found = reader.recall("Which city does Ana live in, Porto?", user_id="ana")
    assert {m.content for m in found} == {"Ana is allergic to peanuts.", "Ana lives in Porto."}
    assert [str(error) for error in errors if "are damaged" in str(error)]
    end = time.monotonic() + 20
    while sql(stored) != whole and time.monotonic() < end:
        time.sleep(0.05)
    assert sql(stored) == whole
    assert len(errors) == 1


def interrupt_recalls(open_memory: OpenMemory, step: int) -> int:
    """Interrupt a recall of what others wrote at every `step`th line; return how many it has."""
    reader, writer = open_memory(), open_memory()
    held: BaseException | None = None
    for number in count(1, step):
        for n in range(2):
            writer.remember(f"word{number}x{n} was said", user_id="ana")
        held = interrupted_at(
            number, lambda number=number: reader.recall(f"word{number}x0", user_id="ana")
        )
        for n in range(2):
            first = reader.recall(f"word{number}x{n}", user_id="ana", top_k=1)[0]
            assert first.content == f"word{number}x{n} was said"
        reader.remember(f"still {number}", user_id="ana")
        if held is None:
            return number
    raise AssertionError


def test_a_recall_is_interrupted_at_some_lines(open_memory: OpenMemory) -> None:
    assert interrupt_recalls(open_memory, step=43) > 100


@pytest.mark.soak
def test_a_recall_is_interrupted_at_every_line(open_memory: OpenMemory) -> None:
    assert interrupt_recalls(open_memory, step=1) > 100
