"""Whose memory an adapter works on: fixed by its constructor, or else named by the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_kronvex.core.errors import InvalidInput, ScopeRequired
from langchain_kronvex.core.records import Scope
from langchain_kronvex.memory.memory import KronvexMemory


def check_memory(value: object) -> KronvexMemory:
    """Return a memory; anything else, such as its URL, is rejected."""
    if not isinstance(value, KronvexMemory):
        raise InvalidInput(
            f"memory must be a KronvexMemory, not {type(value).__name__}; open one first: "
            'KronvexMemory("sqlite:///memory.db").'
        )
    return value


def scope_from(
    config: RunnableConfig | None,
    user_id: str | None = None,
    session_id: str | None = None,
    context: object = None,
) -> Scope:
    """Return the scope of a run.

    Ids of the constructor cannot be changed by the run. A `session_id` alone names the user, so
    the run cannot add a `user_id` to it; to a `user_id` alone the run adds the session.

    Each id of a run is taken from its context (attribute or key), else from
    `config["configurable"]`, where `thread_id` also names the session. Without `context`, the
    context that LangGraph puts into the config is used.

    Raises:
        ScopeRequired: nothing names a user or a session.
        InvalidInput: an id is blank, too long, or not a string.
    """
    if session_id is not None:
        return Scope.of(user_id, session_id)
    config = ensure_config(config)
    configurable = config.get("configurable") or {}
    if context is None:
        context = getattr(configurable.get("__pregel_runtime"), "context", None)
    thread = configurable.get("thread_id")  # LangGraph also takes numbers and UUIDs
    run = (context, configurable, {"session_id": None if thread is None else str(thread)})
    user = _first("user_id", run) if user_id is None else user_id
    scope = Scope.of(user, _first("session_id", run))
    if not scope:
        has_parent = getattr(config.get("callbacks"), "parent_run_id", None)
        raise ScopeRequired(_LOST if has_parent else None)
    return scope


_LOST = (
    "No user_id or session_id reached this call. Say whose memory it is: "
    'invoke(..., config={"configurable": {"user_id": "ana", "session_id": "chat-1"}}). If you did: '
    "some components, such as MergerRetriever, do not pass the config on when they are called "
    "directly. Then name the user in the constructor, for example as_retriever(user_id=...), or "
    "call the outer component as a step of a chain."
)


def _first(name: str, sources: tuple[object, ...]) -> Any:
    ids = (s.get(name) if isinstance(s, Mapping) else getattr(s, name, None) for s in sources)
    return next((id_ for id_ in ids if id_ is not None), None)
