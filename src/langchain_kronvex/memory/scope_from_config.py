"""Which user and session an adapter works for: named by its constructor, or else by the run."""

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
    """Return the scope named by the constructor, or else by `config["configurable"]`.

    Each id given to the constructor wins over the same id in the config.

    Raises:
        ScopeRequired: neither names a user or a session.
        InvalidInput: an id is blank, too long, or not a string.
    """
    return _scope({"user_id": user_id, "session_id": session_id}, _configurable(config))


def agent_scope(
    config: RunnableConfig | None,
    context: object,
    user_id: str | None = None,
    session_id: str | None = None,
) -> Scope:
    """Return the scope of an agent's run.

    Each id is taken from the constructor, else from the run's context (attribute or key), else
    from `config["configurable"]`, where `thread_id` also names the session. Without `context`, the
    context that LangGraph puts into the config is used.

    Raises:
        ScopeRequired: none of them names a user or a session.
        InvalidInput: an id is blank, too long, or not a string.
    """
    configurable = _configurable(config)
    if context is None:
        context = getattr(configurable.get("__pregel_runtime"), "context", None)
    thread = configurable.get("thread_id")  # LangGraph also takes numbers and UUIDs
    session = {"session_id": None if thread is None else str(thread)}
    return _scope({"user_id": user_id, "session_id": session_id}, context, configurable, session)


def _configurable(config: RunnableConfig | None) -> Mapping[str, Any]:
    return ensure_config(config).get("configurable") or {}


def _scope(*sources: object) -> Scope:
    """Return the scope made of the first id of each kind that a source has."""
    scope = Scope.of(_first("user_id", sources), _first("session_id", sources))
    if not scope:
        raise ScopeRequired()
    return scope


def _first(name: str, sources: tuple[object, ...]) -> Any:
    ids = (s.get(name) if isinstance(s, Mapping) else getattr(s, name, None) for s in sources)
    return next((id_ for id_ in ids if id_ is not None), None)
