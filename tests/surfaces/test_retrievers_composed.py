"""The retriever inside LangChain's retrievers of retrievers, with the ids in the config."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MergerRetriever,
    MultiQueryRetriever,
)
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_kronvex import KronvexMemory, ScopeRequired

from .models import FakeModel
from .runs import ASYNC_CONFIG_COMES_ALONG, ainvoke, ids, invoke

both_ways = pytest.mark.parametrize("call", [invoke, ainvoke])


def merger(inner: BaseRetriever) -> BaseRetriever:
    return MergerRetriever(retrievers=[inner])


def multi_query(inner: BaseRetriever) -> BaseRetriever:
    return MultiQueryRetriever.from_llm(inner, FakeModel(replies=["tea or coffee?"]))


def compressing(inner: BaseRetriever) -> BaseRetriever:
    nothing = DocumentCompressorPipeline(transformers=[])
    return ContextualCompressionRetriever(base_compressor=nothing, base_retriever=inner)


def ensemble(inner: BaseRetriever) -> BaseRetriever:
    return EnsembleRetriever(retrievers=[inner], weights=[1.0])


WITHOUT_CONFIG = [merger, multi_query, compressing]


def contents(documents: Any) -> list[str]:
    return [document.page_content for document in documents]


@both_ways
@pytest.mark.parametrize("outer", WITHOUT_CONFIG)
async def test_called_directly_the_error_says_where_the_ids_were_lost(
    tea_lover: KronvexMemory, call: Any, outer: Any
) -> None:
    with pytest.raises(ScopeRequired, match=r"MergerRetriever.*as_retriever\(user_id=.*a chain"):
        await call(outer(tea_lover.as_retriever()), "tea", ids("ana"))


@both_ways
@pytest.mark.parametrize("outer", [*WITHOUT_CONFIG, ensemble])
async def test_both_ways_out_work(tea_lover: KronvexMemory, call: Any, outer: Any) -> None:
    named = outer(tea_lover.as_retriever(user_id="ana"))
    step = RunnablePassthrough() | outer(tea_lover.as_retriever()) | RunnableLambda(contents)

    assert contents(await call(named, "tea", ids("bob"))) == ["Ana prefers tea."]
    if call is invoke or ASYNC_CONFIG_COMES_ALONG:
        assert await call(step, "tea", ids("ana")) == ["Ana prefers tea."]


@both_ways
async def test_an_ensemble_passes_the_ids_on(tea_lover: KronvexMemory, call: Any) -> None:
    outer = ensemble(tea_lover.as_retriever())

    assert contents(await call(outer, "tea", ids("ana"))) == ["Ana prefers tea."]
