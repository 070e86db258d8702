"""A long-term memory of the user, as a block of LlamaIndex's `Memory`.

`Memory` passes messages to a block only when they leave its short-term queue, so the messages of a
short chat would never reach the block. Therefore the block also reads the messages that it gets
when its content is requested, and remembers the previous turn and the user's new message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.memory.memory import BaseMemoryBlock
from pydantic import Field, PrivateAttr

from langchain_kronvex.core.context_lines import approximate_tokens
from langchain_kronvex.core.errors import ScopeRequired
from langchain_kronvex.core.messages import exchanges, query_of, visible_texts
from langchain_kronvex.core.records import Scope
from langchain_kronvex.llama_index.message_codec import as_langchain
from langchain_kronvex.memory.chat_log import ChatLog
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recalling.recall_context import ContextOptions, recall_context

_MAX_SEEN = 4096  # exchanges that a block knows to be remembered
Exchange = tuple[str, str]  # the user's message and the answer; "" for none


class KronvexMemoryBlock(ContextOptions, BaseMemoryBlock[str]):
    """Recalls memories from all sessions of the user, and remembers the exchanges of this one.

    ```python
    block = KronvexMemoryBlock(memory=kronvex_memory, user_id="ana")
    memory = Memory.from_defaults(session_id="monday", memory_blocks=[block])
    ```

    Memories recalled for the user's last message are added to the prompt, one line for each;
    memories that repeat the chat are left out. Every exchange is remembered once, in the
    background: a question just before the model is called, its answer with the next question or
    when both leave the queue. `KronvexAsyncChatStore` remembers an answer at once; use both
    together.

    A `ReActAgent` drops its first system message. Either give it a `system_prompt`, which is then
    dropped, or give `Memory` the `insert_method="user"`; otherwise it never sees the memories.

    If the recall fails, the content is empty and the chat continues: the failure is logged,
    counted in `memory.stats()` and passed to the memory's `on_error`.

    Attributes:
        memory: The memory to search and to store exchanges in.
        user_id: The user; without it, the user is named by the session.
        session_id: The session of the exchanges; without it, the session of `Memory`.
        top_k: At most this many memories.
        max_tokens: Leave out the least similar until the text has about this many tokens.
        profile_tokens: Put the user's profile (`KronvexMemory.profile`), cut to about this many
            tokens, before the recalled memories. Nothing is said twice.
        memory_type: Recall only this type.
        this_session_only: Recall only from the current session.
        remember: Also remember exchanges; if False, the block only recalls.
        on_error: `degrade` (the chat continues without memories), or `raise`.
        name: The name of the block, in its tags in the prompt.
        description: The description of the block.
        priority: As defined by LlamaIndex: 0 is never truncated. If the window is full, lines are
            left out from the end.

    Raises:
        ScopeRequired: neither a user nor a session is named.
        InvalidInput: a value does not fit.
        MemoryClosed: the memory was closed.
    """

    memory: KronvexMemory = Field(exclude=True, repr=False)
    remember: bool = True
    name: str = "LongTermMemory"
    description: str | None = "What the user said in earlier conversations."
    priority: int = 1

    _seen: dict[tuple[Scope, Exchange], None] = PrivateAttr(default_factory=dict)

    async def _aget(
        self,
        messages: list[ChatMessage] | None = None,
        session_id: str | None = None,
        **block_kwargs: Any,
    ) -> str:
        return await self.memory.engine.threads.read(self._content, messages or [], session_id)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        await self.memory.engine.threads.run(self._take, messages)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Remove about this many tokens, as lines from the end; return None if no line is left."""
        lines = content.split("\n") if content else []
        while lines and tokens_to_truncate > 0:
            tokens_to_truncate -= approximate_tokens(lines.pop() + "\n")
        return "\n".join(lines) or None

    def _content(self, messages: Sequence[ChatMessage], session_id: str | None) -> str:
        scope, said = self._scope(session_id), self._said(messages)
        context = recall_context(self.memory, query_of(said), scope, self, visible_texts(said))
        self._remember(exchanges(said)[-2:], scope)
        return self._neutral(str(context))

    def _take(self, messages: Sequence[ChatMessage]) -> None:
        named = (message.additional_kwargs.get("session_id") for message in messages)
        scope = self._scope(next(named, None))
        self._remember(exchanges(self._said(messages)), scope)

    def _remember(self, said: Sequence[Exchange], scope: Scope) -> None:
        answered = {user for user, answer in said if answer}  # an agent may show a question twice
        fresh = [
            (user, answer)
            for user, answer in dict.fromkeys(said)
            if (answer or user not in answered) and (scope, (user, answer)) not in self._seen
        ]
        if not fresh or not self.remember:
            return
        with self.memory.engine.degraded.going_on(self.on_error):
            engine = self.memory.engine
            seen = engine.before_save.said
            stored = [(user and seen(user), answer and seen(answer)) for user, answer in fresh]
            log = ChatLog.of(engine, scope.session_id or scope.owner, scope.user_id)
            engine.writer.submit(scope, lambda: log.remember(stored))
            # Known here, so that a forgotten exchange does not return when it leaves the queue.
            self._seen |= dict.fromkeys((scope, pair) for pair in fresh)
        for oldest in list(self._seen)[:-_MAX_SEEN]:
            del self._seen[oldest]

    def _scope(self, session_id: str | None) -> Scope:
        session = session_id if self.session_id is None else self.session_id
        scope = Scope.of(self.user_id, session)
        if not scope:
            raise ScopeRequired("The block needs a user: pass user_id or session_id.")
        return scope

    def _said(self, messages: Sequence[ChatMessage]) -> list[BaseMessage]:
        """Return messages without the content that this block has added to them."""
        tag = re.compile(rf"<{re.escape(self.name)}>.*</{re.escape(self.name)}>", re.DOTALL)
        said = []
        for message in messages:
            own = [b for b in message.blocks if isinstance(b, TextBlock) and tag.search(b.text)]
            blocks = [block for block in message.blocks if block not in own]
            said.append(as_langchain(ChatMessage(role=message.role, blocks=blocks)))
        return said

    def _neutral(self, context: str) -> str:
        """Neutralise tags in memories that could pass for tags of the prompt template."""
        names = f"memory|content_block|{re.escape(self.name)}"
        return re.sub(rf"<(?=\s*/?\s*(?:{names})(?!\w))", "(", context, flags=re.IGNORECASE)
