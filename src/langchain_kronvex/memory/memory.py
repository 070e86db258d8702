"""`KronvexMemory`: everything users can do with a memory, in any store.

Every verb is written out, sync and async. The sync one calls the engine or one of its parts; the
async one runs the sync one in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage
from pydantic import SecretStr

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.background import OnError
from langchain_kronvex.core.config.settings import PostgresOptions, Settings
from langchain_kronvex.core.explanation import Explanation
from langchain_kronvex.core.filters import parse_filter
from langchain_kronvex.core.messages import check_messages
from langchain_kronvex.core.progress import Progress
from langchain_kronvex.core.records import Scope, Selection
from langchain_kronvex.core.types import (
    UNCHANGED,
    Memory,
    MemoryContext,
    MemoryDraft,
    MemoryStats,
    MemoryTypes,
    MoveSummary,
    OrderBy,
    RecalledMemory,
    Retention,
    SessionSummary,
    Unchanged,
    UserSummary,
)
from langchain_kronvex.core.validation import MemoryType, check_id, checked_calls
from langchain_kronvex.embeddings.providers import EmbeddingsChoice
from langchain_kronvex.memory.chat_log import ChatLog, forget
from langchain_kronvex.memory.conversions import (
    changed_record,
    draft_records,
    exchange_records,
    restored_record,
    to_memory,
)
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.memory.listing import hint_at_users, history, listed, selection, users
from langchain_kronvex.memory.profile.contexts import profile, prompt_context
from langchain_kronvex.memory.reindexing import Reindexing
from langchain_kronvex.memory.reopening import settings_for, settings_to_copy
from langchain_kronvex.memory.retainer import expire
from langchain_kronvex.memory.transfer.transfer import Export, Import

if TYPE_CHECKING:
    import httpx
    from langchain_core.cross_encoders import BaseCrossEncoder
    from langchain_core.documents.compressor import BaseDocumentCompressor

    from langchain_kronvex.langchain.chat_message_histories import KronvexChatMessageHistory
    from langchain_kronvex.langchain.retrievers import KronvexRetriever

Self = TypeVar("Self", bound="KronvexMemory")


@checked_calls
class KronvexMemory:
    """A memory that outlives the process.

    One object can be used by many threads, event loops, users and sessions at once. Every verb has
    an async version with a name that starts with `a`. Use the memory as a (sync or async) context
    manager, or call `close`.

    Examples:
        >>> with KronvexMemory("sqlite://") as memory:
        ...     _ = memory.remember("Ana is allergic to peanuts.", user_id="ana")
        ...     memory.recall("What is Ana allergic to?", user_id="ana")[0].content
        'Ana is allergic to peanuts.'

    A pickle or deep copy of it, or of a chain that contains it, opens the same store again with the
    same settings. A pickle contains them, also the password of the URL and an `api_key` that was
    passed here: keep it like a secret. A key from KRONVEX_API_KEY is not in it. A memory in RAM
    (`sqlite://`) cannot be pickled, nor one whose pool, client or embeddings cannot.

    Args:
        url: `sqlite:///memory.db` (a file), `sqlite://` (in this process's RAM),
            `postgresql://user:password@host/database`, or `https://…` (a Kronvex API). The default
            is KRONVEX_URL, else the hosted service when there is an API key, else a file in the
            user's data folder; `location` says which.
        agent_id: Keeps agents apart in the same place. The default is KRONVEX_AGENT_ID, else
            "default".
        api_key: For a Kronvex API. The default is KRONVEX_API_KEY.
        embeddings: How memories are found, in addition to their words. The default is the bundled
            word vectors of eight languages, which need no network and almost no time. False means
            words alone. Otherwise any LangChain `Embeddings`, or the name of one as
            "provider:model" ("openai:text-embedding-3-small"); their vectors are fetched in the
            background. A store keeps the embeddings it was indexed with until `reindex` changes
            them.
        before_save: Called with each text before it is stored anywhere: contents and metadata of
            memories, chat messages with the arguments of their tool calls, items of stores. It
            returns the text to store, which may be another one (`redact_secrets` is a ready one),
            or None to refuse it; see docs/privacy.md. It is not called with ids, keys, names and
            encoded files, nor by `import_`. Async verbs call it in a thread. It must return the
            same for the same text, and may be called again for it.
        rerank: A cross-encoder or a document compressor of LangChain. `recall` and `inject_context`
            give it four times as many candidates as are wanted, most similar first, and return
            those it puts first, in its order; by default, updates still come before what they
            update. A compressor may also drop candidates. Scores and `threshold` stay those of the
            memory. If it fails, the memory's own order counts, and the error is logged, counted in
            `stats().degraded` and passed to `on_error`. Async verbs call it in a thread.
        on_error: Called with every error of the background work and of every degraded turn.
        timeout_seconds: How long to wait for another process that is writing, or for a server.
        cache_megabytes: The most RAM for the users' indexes, in MiB.
        max_threads: How many async saves, and how many async reads, may run at once, each in a
            thread of the memory's own. Raise it for slow embeddings or a distant server.
            Reads that hardly wait use fewer: two on SQLite, four on PostgreSQL.
        http_client: For a Kronvex API: an `httpx.Client` of yours, which is not closed.
        outbox: For a Kronvex API: the file, or folder, of the writes still to be sent. The default
            is a file in the user's data folder.
        allow_http: Talk to a Kronvex API on another machine without encryption.
        postgres: For PostgreSQL: your own pool, the schema, and more; see `PostgresOptions`.
        retention: How many memories of each user are kept, and for how long if they are not used;
            see `Retention`. Others are erased in the background, at opening and at most every ten
            minutes after a write, and by `expire`. The default is to keep everything.
        read_only: Open a store that exists, and change nothing: no file or table is made, upgraded
            or cleaned, no recall is counted, nothing is sent from an outbox. Verbs that write raise
            `NotSupported`. (A Kronvex server counts recalls itself.)
        clock: Returns the time as an aware datetime; for tests.

    Attributes:
        engine: For the package's own adapters; it may change in any version.

    Raises:
        ConfigurationError: the URL, the agent or the embeddings cannot be used.
        NotSupported: a retention with a Kronvex API.
        StoreError: the place cannot be written, is not a store, or has a newer schema.
        EmbeddingMismatch: the memories were indexed with other embeddings.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        agent_id: str | None = None,
        api_key: str | SecretStr | None = None,
        embeddings: EmbeddingsChoice = None,
        before_save: Callable[[str], str | None] | None = None,
        rerank: BaseCrossEncoder | BaseDocumentCompressor | None = None,
        on_error: OnError | None = None,
        timeout_seconds: float = 30.0,
        cache_megabytes: int = 256,
        max_threads: int = 32,
        http_client: httpx.Client | None = None,
        outbox: str | Path | None = None,
        allow_http: bool = False,
        postgres: PostgresOptions | None = None,
        retention: Retention | None = None,
        read_only: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        settings = Settings(
            # As a secret, it never appears in a repr of the settings.
            api_key=SecretStr(api_key) if isinstance(api_key, str) else api_key,
            before_save=before_save,
            rerank=rerank,
            on_error=on_error,
            timeout_seconds=timeout_seconds,
            cache_megabytes=cache_megabytes,
            max_threads=max_threads,
            http_client=http_client,
            outbox=outbox,
            allow_http=allow_http,
            postgres=postgres,
            retention=retention,
            read_only=read_only,
            clock=clock,
        )
        self.engine = Engine(url, agent_id, embeddings, settings)

    def for_agent(self: Self, agent_id: str, **changes: Any) -> Self:
        """Open another agent's memory in the same place, with the same embeddings.

        Args:
            agent_id: The other agent.
            changes: Arguments of the constructor that should differ.

        Returns:
            A memory for the caller to close. With `sqlite://` it is a new, empty one. If you named
            a file for the outbox of this memory, the outbox of the other is a file next to it.
        """
        return type(self)(**{**settings_for(self.engine, agent_id), **changes})

    @property
    def agent_id(self) -> str:
        """The agent that these memories belong to."""
        return self.engine.agent_id

    @property
    def location(self) -> str:
        """Where the memories are kept, as a URL without a password."""
        return self.engine.backend.location

    def __repr__(self) -> str:
        return f"KronvexMemory({self.location!r}, agent_id={self.agent_id!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **settings_to_copy(self.engine, pickled=True)), ()

    def __deepcopy__(self: Self, memo: object) -> Self:
        return type(self)(**settings_to_copy(self.engine, pickled=False))

    # -- remembering ---------------------------------------------------------------------------

    def remember(
        self,
        content: str,
        *,
        memory_type: MemoryType = "episodic",
        user_id: str | None = None,
        session_id: str | None = None,
        ttl_days: float | None = None,
        pinned: bool = False,
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
        valid_from: datetime | None = None,
        supersedes: str | Sequence[str] | None = None,
    ) -> Memory:
        """Store one memory. Once this returns, the memory survives even a `kill -9`.

        The same text of the same type in the same scope is stored once: its dates are renewed.

        Args:
            content: 1 to 1,048,576 characters.
            memory_type: `episodic` (something said or done), `semantic` (a fact), `procedural`
                (how to do something); also `fact`, `preference`, `context`.
            user_id: The user it belongs to.
            session_id: The conversation it belongs to; without a `user_id`, also the user.
            ttl_days: Days from `created_at` until it expires.
            pinned: The memory never expires.
            metadata: Your own JSON values.
            created_at: When it was said, as an aware datetime; now by default.
            valid_from: Since when it is true, as an aware datetime; `created_at` by default.
            supersedes: The id, or ids, of the user's memories that this one replaces. They are
                kept, but only `history`, `get`, `as_of` and `include_superseded` show them;
                `restore` brings one back. If one of them has been superseded already, the memory
                that took its place is superseded, so that there is one line of successors.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
            MemoryNotFound: this user has no memory with an id in `supersedes`; nothing was stored.
            SaveRefused: `before_save` refused a text; nothing was stored.
        """
        draft = MemoryDraft(
            content=content, memory_type=memory_type, user_id=user_id, session_id=session_id,
            ttl_days=ttl_days, pinned=pinned, metadata=metadata, created_at=created_at,
            valid_from=valid_from, supersedes=supersedes,
        )  # fmt: skip
        return self.remember_many([draft])[0]

    async def aremember(
        self,
        content: str,
        *,
        memory_type: MemoryType = "episodic",
        user_id: str | None = None,
        session_id: str | None = None,
        ttl_days: float | None = None,
        pinned: bool = False,
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
        valid_from: datetime | None = None,
        supersedes: str | Sequence[str] | None = None,
    ) -> Memory:
        """Async version of `remember`."""
        draft = MemoryDraft(
            content=content, memory_type=memory_type, user_id=user_id, session_id=session_id,
            ttl_days=ttl_days, pinned=pinned, metadata=metadata, created_at=created_at,
            valid_from=valid_from, supersedes=supersedes,
        )  # fmt: skip
        return (await self.aremember_many([draft]))[0]

    def remember_many(self, drafts: Iterable[MemoryDraft]) -> list[Memory]:
        """Store many memories at once; if one of them is not valid, none is stored.

        Raises:
            InvalidInput: a value of a draft does not fit; nothing was stored.
            MemoryNotFound: a superseded memory does not exist; nothing was stored.
            SaveRefused: `before_save` refused a text; nothing was stored.
        """
        now = self.engine.clock()
        records = draft_records(drafts, now)
        if self.engine.before_save.function is not None:
            records = list(map(self.engine.before_save.memory, records))
        stored = self.engine.add(records, now)
        return [to_memory(record) for record in stored]

    async def aremember_many(self, drafts: Iterable[MemoryDraft]) -> list[Memory]:
        """Async version of `remember_many`."""
        return await self.engine.threads.run(self.remember_many, drafts)

    def save_exchange(
        self,
        user_message: str,
        assistant_message: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        ttl_days: float | None = None,
    ) -> list[Memory]:
        """Remember a user's message together with the answer; it is found by the user's words.

        Returns:
            One memory, or two if both texts together exceed the limit of one memory.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
            SaveRefused: `before_save` refused a text; nothing was stored.
        """
        now, scope = self.engine.clock(), Scope.of(user_id, session_id)
        said = checks.check_content(user_message, "user_message")
        answer = checks.check_content(assistant_message, "assistant_message")
        said, answer = map(self.engine.before_save.text, (said, answer))
        records = exchange_records(scope, said, answer, ttl_days, now)
        return [to_memory(record) for record in self.engine.add(records, now)]

    async def asave_exchange(
        self,
        user_message: str,
        assistant_message: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        ttl_days: float | None = None,
    ) -> list[Memory]:
        """Async version of `save_exchange`."""
        return await self.engine.threads.run(
            self.save_exchange, user_message, assistant_message,
            user_id=user_id, session_id=session_id, ttl_days=ttl_days,
        )  # fmt: skip

    # -- recalling -----------------------------------------------------------------------------

    def recall(
        self,
        query: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 5,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        order_by: OrderBy = "confidence",
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
    ) -> list[RecalledMemory]:
        """Find the `top_k` most similar memories of one scope.

        Args:
            query: The text to look for.
            user_id: The user: all of their sessions, or only the one named by `session_id`.
            session_id: Without a `user_id`: the user of that name.
            top_k: How many, at least 1.
            memory_type: Only this type, or these types.
            threshold: The lowest similarity, from 0 to 1.
            include_shared: Also search the agent-level memories (stored with neither id).
            order_by: `confidence`, where an update comes before what it updates, or `similarity`;
                in both cases the most similar are chosen.
            filter: Conditions on the metadata: `{"topic": "work", "n": {"$gte": 3}}`, with `$eq`,
                `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$and`, `$or`, `$nor` and `$not`. A nested
                field is named by its path, `"user.name"`.
            since: Only what was said (`created_at`) at or after this moment, an aware datetime.
            until: Only what was said before this moment, an aware datetime.
            as_of: Only what was true at this moment, superseded or not: `valid_from` is not later,
                and `valid_until` is.
            include_superseded: Also find memories that others have superseded.

        Raises:
            InvalidInput: a value does not fit.
            EmbeddingsError: the embeddings failed on the query.
            EmbeddingMismatch: the memories have been reindexed with other embeddings.
            StoreError: the store failed.
        """
        recaller = self.engine.recaller
        request = recaller.request(
            query, Scope.of(user_id, session_id), top_k, memory_type,
            threshold=threshold, include_shared=include_shared, filter=filter, since=since,
            until=until, as_of=as_of, include_superseded=include_superseded,
        )  # fmt: skip
        found = recaller.recall(request, order_by)
        if not found:
            hint_at_users(self.engine, request.scope)
        return found

    async def arecall(
        self,
        query: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 5,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        order_by: OrderBy = "confidence",
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
    ) -> list[RecalledMemory]:
        """Async version of `recall`."""
        return await self.engine.threads.read(
            self.recall, query, user_id=user_id, session_id=session_id, top_k=top_k,
            memory_type=memory_type, threshold=threshold, include_shared=include_shared,
            order_by=order_by, filter=filter, since=since, until=until, as_of=as_of,
            include_superseded=include_superseded,
        )  # fmt: skip

    def explain(
        self,
        query: str,
        id: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 5,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        order_by: OrderBy = "confidence",
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
    ) -> Explanation:
        """Explain why `recall` with the same arguments returns a memory, or does not.

        It is for a look at one memory, and slower than `recall`. It counts no access, but a Kronvex
        server counts what it returns.

        Args:
            query: As for `recall`, and so are all arguments after the id.
            id: The memory: one of the user's. It may have expired, if it is still stored.
            user_id: As for `recall`.
            session_id: As for `recall`.
            top_k: As for `recall`.
            memory_type: As for `recall`.
            threshold: As for `recall`.
            include_shared: As for `recall`.
            order_by: As for `recall`.
            filter: As for `recall`.
            since: As for `recall`.
            until: As for `recall`.
            as_of: As for `recall`.
            include_superseded: As for `recall`.

        Returns:
            The shares of all features in the scores of the memory, its place, and what keeps it out
            of the results. `print` shows it as a table.

        Raises:
            InvalidInput: a value does not fit.
            MemoryNotFound: the user has no memory with this id.
            NotSupported: the memories are on a Kronvex server that does not explain.
            EmbeddingsError: the embeddings failed on the query.
            EmbeddingMismatch: the memories have been reindexed with other embeddings.
            StoreError: the store failed.
        """
        recaller = self.engine.recaller
        request = recaller.request(
            query, Scope.of(user_id, session_id), top_k, memory_type,
            threshold=threshold, include_shared=include_shared, filter=filter, since=since,
            until=until, as_of=as_of, include_superseded=include_superseded,
        )  # fmt: skip
        return recaller.explain(request, id, order_by)

    async def aexplain(
        self,
        query: str,
        id: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 5,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        order_by: OrderBy = "confidence",
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
    ) -> Explanation:
        """Async version of `explain`."""
        return await self.engine.threads.read(
            self.explain, query, id, user_id=user_id, session_id=session_id, top_k=top_k,
            memory_type=memory_type, threshold=threshold, include_shared=include_shared,
            order_by=order_by, filter=filter, since=since, until=until, as_of=as_of,
            include_superseded=include_superseded,
        )  # fmt: skip

    def inject_context(
        self,
        query: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 8,
        max_tokens: int | None = None,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        order_by: OrderBy = "confidence",
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        already_shown: Collection[str] = (),
        profile_tokens: int | None = None,
    ) -> MemoryContext:
        """Recall, and return the memories as text for a prompt, one line for each.

        A blank query gives the `profile`, within the same scope, `top_k` and `max_tokens`. So does
        a query that nothing answers: a greeting, one that asks for all that is known ("What do you
        know about me?", "general context"), or one that shares no word with what was found, of
        which the best has a similarity below 0.15. With a `threshold`, only a blank one does.

        Args:
            query: The text to look for: usually the user's message.
            user_id: As for `recall`.
            session_id: As for `recall`.
            top_k: At most this many memories.
            max_tokens: Leave out the least similar until the text has about this many tokens.
            memory_type: Only this type, or these types.
            threshold: The lowest similarity, from 0 to 1.
            include_shared: As for `recall`.
            order_by: As for `recall`.
            filter: As for `recall`.
            since: As for `recall`.
            until: As for `recall`.
            as_of: As for `recall`.
            already_shown: Texts that the prompt contains already; memories equal to one of them
                are left out.
            profile_tokens: Put the profile, cut to about this many tokens, before what was
                recalled. Nothing is said twice.

        Returns:
            The text and its memories, marked `degraded` if the embeddings failed and memories were
            found by their words alone.
        """
        scope, recaller = Scope.of(user_id, session_id), self.engine.recaller
        request = recaller.request(
            query, scope, top_k, memory_type, threshold=threshold, include_shared=include_shared,
            filter=filter, since=since, until=until, as_of=as_of, may_be_blank=True,
        )  # fmt: skip
        found = prompt_context(
            self.engine, request, max_tokens, already_shown, order_by, profile_tokens
        )
        if not found.memories:
            hint_at_users(self.engine, scope)
        return found

    async def ainject_context(
        self,
        query: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 8,
        max_tokens: int | None = None,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        order_by: OrderBy = "confidence",
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        already_shown: Collection[str] = (),
        profile_tokens: int | None = None,
    ) -> MemoryContext:
        """Async version of `inject_context`."""
        return await self.engine.threads.read(
            self.inject_context, query, user_id=user_id, session_id=session_id, top_k=top_k,
            max_tokens=max_tokens, memory_type=memory_type, threshold=threshold,
            include_shared=include_shared, order_by=order_by, filter=filter, since=since,
            until=until, as_of=as_of, already_shown=already_shown, profile_tokens=profile_tokens,
        )  # fmt: skip

    def profile(self, user_id: str, *, max_tokens: int | None = None) -> MemoryContext:
        """Return what is true of a user now, as text for a prompt, without a question.

        First the documents of `KronvexProfile`, one line for each field; then standing instructions
        (`procedural` memories) and other statements (of every type but `episodic`), those that are
        pinned first; then what was said last, unless statements that were derived from it say the
        same. Each of these begins with the newest. What is too long for the rest of the budget is
        left out. Only as much is read as may fit, however many memories the user has.

        Args:
            user_id: The user; all of their sessions.
            max_tokens: About how long the text may be; 1,000 tokens by default.

        Returns:
            The text and its memories. Nothing was asked, so their `similarity` and `probability`
            are 0, and `confidence` consists of recency and frequency. No access is counted.

        Raises:
            InvalidInput: a value does not fit.
            StoreError: the store failed.
        """
        user = check_id(user_id, "user_id")
        return profile(self.engine, Scope(user), max_tokens)

    async def aprofile(self, user_id: str, *, max_tokens: int | None = None) -> MemoryContext:
        """Async version of `profile`."""
        return await self.engine.threads.read(self.profile, user_id, max_tokens=max_tokens)

    # -- listing, changing, forgetting ---------------------------------------------------------

    def memories(
        self,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        memory_type: MemoryTypes = None,
        limit: int = 50,
        offset: int = 0,
        include_shared: bool = False,
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
        all_users: bool = False,
    ) -> list[Memory]:
        """List the memories of one scope, newest first; with neither id the agent-level ones.

        The conditions are those of `recall`. With `all_users`, the memories of all users of this
        agent are listed, and the agent-level ones: for administration, never for one user.

        Raises:
            InvalidInput: a value does not fit, or `all_users` comes with an id.
        """
        chosen = selection(
            Scope.of(user_id, session_id), memory_type, include_shared=include_shared, since=since,
            until=until, as_of=as_of, include_superseded=include_superseded, all_users=all_users,
        )  # fmt: skip
        found = listed(self.engine, chosen, parse_filter(filter), limit, offset)
        return [to_memory(record) for record in found]

    async def amemories(
        self,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        memory_type: MemoryTypes = None,
        limit: int = 50,
        offset: int = 0,
        include_shared: bool = False,
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
        all_users: bool = False,
    ) -> list[Memory]:
        """Async version of `memories`."""
        return await self.engine.threads.read(
            self.memories, user_id=user_id, session_id=session_id, memory_type=memory_type,
            limit=limit, offset=offset, include_shared=include_shared, filter=filter, since=since,
            until=until, as_of=as_of, include_superseded=include_superseded, all_users=all_users,
        )  # fmt: skip

    def get(self, id: str) -> Memory | None:
        """Return the memory with this id, also one that was superseded.

        None if it does not exist, has expired or was erased.
        """
        record = self.engine.find_memory(id)
        return None if record is None else to_memory(record)

    async def aget(self, id: str) -> Memory | None:
        """Async version of `get`."""
        return await self.engine.threads.read(self.get, id)

    def update(
        self,
        id: str,
        *,
        content: str | Unchanged = UNCHANGED,
        pinned: bool | Unchanged = UNCHANGED,
        memory_type: MemoryType | Unchanged = UNCHANGED,
        metadata: Mapping[str, Any] | Unchanged = UNCHANGED,
        ttl_days: float | Unchanged | None = UNCHANGED,
    ) -> Memory:
        """Change a memory in place; its id stays.

        Args:
            id: The id of the memory.
            content: The corrected text, by which it is found from now on. No byte of the former
                text is left in the memory; the chat message that said it stays as it was said. To
                keep the past, use `remember(..., supersedes=id)` instead.
            pinned: Whether the memory never expires.
            memory_type: The new type.
            metadata: Replaces the metadata.
            ttl_days: Days from its `created_at`; None for no expiry.

        Raises:
            MemoryNotFound: no memory has this id.
            InvalidInput: a value does not fit, or another memory of the same scope has this text
                and type; nothing was changed.
            SaveRefused: `before_save` refused a text; nothing was changed.
            ErasurePending: the text is corrected, but somebody else is using the file; the bytes of
                the former one are erased in the background.
        """
        changed = partial(
            changed_record, content=content, pinned=pinned, memory_type=memory_type,
            metadata=metadata, ttl_days=ttl_days,
        )  # fmt: skip
        return to_memory(self.engine.change(id, changed))

    async def aupdate(
        self,
        id: str,
        *,
        content: str | Unchanged = UNCHANGED,
        pinned: bool | Unchanged = UNCHANGED,
        memory_type: MemoryType | Unchanged = UNCHANGED,
        metadata: Mapping[str, Any] | Unchanged = UNCHANGED,
        ttl_days: float | Unchanged | None = UNCHANGED,
    ) -> Memory:
        """Async version of `update`."""
        return await self.engine.threads.run(
            self.update, id, content=content, pinned=pinned, memory_type=memory_type,
            metadata=metadata, ttl_days=ttl_days,
        )  # fmt: skip

    def history(self, id: str) -> list[Memory]:
        """Return a memory with all that it has superseded and all that superseded it, oldest first.

        Raises:
            MemoryNotFound: no memory has this id.
        """
        return [to_memory(record) for record in history(self.engine, id)]

    async def ahistory(self, id: str) -> list[Memory]:
        """Async version of `history`."""
        return await self.engine.threads.read(self.history, id)

    def restore(self, id: str) -> Memory:
        """Bring back a memory that another one has superseded; the other one stays as it is.

        A memory that is not superseded is returned unchanged.

        Raises:
            MemoryNotFound: no memory has this id.
            InvalidInput: its text has been stored again in the same scope.
        """
        return to_memory(self.engine.change(id, restored_record))

    async def arestore(self, id: str) -> Memory:
        """Async version of `restore`."""
        return await self.engine.threads.run(self.restore, id)

    def forget(
        self,
        *,
        id: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        keep_messages: bool = False,
    ) -> int:
        """Erase permanently: one memory, one session of a user, or everything of a user.

        Messages of chat histories are erased with their user or session. With one memory, the
        messages it was made of, and those that quote the whole of it, become "[forgotten]": they
        keep their kinds, ids and tool calls, without arguments, so that models accept the history.

        Once this returns, no byte is left in the store's files. The file is rewritten, which takes
        time.

        Args:
            id: One memory; with a `user_id` or `session_id`, only if it is theirs.
            user_id: A user.
            session_id: One session of the user; without a `user_id`, the user of that name.
            keep_messages: Leave the messages that a memory was made of as they are.

        Returns:
            How many memories and messages were erased; "[forgotten]" messages do not count.

        Raises:
            InvalidInput: nothing was named; `clear` erases everything of the agent.
            ErasurePending: everything is forgotten, but somebody else is using the file. Its bytes
                are erased in the background; `flush` waits for that.
        """
        scope = Scope.of(user_id, session_id)
        return forget(self.engine, id, scope, keep_messages=keep_messages)

    async def aforget(
        self,
        *,
        id: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        keep_messages: bool = False,
    ) -> int:
        """Async version of `forget`."""
        return await self.engine.threads.run(
            self.forget, id=id, user_id=user_id, session_id=session_id, keep_messages=keep_messages
        )

    def clear(self) -> int:
        """Erase everything of this agent permanently; return how many memories and messages."""
        return self.engine.erase(Selection(kind=None, scope=None))

    async def aclear(self) -> int:
        """Async version of `clear`."""
        return await self.engine.threads.run(self.clear)

    def expire(self, dry_run: bool = False) -> list[Memory]:
        """Erase now, and permanently, what the `retention` of this memory does not keep.

        That also happens in the background. What is to go is decided once, at the beginning: a
        memory that is exempt only because it supersedes one that goes may be next. A memory that
        is pinned, said or recalled in the meantime stays. Unlike with `forget`, the messages that a
        memory was made of stay as they are.

        Args:
            dry_run: Only return what would go.

        Returns:
            What went, or would go: for each user, the memories that were not used for longest
            first. What another process erases at the same time is not among them.

        Raises:
            InvalidInput: this memory has no retention.
            NotSupported: the memories are on a server.
            ErasurePending: the memories are gone, but somebody else is using the file. Their bytes
                are erased in the background; `flush` waits for that.
        """
        gone = expire(self.engine, dry_run=checks.check_flag(dry_run, "dry_run"))
        return [to_memory(record) for record in gone]

    async def aexpire(self, dry_run: bool = False) -> list[Memory]:
        """Async version of `expire`."""
        return await self.engine.threads.run(self.expire, dry_run)

    def sessions(self, *, user_id: str | None = None) -> list[SessionSummary]:
        """List the sessions of one user, or of all users, last written first."""
        return self.engine.backend.sessions(Scope.of(user_id, None) or None, self.engine.clock())

    async def asessions(self, *, user_id: str | None = None) -> list[SessionSummary]:
        """Async version of `sessions`."""
        return await self.engine.threads.read(self.sessions, user_id=user_id)

    def users(self) -> list[UserSummary]:
        """List the users of this agent, last written first.

        Those are the owners of memories and messages: of what was stored without a `user_id`, the
        `session_id` is the user. What has neither belongs to no user and is left out.
        """
        return users(self.engine)

    async def ausers(self) -> list[UserSummary]:
        """Async version of `users`."""
        return await self.engine.threads.read(self.users)

    def stats(self) -> MemoryStats:
        """Return how much is stored, and the state of the background work."""
        return self.engine.stats()

    async def astats(self) -> MemoryStats:
        """Async version of `stats`."""
        return await self.engine.threads.read(self.stats)

    # -- messages ------------------------------------------------------------------------------

    def load_messages(
        self, session_id: str, *, user_id: str | None = None, max_messages: int | None = None
    ) -> list[BaseMessage]:
        """Return the messages of a session, oldest first.

        Args:
            session_id: The conversation.
            user_id: The user it belongs to.
            max_messages: Only the last whole turns that hold at most this many messages. A turn is
                a user's message and its answer.
        """
        return ChatLog.of(self.engine, session_id, user_id).load(max_messages)

    async def aload_messages(
        self, session_id: str, *, user_id: str | None = None, max_messages: int | None = None
    ) -> list[BaseMessage]:
        """Async version of `load_messages`."""
        return await self.engine.threads.read(
            self.load_messages, session_id, user_id=user_id, max_messages=max_messages
        )

    def save_messages(
        self,
        messages: Sequence[BaseMessage],
        session_id: str,
        *,
        user_id: str | None = None,
        remember: bool = True,
        reply_to: str | None = None,
    ) -> str | None:
        """Append messages to a session, durably and all or none, and remember their exchanges.

        A message that `before_save` refuses is stored as "[not saved]", with its kind, id and tool
        calls, without arguments; it is not remembered.

        Args:
            messages: In the order they were said.
            session_id: The conversation.
            user_id: The user it belongs to.
            remember: Also remember the exchanges, so that they can be recalled.
            reply_to: The id of the exchange that a leading answer completes; None to look it up.

        Returns:
            The id of the last remembered exchange, or None.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
        """
        log = ChatLog.of(self.engine, session_id, user_id)
        check_messages(messages)
        messages = self.engine.before_save.messages(messages)
        return log.save(messages, remember=remember, reply_to=reply_to)

    async def asave_messages(
        self,
        messages: Sequence[BaseMessage],
        session_id: str,
        *,
        user_id: str | None = None,
        remember: bool = True,
        reply_to: str | None = None,
    ) -> str | None:
        """Async version of `save_messages`."""
        return await self.engine.threads.run(
            self.save_messages, messages, session_id, user_id=user_id, remember=remember,
            reply_to=reply_to,
        )  # fmt: skip

    def clear_messages(self, session_id: str, *, user_id: str | None = None) -> int:
        """Erase the messages of a session permanently; return how many. Memories stay."""
        return self.engine.delete(ChatLog.of(self.engine, session_id, user_id).select("message"))

    async def aclear_messages(self, session_id: str, *, user_id: str | None = None) -> int:
        """Async version of `clear_messages`."""
        return await self.engine.threads.run(self.clear_messages, session_id, user_id=user_id)

    # -- maintenance ---------------------------------------------------------------------------

    def reindex(
        self,
        embeddings: Embeddings | str | None = None,
        *,
        progress: bool | Progress | None = None,
    ) -> int:
        """Compute the vectors of all memories of this agent again, with these embeddings.

        Until all vectors are computed, every process uses the old ones; then they are swapped at
        once. Other processes must open the memory again, with the new embeddings. If reindexing is
        interrupted, even by `kill -9`, the next call with the same embeddings continues it.

        Args:
            embeddings: As for the constructor; None for those of this memory.
            progress: True draws a bar on stderr (extra: `progress`), False draws none. None draws
                one if stderr is a terminal and tqdm is installed. A function is called with
                (memories done, memories in all).

        Returns:
            How many memories now have a vector. Texts that the embeddings reject have none: they
            are found by their words, logged, counted in `stats().failed` and passed to `on_error`.

        Raises:
            EmbeddingsError: the embeddings failed; the finished part is kept for the next call.
            EmbeddingMismatch: another process ended this reindexing or began another one.
            ConfigurationError: the embeddings cannot be made from a string.
            InvalidInput: the memory has no embeddings, and none were given.
            NotSupported: the memories are on a server.
        """
        return Reindexing(self.engine, embeddings, progress).complete()

    async def areindex(
        self,
        embeddings: Embeddings | str | None = None,
        *,
        progress: bool | Progress | None = None,
    ) -> int:
        """Async version of `reindex`; when cancelled, it ends after the current batch."""
        work = Reindexing(self.engine, embeddings, progress)
        return await self.engine.threads.complete(work)

    def export(
        self,
        file: str | PathLike[str] | IO[str] | IO[bytes],
        *,
        user_id: str | None = None,
        vectors: bool = False,
        progress: bool | Progress | None = None,
    ) -> MoveSummary:
        """Write everything of this agent, or of one user, to a file of JSON lines.

        Memories, chat histories and key-value items are written with their ids, times, pins,
        metadata and access counts, in the order of writing; any `KronvexMemory` can `import_`
        them. Records that are written during the export are not included; changes to others may
        be. From a server everything the API returns is exported; records that cannot be read as
        memories are left out and logged.

        Args:
            file: A path: the file appears there once it is complete, readable only by its owner,
                and compressed if the name ends in `.gz`. Or an open stream, text or binary.
            user_id: Only the memories and chat histories of this user.
            vectors: Include the vectors, so that an import with the same embeddings need not
                compute them; this adds about 1.1 KB for each memory.
            progress: True draws a bar on stderr (extra: `progress`), False draws none. None draws
                one if stderr is a terminal and tqdm is installed. A function is called with
                (records done, records in all).

        Returns:
            How many of each kind were written.

        Raises:
            InvalidInput: a value does not fit, or `vectors` of a memory without embeddings.
            NotSupported: `vectors` of a server.
            OSError: the file cannot be written.
            StoreError: the store failed.
        """
        return Export(self.engine, file, user_id, vectors, progress).complete()

    async def aexport(
        self,
        file: str | PathLike[str] | IO[str] | IO[bytes],
        *,
        user_id: str | None = None,
        vectors: bool = False,
        progress: bool | Progress | None = None,
    ) -> MoveSummary:
        """Async version of `export`; when cancelled, it ends after the current page."""
        work = Export(self.engine, file, user_id, vectors, progress)
        return await self.engine.threads.complete(work)

    def import_(
        self,
        file: str | PathLike[str] | IO[str] | IO[bytes],
        *,
        progress: bool | Progress | None = None,
    ) -> MoveSummary:
        """Store the records of an `export` as they were; importing again changes nothing.

        Records that exist already stay as they are; if the same text of the same type exists in
        the same scope, its dates are renewed. If an id is already taken, for example by another
        agent's memory, the imported record gets a new id, the same one each time. Expired records
        are skipped. If the import is interrupted, even by `kill -9`, the next import of the same
        file adds the missing records.

        Args:
            file: A path, also of a compressed file; or an open stream, text or binary.
            progress: As for `export`.

        Returns:
            How many of each kind were read, and how many of them were new.

        Raises:
            InvalidInput: there is no such file, or it is not an export, was written by a later
                version, is cut short, or holds a value that does not fit. The message names the
                line and how much was imported before it.
            OSError: the file cannot be read.
            StoreError: the store failed.
        """
        return Import(self.engine, file, progress).complete()

    async def aimport_(
        self,
        file: str | PathLike[str] | IO[str] | IO[bytes],
        *,
        progress: bool | Progress | None = None,
    ) -> MoveSummary:
        """Async version of `import_`; when cancelled, it ends after the current batch."""
        return await self.engine.threads.complete(Import(self.engine, file, progress))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait for the background work; return False if `timeout` seconds were not enough."""
        return self.engine.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Async version of `flush`."""
        return await asyncio.to_thread(self.flush, timeout)

    def close(self) -> None:
        """Finish the background work and close the store. Also done at exit."""
        self.engine.close()

    async def aclose(self) -> None:
        """Async version of `close`."""
        await asyncio.to_thread(self.close)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # -- LangChain -----------------------------------------------------------------------------

    def chat_history(
        self, session_id: str, user_id: str | None = None
    ) -> KronvexChatMessageHistory:
        """Return a session's chat history: the factory that `RunnableWithMessageHistory` takes."""
        from langchain_kronvex.langchain.chat_message_histories import KronvexChatMessageHistory

        return KronvexChatMessageHistory(session_id, memory=self, user_id=user_id)

    def as_retriever(
        self,
        k: int | None = None,
        *,
        top_k: int | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        this_session_only: bool = False,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search_kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> KronvexRetriever:
        """Return a retriever over the memories: 5 by default; see `KronvexRetriever`.

        `search_kwargs` takes `k`, `filter` and `score_threshold`, as retrievers of vector stores
        do; they are the same options under other names.
        """
        from langchain_kronvex.langchain.retrievers import KronvexRetriever, count_of, searched

        k, threshold, filter = searched(search_kwargs, k, threshold, filter)

        return KronvexRetriever(
            memory=self, k=count_of(k, top_k, 5), user_id=user_id, session_id=session_id,
            this_session_only=this_session_only, memory_type=memory_type, threshold=threshold,
            include_shared=include_shared, filter=filter, since=since, until=until, name=name,
            tags=tags, metadata=metadata,
        )  # fmt: skip
