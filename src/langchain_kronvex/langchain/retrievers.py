"""Recalls memories as `Document`s, for RAG chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.records import Scope
from langchain_kronvex.memory.conversions import to_document
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recalling.recall_context import RecallConditions
from langchain_kronvex.memory.scope_from_config import scope_from


class KronvexRetriever(RecallConditions, BaseRetriever):
    """Recalls memories of one user.

    Examples:
        >>> memory = KronvexMemory("sqlite://")
        >>> _ = memory.remember("Ana prefers tea.", user_id="ana")
        >>> retriever = KronvexRetriever(memory=memory, k=3, user_id="ana")
        >>> retriever.invoke("tea or coffee?")[0].page_content
        'Ana prefers tea.'

    The user and the session are named by the constructor, or else by `config["configurable"]`.
    Memories of all sessions of the user are recalled, also if both ids are given, unless
    `this_session_only` is set. What the turn under way has saved is left out. The metadata of a
    document are the memory's own, plus `memory_type`, `similarity`, `confidence`, `probability`,
    `created_at` (ISO 8601, UTC), `user_id` and `session_id`.

    Attributes:
        memory: The memory to search.
        k: How many documents.
        top_k: Another name for `k`.
        user_id: The user, for every call.
        session_id: The session, for every call; without a `user_id`, also the user.
        this_session_only: Recall only from the current session.
        memory_type: Only this type, or these types.
        threshold: The lowest similarity, from 0 to 1.
        include_shared: Also search the agent-level memories (stored with neither id).
        filter: Conditions on the metadata; see `KronvexMemory.recall`.
        since: Only what was said at or after this moment, an aware datetime.
        until: Only what was said before this moment, an aware datetime.
        tags: Tags for callbacks, as for every LangChain retriever.
        metadata: Metadata for callbacks, as for every LangChain retriever.

    Raises:
        InvalidInput: an option does not fit.
        ScopeRequired: neither constructor nor config names a user or a session.
        KronvexError: the recall failed.
    """

    memory: KronvexMemory
    k: int = 5
    top_k: int | None = None
    user_id: str | None = None
    session_id: str | None = None
    this_session_only: bool = False

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True)

    def check_options(self) -> None:
        """Raise `InvalidInput` if a value does not fit."""
        k = self.k if "k" in self.model_fields_set else None
        self.k, self.top_k = count_of(k, self.top_k, self.k), None
        Scope.of(self.user_id, self.session_id)
        super().check_options()

    def invoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the documents for a query; `k` and `filter` can be passed for a single call."""
        return super().invoke(input, config, **self._for_call(config, kwargs))

    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Async version of `invoke`."""
        return await super().ainvoke(input, config, **self._for_call(config, kwargs))

    def _for_call(self, config: RunnableConfig | None, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options of one call, with the scope."""
        checks.check_names("invoke", given, ("k", "top_k", "filter", "run_id"))
        k = count_of(given.pop("k", None), given.pop("top_k", None), self.k)
        scope = scope_from(config, self.user_id, self.session_id).reading(self.this_session_only)
        return {"filter": self.filter, **given, "k": k, "scope": scope}

    def _get_relevant_documents(  # type: ignore[override] # more keywords, as LangChain allows
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        scope: Scope,
        k: int,
        filter: Mapping[str, Any] | None,
    ) -> list[Document]:
        found = self.memory.recall(
            query,
            user_id=scope.user_id,
            session_id=scope.session_id,
            top_k=k,
            **{**self.conditions(), "filter": filter},
        )
        return [to_document(memory) for memory in found]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        find = self._get_relevant_documents
        run = self.memory.engine.threads.read
        return await run(find, query, run_manager=run_manager.get_sync(), **options)


def count_of(k: int | None, top_k: int | None, default: int) -> int:
    """Return how many documents: `k`, which may also be called `top_k`.

    Raises:
        InvalidInput: both were given and differ, or it is not a whole number of at least 1.
    """
    if k is not None and top_k not in (None, k):
        raise InvalidInput("k and top_k are the same option; pass one of them.")
    given = k if top_k is None else top_k
    return default if given is None else checks.check_count(given, "k", least=1)


def searched(
    search_kwargs: Mapping[str, Any] | None,
    k: int | None,
    threshold: float,
    filter: Mapping[str, Any] | None,
) -> tuple[int | None, float, Mapping[str, Any] | None]:
    """Return `k`, threshold and filter, which `search_kwargs` may give instead.

    Raises:
        InvalidInput: `search_kwargs` is not a mapping, or has other options.
    """
    if not isinstance(search_kwargs, Mapping | None):
        kind = type(search_kwargs).__name__
        raise InvalidInput(f"search_kwargs must be a mapping, not {kind}.")
    given = search_kwargs or {}
    checks.check_names("search_kwargs", given, ("k", "score_threshold", "filter"))
    score = given.get("score_threshold", threshold)
    return given.get("k", k), score, given.get("filter", filter)
