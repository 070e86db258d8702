"""Persistent chat stores: one for the buffers of LlamaIndex, one for its `Memory`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import BaseModel, ConfigDict, Field, computed_field

from langchain_kronvex.core.options import CheckedOptions
from langchain_kronvex.llama_index.chat_log import ChatKeys
from langchain_kronvex.memory.memory import KronvexMemory


class _StoreOnMemory(CheckedOptions, BaseModel):
    """What both chat stores have."""

    memory: KronvexMemory = Field(exclude=True, repr=False)
    user_id: str | None = None
    remember: bool = True

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Return the name in dumps."""
        return cls.__name__

    @property
    def _keys(self) -> ChatKeys:
        return ChatKeys(self.memory.engine, self.user_id, self.remember)


class KronvexChatStore(_StoreOnMemory, BaseChatStore):
    """Stores the messages of `ChatMemoryBuffer` and similar buffers, exactly and in order.

    Examples:
        >>> from llama_index.core.memory import ChatMemoryBuffer
        >>> store = KronvexChatStore(memory=KronvexMemory("sqlite://"), user_id="ana")
        >>> buffer = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="monday")
        >>> buffer.put(ChatMessage("I am Ana."))
        >>> store.get_messages("monday")[0].content
        'I am Ana.'

    A key is a session of the user (see `langchain_kronvex.llama_index`), so it has 1 to 255
    characters. Appending never loses messages that another process appends. Erasing is permanent
    and rewrites the file. A dump of the store contains its `location`, but neither the memory nor
    messages; to load a buffer, create the store again.

    Attributes:
        memory: The memory that stores the messages.
        user_id: The user of the conversations; without it, each conversation is its own user.
        remember: Also remember each exchange, so that it can be recalled.

    Raises:
        InvalidInput: an id, a key or a message does not fit; nothing was stored.
    """

    def __init__(self, *, location: str | None = None, **options: Any) -> None:
        """Create the store; the `location` that a dump contains has no effect."""
        super().__init__(**options)

    @computed_field  # type: ignore[prop-decorator] # as pydantic asks
    @property
    def location(self) -> str:
        """Where the messages are stored, as a URL."""
        return self.memory.location

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Replace the messages under a key in one step: readers see the old or the new ones."""
        self._keys.rewrite(key, messages)

    def get_messages(self, key: str) -> list[ChatMessage]:
        """Return the messages under a key, oldest first."""
        return self._keys.messages(key)

    def add_message(self, key: str, message: ChatMessage) -> None:
        """Append a message; once this returns, it survives the process."""
        self._keys.append(key, [message])

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Erase the messages under a key and return them; memories stay."""
        return self._keys.erase(key)

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Erase one message and return it; None if there is none at that place."""
        return self._keys.erase_at(key, idx)

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Erase the last message and return it; None if there is none."""
        return self._keys.erase_at(key, -1)

    def get_keys(self) -> list[str]:
        """Return the keys that have messages, last written first.

        Without a `user_id`, this goes through the sessions of all users.
        """
        return self._keys.keys()


class KronvexAsyncChatStore(_StoreOnMemory, AsyncDBChatStore):
    """Stores the messages of `Memory`, both those in its queue and archived ones.

    ```python
    store = KronvexAsyncChatStore(memory=kronvex_memory, user_id="ana")
    memory = Memory.from_defaults(session_id="monday", chat_store=store)
    ```

    It stores the same conversations as `KronvexChatStore`, with the same attributes and errors.
    """

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Return messages under a key, oldest first; with `status` None, those of any status."""
        found = await self.memory.engine.threads.read(self._keys.messages, key, _name(status))
        start = offset or 0
        return found[start:] if limit is None else found[start : start + limit]

    async def count_messages(
        self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE
    ) -> int:
        """Return how many messages are under a key."""
        return len(await self.get_messages(key, status))

    async def add_message(
        self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Append a message; once this returns, it survives the process."""
        await self.memory.engine.threads.run(self._keys.append, key, [message], status.value)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Append messages, all or none."""
        await self.memory.engine.threads.run(self._keys.append, key, messages, status.value)

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Replace the messages under a key, whatever their status."""
        await self.memory.engine.threads.run(self._keys.rewrite, key, messages, status.value)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Erase the message at a place among all under a key; return it, or None."""
        return await self.memory.engine.threads.run(self._keys.erase_at, key, idx)

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Erase the messages under a key, or those of a status; memories stay."""
        await self.memory.engine.threads.run(self._keys.erase, key, _name(status))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Erase the oldest active messages and return them."""
        return await self.memory.engine.threads.run(self._keys.erase_oldest, key, n)

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest active messages and return them."""
        return await self.memory.engine.threads.run(
            self._keys.archive_oldest, key, n, MessageStatus.ARCHIVED.value
        )

    async def get_keys(self) -> list[str]:
        """Return the keys that have messages, last written first."""
        return await self.memory.engine.threads.read(self._keys.keys)


def _name(status: MessageStatus | None) -> str | None:
    return None if status is None else status.value
