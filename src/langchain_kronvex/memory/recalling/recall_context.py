"""Recalls the context of a prompt; a failure of the memory does not break the chat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from langchain_core.callbacks import CallbackManager
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel, ConfigDict, SkipValidation

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.filters import parse_filter
from langchain_kronvex.core.options import CheckedOptions
from langchain_kronvex.core.records import Scope
from langchain_kronvex.core.types import MemoryContext, MemoryTypes, OrderBy
from langchain_kronvex.memory.conversions import to_document
from langchain_kronvex.memory.engine import OnFailure
from langchain_kronvex.memory.memory import KronvexMemory

logger = logging.getLogger("langchain_kronvex")
RUN_NAME = "KronvexMemory"


class RecallConditions(CheckedOptions, BaseModel):
    """Which memories an adapter recalls; see `KronvexMemory.recall`.

    Raises:
        InvalidInput: an option does not fit.
    """

    memory_type: Annotated[MemoryTypes, SkipValidation] = None
    threshold: float = 0.0
    include_shared: bool = False
    filter: Annotated[Mapping[str, Any] | None, SkipValidation] = None
    since: datetime | None = None
    until: datetime | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True)

    def check_options(self) -> None:
        """Raise `InvalidInput` if a value does not fit."""
        checks.check_types(self.memory_type)
        checks.check_share(self.threshold, "threshold")
        checks.check_period(self.since, self.until)
        parse_filter(self.filter)

    def conditions(self) -> dict[str, Any]:
        """Return the conditions, as arguments of `recall` and `inject_context`."""
        return {name: getattr(self, name) for name in RecallConditions.model_fields}


class ContextOptions(RecallConditions):
    """Whose context a turn recalls, and how; see `KronvexMemory.inject_context`."""

    user_id: str | None = None
    session_id: str | None = None
    top_k: int = 8
    max_tokens: int | None = None
    profile_tokens: int | None = None
    order_by: OrderBy = "confidence"
    this_session_only: bool = False
    on_error: OnFailure = "degrade"

    def check_options(self) -> None:
        """Raise `InvalidInput` if a value does not fit."""
        super().check_options()
        Scope.of(self.user_id, self.session_id)
        checks.check_count(self.top_k, "top_k", least=1)
        checks.check_optional_count(self.max_tokens, "max_tokens", least=1)
        checks.check_optional_count(self.profile_tokens, "profile_tokens", least=1)


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
    with memory.engine.degraded.going_on(options.on_error, report):
        recall = partial(
            memory.inject_context, query, user_id=scope.user_id, session_id=scope.session_id,
            top_k=options.top_k, max_tokens=options.max_tokens, order_by=options.order_by,
            already_shown=already_shown, profile_tokens=options.profile_tokens,
            **options.conditions(),
        )  # fmt: skip
        return _traced(query, recall)
    return MemoryContext(degraded=True)


def _traced(query: str, recall: Callable[[], MemoryContext]) -> MemoryContext:
    """Recall as a retriever run below the run of the current context, so that traces show it."""
    config = ensure_config()
    manager = CallbackManager.configure(
        config.get("callbacks"),
        inheritable_tags=config.get("tags"),
        inheritable_metadata=config.get("metadata"),
    )
    run = manager.on_retriever_start(None, query, name=RUN_NAME)
    began = time.perf_counter()
    try:
        context = recall()
    except BaseException as error:
        run.on_retriever_error(error)
        raise
    milliseconds = 1000 * (time.perf_counter() - began)
    shown = context.memories if run.handlers else ()  # nobody looks, and documents take time
    run.on_retriever_end([to_document(memory) for memory in shown])
    logger.debug("recalled %d memories in %.1f ms", len(context.memories), milliseconds)
    return context
