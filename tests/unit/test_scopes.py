"""The scope of a call: from the constructor or from the config."""

from __future__ import annotations

import pytest

from inside import scope_from
from langchain_kronvex import InvalidInput, Scope, ScopeRequired


def config(**configurable: object) -> dict:
    return {"configurable": configurable}


@pytest.mark.parametrize(
    ("given", "arguments", "expected"),
    [
        (config(user_id="ana"), {}, Scope("ana")),
        (config(session_id="s"), {}, Scope(None, "s")),
        (config(user_id="ana", session_id="s", other=1), {}, Scope("ana", "s")),
        (None, {"user_id": "ana"}, Scope("ana")),
        ({}, {"session_id": "s"}, Scope(None, "s")),
        (config(user_id="bob", session_id="s"), {"user_id": "ana"}, Scope("ana", "s")),
        (config(user_id=None, session_id="s"), {}, Scope(None, "s")),
    ],
)
def test_the_constructor_wins_over_the_config(given, arguments, expected) -> None:
    assert scope_from(given, **arguments) == expected


@pytest.mark.parametrize("given", [None, {}, config(), config(user_id=None), config(thread_id="t")])
def test_without_ids_the_error_says_what_to_pass(given) -> None:
    with pytest.raises(ScopeRequired, match=r"(?s)user_id.*session_id.*configurable"):
        scope_from(given)


@pytest.mark.parametrize("bad", ["", " ", 7, "\0", "x" * 256])
def test_an_invalid_id_raises_instead_of_being_ignored(bad: object) -> None:
    with pytest.raises(InvalidInput, match="user_id") as caught:
        scope_from(config(user_id=bad, session_id="s"))
    assert not isinstance(caught.value, ScopeRequired)
