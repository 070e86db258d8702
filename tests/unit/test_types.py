"""Scopes, contexts and drafts."""

from __future__ import annotations

import dataclasses

import pytest

from inside import UNCHANGED, Unchanged
from langchain_kronvex import InvalidInput, MemoryContext, MemoryDraft, Scope


@pytest.mark.parametrize(
    ("user_id", "session_id", "owner", "only_session", "named"),
    [
        (None, None, "", None, False),
        ("ana", None, "ana", None, True),
        (None, "s", "s", None, True),
        ("ana", "s", "ana", "s", True),
        ("ana", "ana", "ana", "ana", True),
    ],
)
def test_the_owner_of_a_scope(user_id, session_id, owner, only_session, named) -> None:
    scope = Scope.of(user_id, session_id)
    assert (scope.user_id, scope.session_id) == (user_id, session_id)
    assert scope.owner == owner
    assert scope.only_session == only_session
    assert bool(scope) is named


def test_scopes_are_values() -> None:
    assert Scope("a", "b") == Scope("a", "b") != Scope("b", "a")
    assert len({Scope("a"), Scope("a"), Scope(None, "a")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scope("a").user_id = "b"


@pytest.mark.parametrize("bad", ["", " ", "\0", 1, "x" * 256])
def test_a_scope_rejects_invalid_ids(bad: object) -> None:
    with pytest.raises(InvalidInput, match="user_id"):
        Scope.of(bad, None)
    with pytest.raises(InvalidInput, match="session_id"):
        Scope.of("ana", bad)


def test_a_context_is_its_text() -> None:
    assert str(MemoryContext()) == MemoryContext().context_block == ""
    context = MemoryContext("a\nb")
    assert f"{context}" == context.context == context.context_block == "a\nb"
    assert (context.memories, context.degraded) == ((), False)


def test_a_draft_has_the_defaults_of_remember() -> None:
    draft = MemoryDraft("x")
    assert draft == MemoryDraft(content="x", memory_type="episodic", pinned=False)
    with pytest.raises(TypeError):
        MemoryDraft("x", "semantic")


def test_unchanged_is_one_value() -> None:
    assert UNCHANGED is Unchanged.UNCHANGED
    assert list(Unchanged) == [UNCHANGED]
