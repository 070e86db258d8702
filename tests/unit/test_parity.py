"""Every verb has an async version with the same signature."""

from __future__ import annotations

import inspect

import pytest

from langchain_kronvex import KronvexMemory

# Not verbs of storing or asking: they build objects, or never wait.
ONE_COLOUR = {
    "chat_history", "as_retriever", "for_agent",
}  # fmt: skip
VERBS = {
    "remember", "remember_many", "save_exchange", "recall", "explain", "inject_context", "memories",
    "get", "update", "history", "restore", "forget", "expire", "clear", "sessions", "users",
    "stats", "flush", "close", "load_messages",
    "save_messages", "clear_messages", "reindex", "export", "import_",
}  # fmt: skip


def functions(cls: type) -> dict[str, object]:
    return {
        name: value
        for name, value in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


def verbs(cls: type) -> set[str]:
    found = functions(cls)
    return {name for name in found if not (name[0] == "a" and name[1:] in found)}


def test_the_memory_has_every_verb() -> None:
    assert verbs(KronvexMemory) - ONE_COLOUR >= VERBS


@pytest.mark.parametrize("verb", sorted(verbs(KronvexMemory) - ONE_COLOUR))
def test_every_verb_of_the_memory_has_its_twin(verb: str) -> None:
    found = functions(KronvexMemory)
    sync, twin = found[verb], found["a" + verb]
    assert not inspect.iscoroutinefunction(sync)
    assert inspect.iscoroutinefunction(twin)
    assert inspect.signature(sync) == inspect.signature(twin)
    assert twin.__name__ == "a" + verb
    assert sync.__doc__
    assert twin.__doc__


def test_the_arguments_after_the_text_are_named() -> None:
    positional = {
        "remember": ["content"], "remember_many": ["drafts"], "recall": ["query"],
        "save_exchange": ["user_message", "assistant_message"], "inject_context": ["query"],
        "explain": ["query", "id"], "memories": [], "get": ["id"], "update": ["id"], "forget": [],
        "expire": ["dry_run"], "clear": [], "users": [],
        "sessions": [], "stats": [], "flush": ["timeout"],
    }  # fmt: skip
    for verb, names in positional.items():
        parameters = inspect.signature(getattr(KronvexMemory, verb)).parameters.values()
        assert [
            p.name for p in parameters if p.name != "self" and p.kind is p.POSITIONAL_OR_KEYWORD
        ] == names


def test_the_documented_defaults_hold() -> None:
    defaults = {
        "remember": {"memory_type": "episodic", "ttl_days": None, "pinned": False},
        "recall": {
            "top_k": 5, "memory_type": None, "threshold": 0.0, "include_shared": False,
            "order_by": "confidence",
        },
        "inject_context": {"top_k": 8, "max_tokens": None, "memory_type": None},
        "memories": {"limit": 50, "offset": 0, "memory_type": None},
        "flush": {"timeout": None},
    }  # fmt: skip
    for verb, expected in defaults.items():
        parameters = inspect.signature(getattr(KronvexMemory, verb)).parameters
        assert {name: parameters[name].default for name in expected} == expected
        for name in ("user_id", "session_id"):
            assert name not in parameters or parameters[name].default is None
