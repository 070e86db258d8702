"""Where LangChain parts find out whose memory it is: their constructor, else the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_kronvex.core.errors import ScopeRequired
from langchain_kronvex.core.types import Scope


def scope_from(
    config: RunnableConfig | None, user_id: str | None = None, session_id: str | None = None
) -> Scope:
    """Return the scope of the constructor, or else that of `config["configurable"]`.

    Each id given to the constructor wins over the same id in the config.

    Raises:
        ScopeRequired: neither names a user or a session.
        InvalidInput: an id is blank, too long, or no text.
    """
    configurable: Mapping[str, Any] = ensure_config(config).get("configurable") or {}
    scope = Scope.of(
        user_id if user_id is not None else configurable.get("user_id"),
        session_id if session_id is not None else configurable.get("session_id"),
    )
    if not scope:
        raise ScopeRequired()
    return scope


def agent_scope(
    config: RunnableConfig | None,
    context: object,
    user_id: str | None = None,
    session_id: str | None = None,
) -> Scope:
    """Return the scope of an agent's run.

    Each id is taken from the constructor, else from the run's context (attribute or key), else
    from `config["configurable"]`, where `thread_id` also names the session. Without `context` it
    is the one that LangGraph sends along in the config.

    Raises:
        ScopeRequired: none of them names a user or a session.
        InvalidInput: an id is blank, too long, or no text.
    """
    configurable: Mapping[str, Any] = ensure_config(config).get("configurable") or {}
    if context is None:
        context = getattr(configurable.get("__pregel_runtime"), "context", None)
    thread = configurable.get("thread_id")
    scope = Scope.of(
        _first(user_id, _named(context, "user_id"), configurable.get("user_id")),
        _first(
            session_id,
            _named(context, "session_id"),
            configurable.get("session_id"),
            None if thread is None else str(thread),  # LangGraph takes numbers and UUIDs too
        ),
    )
    if not scope:
        raise ScopeRequired()
    return scope


def _named(context: object, name: str) -> Any:
    return context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)


def _first(*ids: Any) -> Any:
    return next((id_ for id_ in ids if id_ is not None), None)
