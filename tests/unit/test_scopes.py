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
        (config(thread_id="t"), {}, Scope(None, "t")),
        (config(thread_id=7, user_id="ana"), {}, Scope("ana", "7")),
        (config(thread_id="t", session_id="s"), {}, Scope(None, "s")),
        (config(user_id="bob"), {"session_id": "s"}, Scope(None, "s")),
        (config(user_id="bob", thread_id="t"), {"session_id": "s"}, Scope(None, "s")),
        (config(user_id="bob"), {"session_id": "s", "context": {"user_id": "b"}}, Scope(None, "s")),
        (config(session_id="t"), {"user_id": "ana", "session_id": "s"}, Scope("ana", "s")),
    ],
)
def test_the_run_cannot_change_what_the_constructor_fixed(given, arguments, expected) -> None:
    assert scope_from(given, **arguments) == expected


@pytest.mark.parametrize("given", [None, {}, config(), config(user_id=None), config(other="t")])
def test_without_ids_the_error_says_what_to_pass(given) -> None:
    with pytest.raises(ScopeRequired, match=r"(?s)user_id.*session_id.*configurable"):
        scope_from(given)


@pytest.mark.parametrize("scope", [Scope("ana"), Scope("ana", "s"), Scope(None, "ana")])
def test_adapters_read_all_sessions_of_the_user(scope: Scope) -> None:
    assert scope.reading(this_session_only=False) == Scope("ana")


def test_reading_can_be_limited_to_one_session() -> None:
    assert Scope("ana", "s").reading(this_session_only=True) == Scope("ana", "s")
    assert Scope(None, "s").reading(this_session_only=True) == Scope("s", "s")
    with pytest.raises(ScopeRequired, match="this_session_only"):
        Scope("ana").reading(this_session_only=True)


@pytest.mark.parametrize("bad", ["", " ", 7, "\0", "x" * 256])
def test_an_invalid_id_raises_instead_of_being_ignored(bad: object) -> None:
    with pytest.raises(InvalidInput, match="user_id") as caught:
        scope_from(config(user_id=bad, session_id="s"))
    assert not isinstance(caught.value, ScopeRequired)
