"""The step that fills `{memory_context}`: recalled memories for whatever goes to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict

from langchain_kronvex.core.messages import query_of, visible_texts
from langchain_kronvex.core.types import MemoryContext, Scope
from langchain_kronvex.langchain.chat_turn import DEGRADED_EVENT
from langchain_kronvex.langchain.prompts import as_messages, fill, input_of
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recall_context import ContextOptions, OnFailure, recall_context
from langchain_kronvex.memory.scope_from_config import scope_from


class KronvexMemoryContext(RunnableSerializable[Any, Any]):
    """Recalls for the input and gives the input back, in the shape it came, filled.

    - A dict comes back with `context_key` added; the query is `input_key` (text or messages).
    - Messages or a prompt value come back with `<memory_context>` in their system message (or
      anywhere in a text prompt) replaced; the query is the last human message.
    - A text is the query, and comes back as the context.

    What the messages under `history_key` (or the given messages) show already is left out.

    >>> memory = KronvexMemory("sqlite://")
    >>> _ = memory.remember("Ana prefers tea.", memory_type="semantic", user_id="ana")
    >>> step = KronvexMemoryContext(memory=memory, user_id="ana")
    >>> step.invoke({"input": "tea or coffee?"})["memory_context"][-16:]
    'Ana prefers tea.'

    Whose memory: `user_id` and `session_id` of the constructor, else of
    `config["configurable"]`. All sessions of the user are recalled, also when both are given,
    unless `this_session_only`.

    When the recall fails the context is empty and the chain goes on: the failure is logged,
    counted in `memory.stats()`, told to the memory's `on_error`, sent as the custom event
    `kronvex_memory_degraded`, and a dict comes back with `memory_degraded: True`.

    Attributes:
        memory: Where to recall.
        input_key: The key of the user's message.
        context_key: The key to add.
        history_key: The key of the messages that the prompt shows anyway.
        top_k: At most this many memories.
        max_tokens: Leave out the least similar until the context has about this many tokens.
        memory_type: Only this type.
        user_id: Whose memory, for every call.
        session_id: Which session, for every call.
        this_session_only: Recall the current session alone; it takes both ids.
        on_error: `degrade`, or `raise`.

    Raises:
        ScopeRequired: neither constructor nor config names a user or a session.
        InvalidInput: the input has no `input_key`, or is of another kind.
    """

    memory: KronvexMemory
    input_key: str = "input"
    context_key: str = "memory_context"
    history_key: str = "chat_history"
    top_k: int = 8
    max_tokens: int | None = None
    memory_type: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    this_session_only: bool = False
    on_error: OnFailure = "degrade"

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return the input, filled."""
        return self._call_with_config(self._fill, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._afill, input, config, **kwargs)

    def _fill(self, value: Any, run_manager: Any, config: RunnableConfig) -> Any:
        query, shown = self._reading(value)
        context = recall_context(self.memory, query, self._scope(config), self._options(), shown)
        if context.degraded:
            dispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return self._filled(value, context)

    async def _afill(self, value: Any, run_manager: Any, config: RunnableConfig) -> Any:
        query, shown = self._reading(value)
        context = await self.memory.engine.threads.run(
            recall_context, self.memory, query, self._scope(config), self._options(), shown
        )
        if context.degraded:
            await adispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return self._filled(value, context)

    def _scope(self, config: RunnableConfig) -> Scope:
        scope = scope_from(config, self.user_id, self.session_id)
        return scope if self.this_session_only else Scope(user_id=scope.owner)

    def _options(self) -> ContextOptions:
        return ContextOptions(
            top_k=self.top_k,
            max_tokens=self.max_tokens,
            memory_type=self.memory_type,
            on_error=self.on_error,
        )

    def _reading(self, value: Any) -> tuple[str, set[str]]:
        """Return the query, and the texts that the prompt shows anyway."""
        if isinstance(value, str):
            return value, set()
        if isinstance(value, Mapping):
            new = as_messages(input_of(value, self.input_key))
            history = as_messages(value.get(self.history_key) or [])
            return query_of(new), visible_texts([*history, *new])
        messages = as_messages(value)
        return query_of(messages), visible_texts(messages)

    def _filled(self, value: Any, context: MemoryContext) -> Any:
        if isinstance(value, str):
            return context.context
        if isinstance(value, Mapping):
            degraded = {"memory_degraded": True} if context.degraded else {}
            return {**value, self.context_key: context.context, **degraded}
        if isinstance(value, BaseMessage):
            return value
        return fill(value if isinstance(value, PromptValue) else as_messages(value), str(context))
