"""A chain step that fills `{memory_context}` with recalled memories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.base import coerce_to_runnable
from pydantic import ConfigDict

from langchain_kronvex.core.messages import query_of, visible_texts
from langchain_kronvex.core.types import MemoryContext
from langchain_kronvex.langchain.chat_turn import DEGRADED_EVENT
from langchain_kronvex.langchain.prompts import as_messages, fill, input_of, with_place
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recalling.recall_context import ContextOptions, recall_context
from langchain_kronvex.memory.scope_from_config import scope_from


class KronvexMemoryContext(ContextOptions, RunnableSerializable[Any, Any]):
    """Recalls memories for its input, and returns the input with the context filled in.

    - A dict is returned with `context_key` added; the query is `input_key` (text or messages).
    - Messages or a prompt value are returned with `<memory_context>` in their system message (or
      anywhere in a text prompt) replaced; the query is the last human message.
    - A text is the query; the context is returned.

    Memories that repeat the messages under `history_key` (or the given messages) are left out.

    Examples:
        >>> memory = KronvexMemory("sqlite://")
        >>> _ = memory.remember("Ana prefers tea.", memory_type="semantic", user_id="ana")
        >>> step = KronvexMemoryContext(memory=memory, user_id="ana")
        >>> step.invoke({"input": "tea or coffee?"})["memory_context"][-16:]
        'Ana prefers tea.'

    The user and the session are named by the constructor, or else by `config["configurable"]`.
    Memories of all sessions of the user are recalled, also if both ids are given, unless
    `this_session_only` is set.

    If the recall fails, the context is empty and the chain continues: the failure is logged,
    counted in `memory.stats()`, passed to the memory's `on_error` and sent as the custom event
    `kronvex_memory_degraded`; a dict is returned with `memory_degraded: True`.

    Attributes:
        memory: The memory to search.
        input_key: The key of the user's message.
        context_key: The key to add.
        history_key: The key of the messages that the prompt contains already.
        top_k: At most this many memories.
        max_tokens: Leave out the least similar until the context has about this many tokens.
        profile_tokens: Put the user's profile (`KronvexMemory.profile`), cut to about this many
            tokens, before the recalled memories. Nothing is said twice.
        order_by: `confidence`, where an update comes before what it updates, or `similarity`.
        memory_type: Only this type, or these types.
        threshold: The lowest similarity, from 0 to 1.
        include_shared: Also recall the agent-level memories (stored with neither id).
        filter: Conditions on the metadata; see `KronvexMemory.recall`.
        since: Only what was said at or after this moment, an aware datetime.
        until: Only what was said before this moment, an aware datetime.
        user_id: The user, for every call.
        session_id: The session, for every call; without a `user_id`, also the user.
        this_session_only: Recall only from the current session.
        on_error: `degrade` (the chain continues without memories), or `raise`.

    Raises:
        ScopeRequired: neither the constructor nor the config names a user or a session.
        InvalidInput: the input has no `input_key`, or has another type; or an option does not fit.
    """

    memory: KronvexMemory
    input_key: str = "input"
    context_key: str = "memory_context"
    history_key: str = "chat_history"

    model_config = ConfigDict(extra="forbid")

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return the input with the context filled in."""
        return self._call_with_config(self._fill, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._afill, input, config, **kwargs)

    def _fill(self, value: Any, run_manager: Any, config: RunnableConfig) -> Any:
        context = self._recall(value, config)
        if context.degraded:
            dispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return self._filled(value, context)

    async def _afill(self, value: Any, run_manager: Any, config: RunnableConfig) -> Any:
        context = await self.memory.engine.threads.read(self._recall, value, config)
        if context.degraded:
            await adispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return self._filled(value, context)

    def _recall(self, value: Any, config: RunnableConfig) -> MemoryContext:
        query, already_shown = self._query(value)
        scope = scope_from(config, self.user_id, self.session_id)
        return recall_context(self.memory, query, scope, self, already_shown)

    def _query(self, value: Any) -> tuple[str, set[str]]:
        """Return the query, and the texts that the prompt contains already."""
        if isinstance(value, str):
            return value, set()
        history: list[BaseMessage] = []
        if isinstance(value, Mapping):
            history = as_messages(value.get(self.history_key) or [])
            value = input_of(value, self.input_key)
        new = as_messages(value)
        return query_of(new), visible_texts([*history, *new])

    def _filled(self, value: Any, context: MemoryContext) -> Any:
        if isinstance(value, str):
            return context.context
        if isinstance(value, Mapping):
            degraded = {"memory_degraded": True} if context.degraded else {}
            return {**value, self.context_key: context.context, **degraded}
        if isinstance(value, BaseMessage):
            return value
        return fill(value if isinstance(value, PromptValue) else as_messages(value), str(context))

    def __or__(self, other: Any) -> Any:
        """Return the sequence of this step and the next, whose prompts are filled."""
        return super().__or__(with_place(coerce_to_runnable(other), self.context_key))
