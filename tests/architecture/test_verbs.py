"""Every verb has an `a…` twin with the same signature, and errors form one tree."""

from __future__ import annotations

import inspect

import pytest

from langchain_kronvex import KronvexMemory
from langchain_kronvex.core import errors

NOT_ACTIONS = {
    "location",
    "agent_id",
    "engine",
}
FACTORIES = {"chat_history", "as_retriever", "for_agent"}


def public(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def twins() -> list[str]:
    names = public(KronvexMemory)
    return sorted(names - NOT_ACTIONS - FACTORIES - {f"a{name}" for name in names})


@pytest.mark.parametrize("verb", twins())
def test_a_verb_and_its_twin_have_one_signature(verb: str) -> None:
    sync, twin = getattr(KronvexMemory, verb), getattr(KronvexMemory, f"a{verb}")

    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(sync)
    assert inspect.signature(twin) == inspect.signature(sync)
    assert sync.__doc__
    assert twin.__doc__


def test_the_verbs_are_those_of_the_design() -> None:
    assert set(twins()) == {
        "remember", "remember_many", "save_exchange", "recall", "explain", "inject_context",
        "memories", "get", "update", "history", "restore", "forget", "expire", "clear", "sessions",
        "users", "stats", "flush", "close", "profile",
        "load_messages", "save_messages", "clear_messages", "reindex", "export", "import_",
    }  # fmt: skip


def test_every_error_is_a_kronvex_error_and_public() -> None:
    classes = {name: c for name, c in vars(errors).items() if inspect.isclass(c)}

    assert all(issubclass(c, errors.KronvexError) for c in classes.values())
    assert issubclass(errors.InvalidInput, ValueError)
    assert issubclass(errors.MemoryNotFound, LookupError)
    assert issubclass(errors.MissingExtra, ImportError)
