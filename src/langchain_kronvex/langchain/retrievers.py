"""Recalls memories as `Document`s, for RAG chains."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict

from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import MemoryType
from langchain_kronvex.memory.documents import to_document
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.scope_from_config import scope_from


class KronvexRetriever(BaseRetriever):
    """Recalls memories of one user.

    >>> memory = KronvexMemory("sqlite://")
    >>> _ = memory.remember("Ana prefers tea.", user_id="ana")
    >>> retriever = KronvexRetriever(memory=memory, k=3, user_id="ana")
    >>> retriever.invoke("tea or coffee?")[0].page_content
    'Ana prefers tea.'

    Ids that the constructor leaves out are taken from `config["configurable"]`. The metadata of a
    document are the memory's own, plus `memory_type`, `similarity`, `confidence`, `probability`,
    `created_at` (ISO 8601, UTC), `user_id` and `session_id`.

    Attributes:
        memory: The memory to search.
        k: How many documents.
        user_id: The user.
        session_id: With a `user_id`, only this session; without, the user of that name.
        memory_type: Only this type.
        threshold: The lowest similarity, from 0 to 1.
        include_shared: Also search the agent-level memories (stored with neither id).
        tags: Tags for callbacks, as for every LangChain retriever.
        metadata: Metadata for callbacks, as for every LangChain retriever.

    Raises:
        ScopeRequired: neither constructor nor config names a user or a session.
        KronvexError: the recall failed.
    """

    memory: KronvexMemory
    k: int = 5
    user_id: str | None = None
    session_id: str | None = None
    memory_type: str | None = None
    threshold: float = 0.0
    include_shared: bool = False

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def invoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the documents for a query; `k` can be passed for a single call."""
        scope = scope_from(config, self.user_id, self.session_id)
        return super().invoke(input, config, scope=scope, **kwargs)

    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Async version of `invoke`."""
        scope = scope_from(config, self.user_id, self.session_id)
        return await super().ainvoke(input, config, scope=scope, **kwargs)

    def _get_relevant_documents(  # type: ignore[override] # more keywords, as LangChain allows
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        scope: Scope,
        k: int | None = None,
    ) -> list[Document]:
        found = self.memory.recall(
            query,
            user_id=scope.user_id,
            session_id=scope.session_id,
            top_k=self.k if k is None else k,
            memory_type=cast("MemoryType | None", self.memory_type),
            threshold=self.threshold,
            include_shared=self.include_shared,
        )
        return [to_document(memory) for memory in found]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **options: Any,
    ) -> list[Document]:
        find = self._get_relevant_documents
        run = self.memory.engine.threads.read
        return await run(find, query, run_manager=run_manager.get_sync(), **options)
