"""Recalls memories as nodes, for the query and chat engines of LlamaIndex."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from inspect import signature
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import ScopeRequired
from langchain_kronvex.core.records import Scope
from langchain_kronvex.core.types import MemoryTypes
from langchain_kronvex.memory.conversions import to_document
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recalling.recall_context import RecallConditions
from langchain_kronvex.memory.scope_from_config import check_memory

# Models see only the date and the type, and embeddings only the text; the rest is for programs.
_NOT_FOR_MODELS = ["similarity", "confidence", "probability", "user_id", "session_id"]
_NOT_FOR_EMBEDDINGS = [*_NOT_FOR_MODELS, "memory_type", "created_at"]


class KronvexRetriever(BaseRetriever):
    """Recalls memories of one user.

    Examples:
        >>> memory = KronvexMemory("sqlite://")
        >>> _ = memory.remember("Ana prefers tea.", user_id="ana")
        >>> retriever = KronvexRetriever(memory=memory, k=3, user_id="ana")
        >>> retriever.retrieve("tea or coffee?")[0].text
        'Ana prefers tea.'

    A node has the memory's id, its text, and the metadata of the documents of the LangChain
    retriever; its score is the `similarity`. The nodes are ordered by `confidence`.

    Args:
        memory: The memory to search.
        user_id: The user, of whom all sessions are searched.
        session_id: The session; without a `user_id`, also the user.
        this_session_only: Search only this session.
        k: How many nodes.
        memory_type: Only this type, or these types.
        threshold: The lowest similarity, from 0 to 1.
        include_shared: Also search the agent-level memories (stored with neither id).
        filter: Conditions on the metadata; see `KronvexMemory.recall`.
        since: Only what was said at or after this moment, an aware datetime.
        until: Only what was said before this moment, an aware datetime.
        options: Options of LlamaIndex's `BaseRetriever`.

    Raises:
        ScopeRequired: neither a user nor a session is named.
        InvalidInput: a value does not fit.
    """

    def __init__(
        self,
        *,
        memory: KronvexMemory,
        user_id: str | None = None,
        session_id: str | None = None,
        this_session_only: bool = False,
        k: int = 5,
        memory_type: MemoryTypes = None,
        threshold: float = 0.0,
        include_shared: bool = False,
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        **options: Any,
    ) -> None:
        known = [*signature(KronvexRetriever).parameters, *signature(BaseRetriever).parameters]
        checks.check_names("KronvexRetriever", options, known)
        scope = Scope.of(user_id, session_id)
        if not scope:
            raise ScopeRequired("The retriever needs a user: pass user_id or session_id.")
        scope = scope.reading(checks.check_flag(this_session_only, "this_session_only"))
        conditions = RecallConditions(
            memory_type=memory_type, threshold=threshold, include_shared=include_shared,
            filter=filter, since=since, until=until,
        )  # fmt: skip
        self.memory = check_memory(memory)
        self._options: dict[str, Any] = {
            "user_id": scope.user_id,
            "session_id": scope.session_id,
            "top_k": checks.check_count(k, "k", least=1),
            **conditions.conditions(),
        }
        super().__init__(**options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(
                node=TextNode(
                    id_=memory.id,
                    text=memory.content,
                    metadata=to_document(memory).metadata,
                    excluded_llm_metadata_keys=list(_NOT_FOR_MODELS),
                    excluded_embed_metadata_keys=list(_NOT_FOR_EMBEDDINGS),
                ),
                score=memory.similarity,
            )
            for memory in self.memory.recall(query_bundle.query_str, **self._options)
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self.memory.engine.threads.read(self._retrieve, query_bundle)
