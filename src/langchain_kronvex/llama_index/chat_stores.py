"""Chat stores that outlive the process: one for LlamaIndex's buffers, one for its `Memory`."""

from __future__ import annotations

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import ConfigDict, Field, computed_field

from langchain_kronvex.llama_index.chat_log import Conversations
from langchain_kronvex.memory.memory import KronvexMemory


class KronvexChatStore(BaseChatStore):
    """Keeps the messages of `ChatMemoryBuffer` and its like, exactly and in order.

    >>> from llama_index.core.memory import ChatMemoryBuffer
    >>> store = KronvexChatStore(memory=KronvexMemory("sqlite://"), user_id="ana")
    >>> buffer = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="monday")
    >>> buffer.put(ChatMessage("I am Ana."))
    >>> store.get_messages("monday")[0].content
    'I am Ana.'

    A key is a session of the user (see `langchain_kronvex.llama_index`), so it has 1 to 255
    characters. Appending never loses what another process appends. Erasing is for good, and
    rewrites the file. Dumped, the store names its `location`, and holds neither the memory nor
    messages; to load a buffer, make the store anew.

    Attributes:
        memory: Where the messages are kept.
        user_id: Whose conversations; without it each conversation is a user of its own.
        remember: Also make each exchange recallable as a memory.

    Raises:
        InvalidInput: an id, a key or a message does not fit; nothing was stored.
    """

    memory: KronvexMemory = Field(exclude=True, repr=False)
    user_id: str | None = None
    remember: bool = True

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @classmethod
    def class_name(cls) -> str:
        """Return the name in dumps."""
        return "KronvexChatStore"

    @computed_field  # type: ignore[prop-decorator] # as pydantic asks
    @property
    def location(self) -> str:
        """Where the messages are kept, as a URL."""
        return self.memory.location

    @property
    def _kept(self) -> Conversations:
        return Conversations(self.memory, self.user_id, self.remember)

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Make these the messages under a key, at once: no reader sees neither or both."""
        self._kept.rewrite(key, messages)

    async def aset_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Async version of `set_messages`."""
        await self.memory.engine.threads.run(self._kept.rewrite, key, messages)

    def get_messages(self, key: str) -> list[ChatMessage]:
        """Return the messages under a key, oldest first."""
        return self._kept.messages(key)

    async def aget_messages(self, key: str) -> list[ChatMessage]:
        """Async version of `get_messages`."""
        return await self.memory.engine.threads.run(self._kept.messages, key)

    def add_message(self, key: str, message: ChatMessage) -> None:
        """Append a message; when this returns it survives the process."""
        self._kept.append(key, [message])

    async def async_add_message(self, key: str, message: ChatMessage) -> None:
        """Async version of `add_message`."""
        await self.memory.engine.threads.run(self._kept.append, key, [message])

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Erase the messages under a key and return them; what was remembered stays."""
        return self._kept.erase(key)

    async def adelete_messages(self, key: str) -> list[ChatMessage] | None:
        """Async version of `delete_messages`."""
        return await self.memory.engine.threads.run(self._kept.erase, key)

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Erase one message and return it; None when there is none at that place."""
        return self._kept.erase_at(key, idx)

    async def adelete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Async version of `delete_message`."""
        return await self.memory.engine.threads.run(self._kept.erase_at, key, idx)

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Erase the last message and return it; None when there is none."""
        return self._kept.erase_at(key, -1)

    async def adelete_last_message(self, key: str) -> ChatMessage | None:
        """Async version of `delete_last_message`."""
        return await self.memory.engine.threads.run(self._kept.erase_at, key, -1)

    def get_keys(self) -> list[str]:
        """Return the keys that hold messages, the last written to first.

        Without a `user_id` it looks through the sessions of all users.
        """
        return self._kept.keys()

    async def aget_keys(self) -> list[str]:
        """Async version of `get_keys`."""
        return await self.memory.engine.threads.run(self._kept.keys)


class KronvexAsyncChatStore(AsyncDBChatStore):
    """Keeps the messages of `Memory`, those in its queue and those it has archived.

    ::

        store = KronvexAsyncChatStore(memory=kronvex_memory, user_id="ana")
        memory = Memory.from_defaults(session_id="monday", chat_store=store)

    The conversations are those of `KronvexChatStore`, and so are the attributes and errors.
    """

    memory: KronvexMemory = Field(exclude=True, repr=False)
    user_id: str | None = None
    remember: bool = True

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @classmethod
    def class_name(cls) -> str:
        """Return the name in dumps."""
        return "KronvexAsyncChatStore"

    @property
    def _kept(self) -> Conversations:
        return Conversations(self.memory, self.user_id, self.remember)

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Return messages under a key, oldest first; with `status` None whatever their status."""
        found = await self.memory.engine.threads.run(self._kept.messages, key, _name(status))
        start = offset or 0
        return found[start:] if limit is None else found[start : start + limit]

    async def count_messages(
        self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE
    ) -> int:
        """Return how many messages are under a key."""
        return await self.memory.engine.threads.run(self._kept.count, key, _name(status))

    async def add_message(
        self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Append a message; when this returns it survives the process."""
        await self.memory.engine.threads.run(self._kept.append, key, [message], status.value)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Append messages, all or none."""
        await self.memory.engine.threads.run(self._kept.append, key, messages, status.value)

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Make these the messages under a key, whatever status the others had."""
        await self.memory.engine.threads.run(self._kept.rewrite, key, messages, status.value)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Erase the message at a place among all of a key, and return it; None for none."""
        return await self.memory.engine.threads.run(self._kept.erase_at, key, idx)

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Erase the messages under a key, or those of a status; what was remembered stays."""
        await self.memory.engine.threads.run(self._kept.erase, key, _name(status))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Erase the oldest active messages and return them."""
        return await self.memory.engine.threads.run(self._kept.erase_oldest, key, n)

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest active messages and return them."""
        return await self.memory.engine.threads.run(
            self._kept.archive_oldest, key, n, MessageStatus.ARCHIVED.value
        )

    async def get_keys(self) -> list[str]:
        """Return the keys that hold messages, the last written to first."""
        return await self.memory.engine.threads.run(self._kept.keys)


def _name(status: MessageStatus | None) -> str | None:
    return None if status is None else status.value
