"""Persistent chat histories for `RunnableWithMessageHistory`."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import var_child_runnable_config

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.options import warn_once
from langchain_kronvex.memory.chat_log import ChatLog
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.scope_from_config import check_memory

_USER_UNUSED = (
    "RunnableWithMessageHistory: the user_id in the config does not reach the history, so the "
    "session_id is its user. Pass history_factory_config with a ConfigurableFieldSpec for "
    "session_id and one for user_id."
)


class KronvexChatMessageHistory(BaseChatMessageHistory):
    """The messages of one session of one user, stored exactly and in order.

    Pass `memory.chat_history` itself to `RunnableWithMessageHistory`:

    ```python
    chain = RunnableWithMessageHistory(prompt | model, memory.chat_history, ...)
    ```

    The session is then `config["configurable"]["session_id"]`. `history_factory_config` with one
    `ConfigurableFieldSpec`, for `thread_id`, names the session by that; with two, for `session_id`
    and `user_id`, it also names the user.

    Args:
        session_id: The conversation.
        memory: The memory that stores it.
        user_id: The user of the conversation; without it, the user is named `session_id`.
        max_messages: `messages` returns only the last whole turns that hold at most this many
            messages; a turn is a user's message and its answer. All messages are stored.
        remember: Also remember each exchange, so that it can be recalled.

    Raises:
        InvalidInput: an id or `max_messages` does not fit.
    """

    def __init__(
        self,
        session_id: str,
        *,
        memory: KronvexMemory,
        user_id: str | None = None,
        max_messages: int | None = None,
        remember: bool = True,
    ) -> None:
        self.session_id = checks.check_id(session_id, "session_id")
        self.user_id = checks.check_optional_id(user_id, "user_id")
        checks.check_optional_count(max_messages, "max_messages", least=1)
        self.memory = check_memory(memory)
        self.max_messages = max_messages
        self.remember = remember
        self._read_in_run: list[BaseMessage] | None = None

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override] # a field in the base
        """The stored messages, oldest first."""
        in_run = self._in_run()
        if self._read_in_run is not None and in_run:
            return list(self._read_in_run)
        messages = self.memory.load_messages(
            self.session_id, user_id=self.user_id, max_messages=self.max_messages
        )
        self._read_in_run = list(messages) if in_run else None
        return messages

    async def aget_messages(self) -> list[BaseMessage]:
        """Async version of `messages`."""
        return await self.memory.engine.threads.read(lambda: self.messages)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages, all or none; once this returns, they survive the process."""
        self._read_in_run = None
        self.memory.save_messages(
            messages, self.session_id, user_id=self.user_id, remember=self.remember
        )

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Async version of `add_messages`."""
        await self.memory.engine.threads.run(self.add_messages, messages)

    def delete(self, message_id: str | BaseMessage) -> int:
        """Erase one message permanently, with the results of its tool calls.

        A remembered exchange stays until `memory.forget`.

        Args:
            message_id: The id of the message; or, if it has none, a message equal to it.

        Returns:
            How many messages were erased.

        Raises:
            InvalidInput: it is neither an id nor a message.
        """
        self._read_in_run = None
        return ChatLog.of(self.memory.engine, self.session_id, self.user_id).delete(message_id)

    async def adelete(self, message_id: str | BaseMessage) -> int:
        """Async version of `delete`."""
        return await self.memory.engine.threads.run(self.delete, message_id)

    def clear(self) -> None:
        """Erase the messages permanently. Remembered exchanges stay until `memory.forget`."""
        self._read_in_run = None
        self.memory.clear_messages(self.session_id, user_id=self.user_id)

    async def aclear(self) -> None:
        """Async version of `clear`."""
        await self.memory.engine.threads.run(self.clear)

    def _in_run(self) -> bool:
        # `RunnableWithMessageHistory` reads the history before and after a run, and saves the
        # messages beyond the length of the second reading. If another writer added messages in
        # between, the user's message would be lost; so both readings of a run return the same.
        config = var_child_runnable_config.get() or {}
        configurable = config.get("configurable", {})
        in_run = configurable.get("message_history") is self
        if in_run and self.user_id is None and configurable.get("user_id") is not None:
            warn_once(_USER_UNUSED)
        return in_run
