"""Where LangChain parts find out whose memory it is: their constructor, else the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_kronvex.errors import ScopeRequired
from langchain_kronvex.types import Scope


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
