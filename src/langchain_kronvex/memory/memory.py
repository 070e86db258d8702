"""`KronvexMemory`: everything a user can do with a memory, whatever backend keeps it.

Each verb is written once, as a plan (see `plans.py`); `both` makes its sync and async names.
Opening and closing are in `opening.py`, listing, changing and forgetting in `upkeep.py`,
changing the embeddings in `reindexing.py`, export and import in `moving.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.effects import Plan, both
from langchain_kronvex.core.messages import check_messages
from langchain_kronvex.core.types import (
    Memory,
    MemoryContext,
    MemoryDraft,
    OrderBy,
    RecalledMemory,
    Scope,
)
from langchain_kronvex.memory.chat_log import Conversation
from langchain_kronvex.memory.conversions import draft_record, exchange_records, to_memory
from langchain_kronvex.memory.embedder import store
from langchain_kronvex.memory.recaller import Wanted
from langchain_kronvex.memory.reindexing import MemoryReindexing
from langchain_kronvex.memory.transfer.transfer import MemoryMoving
from langchain_kronvex.memory.upkeep import MemoryUpkeep
from langchain_kronvex.storage.backend import Record

if TYPE_CHECKING:
    from langchain_kronvex.langchain.chat_message_histories import KronvexChatMessageHistory
    from langchain_kronvex.langchain.retrievers import KronvexRetriever


class KronvexMemory(MemoryUpkeep, MemoryReindexing, MemoryMoving):
    """A memory that outlives the process.

    One object serves many threads, event loops, users and sessions. Every verb has an `a…` twin
    to be awaited. Use it as a (sync or async) context manager, or call `close`.

    >>> with KronvexMemory("sqlite://") as memory:
    ...     _ = memory.remember("Ana is allergic to peanuts.", user_id="ana")
    ...     memory.recall("What is Ana allergic to?", user_id="ana")[0].content
    'Ana is allergic to peanuts.'

    Args:
        url: `sqlite:///memory.db` (a file), `sqlite://` (this process's memory),
            `postgresql://user:password@host/database`, `https://…` (a Kronvex API). Without it
            KRONVEX_URL, or else the hosted service when there is an API key, or else a file in the
            user's data folder; `location` says where.
        agent_id: Keeps agents apart in the same place; without it KRONVEX_AGENT_ID, or else
            "default".
        api_key: For a Kronvex API; without it KRONVEX_API_KEY.
        embeddings: What memories are found by besides their words. Without it the bundled table
            of English word vectors, offline and instant; False for words alone; any LangChain
            `Embeddings`, or the name of one as "provider:model" ("openai:text-embedding-3-small"),
            whose vectors are fetched in the background. The store keeps to what it was indexed
            with; `reindex` changes over.
        on_error: Called with every error of the background work and of every degraded turn.
        timeout_seconds: How long to wait for another process that is writing, or for a server.
        cache_megabytes: Bound of the users' indexes kept in RAM, in MiB.
        http_client: For a Kronvex API: an `httpx.Client` of yours, which is not closed.
        http_async_client: As `http_client`, an `httpx.AsyncClient` for the `a…` twins.
        outbox: For a Kronvex API: the file, or folder, of what is still to be sent; without it a
            file in the user's data folder.
        allow_http: Speak to a Kronvex API without encryption, also on other machines.
        postgres: For PostgreSQL: pools of yours, the schema, and more; see `PostgresOptions`.
        clock: Tells the time, as an aware datetime; for tests.

    Raises:
        ConfigurationError: the URL, the agent or the embeddings cannot be used.
        StoreError: the place cannot be written, is no store, or has a newer schema.
        EmbeddingMismatch: the memories were indexed with other embeddings.
    """

    # -- remembering ---------------------------------------------------------------------------

    def _remember(
        self,
        content: str,
        *,
        memory_type: str = "episodic",
        user_id: str | None = None,
        session_id: str | None = None,
        ttl_days: float | None = None,
        pinned: bool = False,
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> Plan[Memory]:
        """Store one memory. When this returns, it survives the process, even a `kill -9`.

        The same text of the same type in the same scope is stored once: its dates are renewed.

        Args:
            content: 1 to 1,048,576 characters.
            memory_type: `episodic` (what was said or happened), `semantic` (what is so),
                `procedural` (how to do things); also `fact`, `preference`, `context`.
            user_id: Whose memory it is.
            session_id: The conversation it belongs to; without a `user_id`, also the user.
            ttl_days: Days from `created_at` until it expires.
            pinned: Never expires.
            metadata: JSON values of your own.
            created_at: When it was said, aware; now by default.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
        """
        draft = MemoryDraft(
            content=content, memory_type=memory_type, user_id=user_id, session_id=session_id,
            ttl_days=ttl_days, pinned=pinned, metadata=metadata, created_at=created_at,
        )  # fmt: skip
        stored = yield from self._remember_many([draft])
        return stored[0]

    def _remember_many(self, drafts: Iterable[MemoryDraft]) -> Plan[list[Memory]]:
        """Store many memories at once: all of them or, when one does not fit, none.

        Raises:
            InvalidInput: a value of a draft does not fit; nothing was stored.
        """
        now = self._clock()
        return (yield from self._add([draft_record(draft, now) for draft in drafts], now))

    def _save_exchange(
        self,
        user_message: str,
        assistant_message: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        ttl_days: float | None = None,
    ) -> Plan[list[Memory]]:
        """Remember what a user said together with the answer; it is found by the user's words.

        Returns:
            One memory, or two when both texts together exceed the limit of one.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
        """
        now, scope = self._clock(), Scope.of(user_id, session_id)
        records = exchange_records(scope, user_message, assistant_message, ttl_days, now)
        return (yield from self._add(records, now))

    def _add(self, records: Sequence[Record], now: datetime) -> Plan[list[Memory]]:
        if not records:
            return []
        model = self._model.current
        stored = yield from store(self._backend, model, records, now)
        self.embed_soon(model)
        return [to_memory(record) for record in stored]

    remember, aremember = both(_remember)
    remember_many, aremember_many = both(_remember_many)
    save_exchange, asave_exchange = both(_save_exchange)

    # -- recalling -----------------------------------------------------------------------------

    def _recall(
        self,
        query: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 5,
        memory_type: str | None = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        order_by: OrderBy = "confidence",
    ) -> Plan[list[RecalledMemory]]:
        """Find the `top_k` most similar memories of one scope.

        Args:
            query: What to look for.
            user_id: Whose memories: all sessions, or the one of `session_id`.
            session_id: Without a `user_id`: the user of that name.
            top_k: How many, at least 1.
            memory_type: Only this type.
            threshold: The least similarity, 0 to 1.
            include_shared: Also look among the agent-level memories (stored with neither id).
            order_by: `confidence` or `similarity`; the most similar are chosen either way.

        Raises:
            InvalidInput: a value does not fit.
            EmbeddingsError: the embeddings failed on the query.
            EmbeddingMismatch: the memories have been reindexed with others meanwhile.
            StoreError: the store failed.
        """
        wanted = Wanted(
            query=query, scope=Scope.of(user_id, session_id), top_k=top_k,
            memory_type=memory_type, threshold=threshold, include_shared=include_shared,
            order_by=order_by,
        )  # fmt: skip
        return (yield from self._recaller.recall(wanted))

    def _inject_context(
        self,
        query: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 8,
        max_tokens: int | None = None,
        memory_type: str | None = None,
        already_shown: Collection[str] = (),
    ) -> Plan[MemoryContext]:
        """Recall, and write what was found as text for a prompt, one line for each memory.

        Args:
            query: What to look for: usually the user's message.
            user_id: As for `recall`.
            session_id: As for `recall`.
            top_k: At most this many memories.
            max_tokens: Leave out the least similar until the text has about this many tokens.
            memory_type: Only this type.
            already_shown: Texts that the prompt holds anyway; memories that equal one of them
                are left out.

        Returns:
            The text and its memories; `degraded` when the embeddings failed and memories were
            found by their words alone.
        """
        wanted = Wanted(
            query=query, scope=Scope.of(user_id, session_id), top_k=top_k,
            memory_type=memory_type, shown=already_shown, distinct=True,
        )  # fmt: skip
        return (yield from self._recaller.context(wanted, max_tokens))

    recall, arecall = both(_recall)
    inject_context, ainject_context = both(_inject_context)

    # -- messages ------------------------------------------------------------------------------

    def _load_messages(
        self, session_id: str, *, user_id: str | None = None, max_messages: int | None = None
    ) -> Plan[list[BaseMessage]]:
        """Return the messages of a session, oldest first.

        Args:
            session_id: The conversation.
            user_id: Whose conversation.
            max_messages: Only the last whole turns that hold at most this many messages.
        """
        if max_messages is not None:
            checks.check_count(max_messages, "max_messages", least=1)
        conversation = self._conversation(session_id, user_id)
        return (yield from conversation.load(max_messages, self._clock()))

    def _save_messages(
        self,
        messages: Sequence[BaseMessage],
        session_id: str,
        *,
        user_id: str | None = None,
        remember: bool = True,
        reply_to: str | None = None,
    ) -> Plan[str | None]:
        """Append messages to a session, durably and all or none, and remember their exchanges.

        Args:
            messages: In the order they were said.
            session_id: The conversation.
            user_id: Whose conversation.
            remember: Also make the exchanges recallable.
            reply_to: Id of the exchange that a leading answer completes; found when None.

        Returns:
            Id of the last remembered exchange, or None.
        """
        check_messages(messages)
        conversation = self._conversation(session_id, user_id)
        saved = yield from conversation.save(
            messages, self._clock(), remember=remember, reply_to=reply_to
        )
        if saved:
            self.embed_soon(conversation.model)
        return saved

    def _clear_messages(self, session_id: str, *, user_id: str | None = None) -> Plan[int]:
        """Erase the messages of a session for good; return how many. Memories stay."""
        return (yield from self._conversation(session_id, user_id).clear(self._clock()))

    def _conversation(self, session_id: str, user_id: str | None) -> Conversation:
        scope = Scope.of(user_id, checks.check_id(session_id, "session_id"))
        return Conversation(self._backend, scope, self._model.current)

    load_messages, aload_messages = both(_load_messages)
    save_messages, asave_messages = both(_save_messages)
    clear_messages, aclear_messages = both(_clear_messages)

    # -- LangChain -----------------------------------------------------------------------------

    def chat_history(
        self, session_id: str, user_id: str | None = None
    ) -> KronvexChatMessageHistory:
        """Return the chat history of a session: the factory `RunnableWithMessageHistory` wants."""
        from langchain_kronvex.langchain.chat_message_histories import KronvexChatMessageHistory

        return KronvexChatMessageHistory(session_id, memory=self, user_id=user_id)

    def as_retriever(self, k: int = 5, **options: Any) -> KronvexRetriever:
        """Return a retriever over the memories; `options` are `KronvexRetriever`'s fields."""
        from langchain_kronvex.langchain.retrievers import KronvexRetriever

        return KronvexRetriever(memory=self, k=k, **options)
