"""Recalls inside a chain or an agent as retriever runs, so that traces show what was recalled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from langchain_core.callbacks import CallbackManager
from langchain_core.runnables.config import ensure_config

from langchain_kronvex.core.types import MemoryContext
from langchain_kronvex.memory.conversions import to_document

logger = logging.getLogger("langchain_kronvex")
RUN_NAME = "KronvexMemory"


def traced(query: str, recall: Callable[[], MemoryContext]) -> MemoryContext:
    """Recall as a retriever run below the run of the current context, if there is one."""
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
