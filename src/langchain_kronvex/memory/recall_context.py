"""Recalls the context of a prompt; a failure of the memory does not break the chat."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import cast

from pydantic import BaseModel, ConfigDict

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.options import CheckedOptions
from langchain_kronvex.core.types import MemoryContext, Scope
from langchain_kronvex.memory.engine import OnFailure
from langchain_kronvex.memory.memory import KronvexMemory


class ContextOptions(CheckedOptions, BaseModel):
    """Whose context a turn recalls, and how; see `KronvexMemory.inject_context`.

    Raises:
        InvalidInput: an option does not fit.
    """

    user_id: str | None = None
    session_id: str | None = None
    top_k: int = 8
    max_tokens: int | None = None
    memory_type: str | None = None
    this_session_only: bool = False
    on_error: OnFailure = "degrade"

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True)

    def check_options(self) -> None:
        """Raise `InvalidInput` if a value does not fit."""
        Scope.of(self.user_id, self.session_id)
        checks.check_count(self.top_k, "top_k", least=1)
        checks.check_optional_count(self.max_tokens, "max_tokens", least=1)
        if self.memory_type is not None:
            checks.check_type(self.memory_type)


def recall_context(
    memory: KronvexMemory,
    query: str,
    scope: Scope,
    options: ContextOptions,
    already_shown: Collection[str],
    report: Callable[[Exception], None] | None = None,
) -> MemoryContext:
    """Return the context for a query; if the recall fails, an empty context marked `degraded`.

    Raises:
        ScopeRequired: `this_session_only`, but the scope names no session.
    """
    scope = scope.reading(options.this_session_only)
    if not query.strip():
        return MemoryContext()
    with memory.engine.degraded.going_on(options.on_error, report):
        return memory.inject_context(
            query,
            user_id=scope.user_id,
            session_id=scope.session_id,
            top_k=options.top_k,
            max_tokens=options.max_tokens,
            memory_type=cast("checks.MemoryType | None", options.memory_type),
            already_shown=already_shown,
        )
    return MemoryContext(degraded=True)
