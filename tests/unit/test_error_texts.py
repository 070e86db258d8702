"""Arguments of a wrong type, and foreign text in messages: errors of ours, in one line."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_kronvex import InvalidInput, KronvexError, KronvexMemory, MemoryDraft


def test_an_error_of_ours_is_one_printable_line() -> None:
    assert str(KronvexError("no \x1b[2J\x07\u202e\u2028\r\n")).isprintable()
    assert str(KronvexError("José \U0001f99c\nline")) == "José \U0001f99c\\nline"
    assert str(InvalidInput()).isprintable()


@pytest.mark.parametrize("given", [5, b"ana", object(), MemoryDraft("zebra")])
def test_an_id_of_another_type_suggests_its_text(given: Any) -> None:
    with (
        KronvexMemory("sqlite://") as memory,
        pytest.raises(InvalidInput, match=r"Pass str\(user_id\)") as raised,
    ):
        memory.recall("tea", user_id=given)
    assert "zebra" not in str(raised.value)


@pytest.mark.parametrize("given", [MemoryDraft("zebra"), "zebra", {"content": "zebra"}, 5, None])
def test_drafts_that_are_not_a_list_are_an_error_of_ours(given: Any) -> None:
    with (
        KronvexMemory("sqlite://") as memory,
        pytest.raises(InvalidInput, match="drafts must be a list") as raised,
    ):
        memory.remember_many(given)
    assert "zebra" not in str(raised.value)


@pytest.mark.parametrize("timeout", ["x", [], -1, float("nan"), True])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    with (
        KronvexMemory("sqlite://") as memory,
        pytest.raises(InvalidInput, match="timeout must be a number"),
    ):
        memory.flush(timeout)


@pytest.mark.parametrize(
    "given", [MemoryDraft("zebra"), ["zebra"], "zebra" * 50, -(10**4000), {}], ids=type
)
@pytest.mark.parametrize("name", ["top_k", "memory_type", "threshold"])
def test_a_value_that_does_not_fit_is_not_quoted_at_length(name: str, given: Any) -> None:
    if name == "memory_type" and isinstance(given, list):
        given = [given]  # a list of types is one of the ways to name them
    with (
        KronvexMemory("sqlite://") as memory,
        pytest.raises(
            InvalidInput, match=f"{name} .*a value of type {type(given).__name__}"
        ) as raised,
    ):
        memory.recall("tea", **{name: given})
    assert "zebra" not in str(raised.value)
