"""No printable attribute of a memory contains the API key."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from langchain_kronvex import KronvexMemory

from .conftest import Open
from .plain_server import KEY, PlainServer


def printed(value: Any, levels: int = 5) -> str:
    """Return the reprs of an object and of what it holds."""
    inside = hasattr(value, "__dict__") and levels and not isinstance(value, SecretStr)
    held = vars(value).values() if inside else ()
    return repr(value) + "".join(printed(each, levels - 1) for each in held)


@pytest.mark.parametrize("how", ["text", "secret", "environment"])
def test_no_repr_shows_the_key(
    plain: PlainServer, open_on: Open, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRONVEX_API_KEY", KEY)
    given: dict[str, Any] = {"text": KEY, "secret": SecretStr(KEY), "environment": None}
    memory = open_on(plain, api_key=given[how])
    assert memory.memories(user_id="ana") == []
    assert KEY not in printed(memory)
    other: KronvexMemory = memory.for_agent("other")
    assert other.memories(user_id="ana") == []
    assert KEY not in printed(other)
    other.close()
