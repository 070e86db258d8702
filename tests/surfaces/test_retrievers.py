"""`KronvexRetriever`: memories as documents, of the right user, in RAG chains."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool

from conftest import OpenMemory
from langchain_kronvex import (
    InvalidInput,
    KronvexChatMessageHistory,
    KronvexKeyValueStore,
    KronvexMemory,
    KronvexRetriever,
    ScopeRequired,
    StoreError,
)

from .models import FakeModel
from .runs import ASYNC_CONFIG_COMES_ALONG

NOON = datetime(2026, 4, 28, 12, tzinfo=timezone.utc)


@pytest.fixture
def teas(memory: KronvexMemory) -> KronvexMemory:
    """A memory with memories about tea, of Ana in two sessions and of Bob."""
    memory.remember("Ana drinks green tea.", user_id="ana", session_id="monday")
    memory.remember("Ana keeps tea in a tin.", user_id="ana", session_id="tuesday")
    memory.remember("Ana prefers tea.", memory_type="semantic", user_id="ana")
    memory.remember("Bob hates tea.", user_id="bob", session_id="monday")
    memory.remember("Tea is served at five.")
    return memory


def contents(documents: list[Document]) -> set[str]:
    return {document.page_content for document in documents}


def configured(**ids: str) -> Any:
    return {"configurable": ids}


ALL_OF_ANA = {"Ana drinks green tea.", "Ana keeps tea in a tin.", "Ana prefers tea."}


def test_a_document_contains_its_memory(memory: KronvexMemory) -> None:
    stored = memory.remember(
        "Ana drinks tea.", user_id="ana", session_id="monday", metadata={"page": 3},
        created_at=NOON,
    )  # fmt: skip

    [document] = memory.as_retriever(user_id="ana").invoke("tea")
    [recalled] = memory.recall("tea", user_id="ana")

    assert isinstance(document, Document)
    assert document.id == stored.id
    assert document.page_content == "Ana drinks tea."
    assert document.metadata.keys() == {
        "page", "memory_type", "similarity", "confidence", "probability", "created_at", "user_id",
        "session_id",
    }  # fmt: skip
    assert document.metadata["page"] == 3
    assert document.metadata["memory_type"] == "episodic"
    assert document.metadata["created_at"] == "2026-04-28T12:00:00+00:00"
    assert document.metadata["user_id"] == "ana"
    assert document.metadata["session_id"] == "monday"
    assert document.metadata["similarity"] == pytest.approx(recalled.similarity)
    assert 0 < document.metadata["similarity"] <= 1


def test_metadata_of_the_user_cannot_replace_ours(memory: KronvexMemory) -> None:
    memory.remember("Ana drinks tea.", user_id="ana", metadata={"user_id": "bob", "similarity": 9})

    [document] = memory.as_retriever(user_id="ana").invoke("tea")

    assert document.metadata["user_id"] == "ana"
    assert document.metadata["similarity"] <= 1


def test_as_retriever_returns_a_retriever(teas: KronvexMemory) -> None:
    retriever = teas.as_retriever(k=2, user_id="ana")

    assert isinstance(retriever, BaseRetriever)
    assert isinstance(retriever, KronvexRetriever)
    assert len(retriever.invoke("tea")) == 2


WHOSE: list[tuple[dict[str, str], dict[str, str], set[str]]] = [
    ({"user_id": "ana"}, {}, ALL_OF_ANA),
    ({}, {"user_id": "ana"}, ALL_OF_ANA),
    ({"user_id": "ana", "session_id": "monday"}, {}, ALL_OF_ANA),
    ({}, {"user_id": "ana", "session_id": "tuesday"}, ALL_OF_ANA),
    ({"user_id": "ana"}, {"session_id": "monday"}, ALL_OF_ANA),
    ({"user_id": "ana"}, {"user_id": "bob"}, ALL_OF_ANA),
    ({"session_id": "ana"}, {}, ALL_OF_ANA),
    ({}, {"session_id": "ana"}, ALL_OF_ANA),
    ({"user_id": "an"}, {}, set()),
    ({"user_id": "ANA"}, {}, set()),
    ({"user_id": "%"}, {}, set()),
]


async def test_the_user_of_the_memories(teas: KronvexMemory) -> None:
    for fixed, config, expected in WHOSE:
        retriever = KronvexRetriever(memory=teas, **fixed)

        assert contents(retriever.invoke("tea", configured(**config))) == expected
        assert contents(await retriever.ainvoke("tea", configured(**config))) == expected


@pytest.mark.parametrize("config", [None, {}, {"configurable": {}}, {"configurable": {"k": 1}}])
async def test_without_a_scope_the_error_says_what_to_pass(
    teas: KronvexMemory, config: Any
) -> None:
    retriever = KronvexRetriever(memory=teas)

    with pytest.raises(ScopeRequired, match=r"configurable.*user_id") as sync_error:
        retriever.invoke("tea", config)
    with pytest.raises(ScopeRequired, match="session_id"):
        await retriever.ainvoke("tea", config)
    assert isinstance(sync_error.value, ValueError)


@pytest.mark.parametrize("bad", ["", " ", "a\0", 7])
def test_an_invalid_id_never_widens_the_scope(teas: KronvexMemory, bad: Any) -> None:
    with pytest.raises(InvalidInput):
        KronvexRetriever(memory=teas).invoke("tea", configured(user_id=bad))


def test_shared_memories_are_included_only_on_request(teas: KronvexMemory) -> None:
    alone = teas.as_retriever(user_id="ana").invoke("tea")
    shared = teas.as_retriever(user_id="ana", include_shared=True).invoke("tea")

    assert contents(shared) - contents(alone) == {"Tea is served at five."}


async def test_k_can_be_passed_for_one_call(teas: KronvexMemory) -> None:
    retriever = teas.as_retriever(k=1, user_id="ana")

    assert len(retriever.invoke("tea")) == 1
    assert len(retriever.invoke("tea", k=3)) == 3
    assert len(await retriever.ainvoke("tea", k=2)) == 2
    assert len(retriever.invoke("tea")) == 1


@pytest.mark.parametrize("k", [0, -1])
def test_an_invalid_k_is_rejected(teas: KronvexMemory, k: int) -> None:
    with pytest.raises(InvalidInput, match="k must be"):
        teas.as_retriever(user_id="ana").invoke("tea", k=k)


def test_only_one_type(teas: KronvexMemory) -> None:
    retriever = teas.as_retriever(user_id="ana", memory_type="semantic")

    assert contents(retriever.invoke("tea")) == {"Ana prefers tea."}


def test_a_threshold_excludes_less_similar_memories(memory: KronvexMemory) -> None:
    memory.remember("Ana drinks green tea.", user_id="ana")
    memory.remember("The train to Rome leaves at nine.", user_id="ana")
    everything = memory.as_retriever(user_id="ana").invoke("green tea")
    scores = sorted(document.metadata["similarity"] for document in everything)
    between = (scores[0] + scores[-1]) / 2 if len(scores) > 1 else scores[0] / 2

    found = memory.as_retriever(user_id="ana", threshold=between).invoke("green tea")

    assert contents(found) == {"Ana drinks green tea."}
    assert memory.as_retriever(user_id="ana", threshold=1.0).invoke("green tea") == []


def test_an_empty_store_returns_nothing(memory: KronvexMemory) -> None:
    assert memory.as_retriever(user_id="ana").invoke("tea") == []


@pytest.mark.parametrize("query", ["", "   "])
def test_a_blank_query_is_rejected(teas: KronvexMemory, query: str) -> None:
    with pytest.raises(InvalidInput, match="blank"):
        teas.as_retriever(user_id="ana").invoke(query)


async def test_batches_take_a_config_for_each_query(teas: KronvexMemory) -> None:
    retriever = KronvexRetriever(memory=teas)
    configs = [configured(user_id="ana"), configured(user_id="bob")] * 5

    sync = retriever.batch(["tea"] * 10, configs)
    in_async = await retriever.abatch(["tea"] * 10, configs)

    for found in (sync, in_async):
        assert [contents(documents) for documents in found] == [ALL_OF_ANA, {"Bob hates tea."}] * 5


def test_in_a_rag_chain_the_scope_comes_from_the_config(teas: KronvexMemory) -> None:
    model = FakeModel(replies=["In a tin."])
    prompt = ChatPromptTemplate.from_template("Known: {known}\nQuestion: {question}")
    known = itemgetter("question") | KronvexRetriever(memory=teas) | RunnableLambda(contents)
    chain = RunnablePassthrough.assign(known=known) | prompt | model

    answer = chain.invoke({"question": "Where is the tea?"}, configured(user_id="ana"))

    assert answer.text == "In a tin."
    assert "Ana keeps tea in a tin." in model.shown
    assert "Bob" not in model.shown


async def test_in_a_function_the_scope_comes_from_the_outer_run(teas: KronvexMemory) -> None:
    retriever = KronvexRetriever(memory=teas)

    def ask(question: str) -> list[Document]:
        return retriever.invoke(question)

    async def aask(question: str) -> list[Document]:
        return await retriever.ainvoke(question)

    step = RunnableLambda(ask, aask)

    assert contents(step.invoke("tea", configured(user_id="bob"))) == {"Bob hates tea."}
    if ASYNC_CONFIG_COMES_ALONG:
        assert contents(await step.ainvoke("tea", configured(user_id="ana"))) == ALL_OF_ANA


async def test_as_a_tool_it_takes_the_scope_of_the_call(teas: KronvexMemory) -> None:
    tool = create_retriever_tool(
        KronvexRetriever(memory=teas), "recall", "Look up what is known of the user."
    )

    assert tool.invoke({"query": "tea"}, configured(user_id="bob")) == "Bob hates tea."
    if ASYNC_CONFIG_COMES_ALONG:
        assert "Bob" not in await tool.ainvoke({"query": "tea"}, configured(user_id="ana"))


class Trace(BaseCallbackHandler):
    """Records the callbacks of a retriever."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.events.append(("start", query))

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.events.append(("end", len(documents)))

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(("error", type(error)))


async def test_the_run_is_traced_as_a_retriever(teas: KronvexMemory) -> None:
    trace = Trace()
    retriever = teas.as_retriever(user_id="ana")

    retriever.invoke("tea", {"callbacks": [trace]})
    await retriever.ainvoke("more tea", {"callbacks": [trace]})

    assert trace.events == [("start", "tea"), ("end", 3), ("start", "more tea"), ("end", 3)]


async def test_a_failing_store_raises_and_is_traced(
    teas: KronvexMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(teas.engine.backend, "recall", fail)
    trace = Trace()
    retriever = teas.as_retriever(user_id="ana")

    with pytest.raises(StoreError, match="the disk is gone"):
        retriever.invoke("tea", {"callbacks": [trace]})
    with pytest.raises(StoreError, match="the disk is gone"):
        await retriever.ainvoke("tea", {"callbacks": [trace]})
    assert trace.events == [("start", "tea"), ("error", StoreError)] * 2


async def test_events_are_streamed(teas: KronvexMemory) -> None:
    retriever = teas.as_retriever(user_id="ana")

    kinds = [event["event"] async for event in retriever.astream_events("tea", version="v2")]

    assert "on_retriever_start" in kinds
    assert "on_retriever_end" in kinds


def test_retrieving_counts_as_an_access(open_memory: OpenMemory) -> None:
    memory = open_memory()
    memory.remember("Ana drinks tea.", user_id="ana")

    memory.as_retriever(user_id="ana").invoke("tea")
    memory.flush()

    assert memory.memories(user_id="ana")[0].access_count == 1


# -- options -----------------------------------------------------------------------------------


async def test_k_and_top_k_are_the_same_option(teas: KronvexMemory) -> None:
    for retriever in (
        teas.as_retriever(2, user_id="ana"),
        teas.as_retriever(top_k=2, user_id="ana"),
        teas.as_retriever(2, top_k=2, user_id="ana"),
        KronvexRetriever(memory=teas, top_k=2, user_id="ana"),
    ):
        assert retriever.k == 2
        assert len(retriever.invoke("tea")) == 2
        assert len(retriever.invoke("tea", top_k=1)) == 1
        assert len(await retriever.ainvoke("tea", top_k=3)) == 3
    assert teas.as_retriever().k == KronvexRetriever(memory=teas).k == 5


def test_k_and_top_k_that_differ_are_rejected(teas: KronvexMemory) -> None:
    for call in (
        lambda: teas.as_retriever(2, top_k=3),
        lambda: KronvexRetriever(memory=teas, k=2, top_k=3),
        lambda: KronvexRetriever(memory=teas, k=5, top_k=3),
        lambda: teas.as_retriever(user_id="ana").invoke("tea", k=2, top_k=3),
    ):
        with pytest.raises(InvalidInput, match="k and top_k are the same option"):
            call()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kk": 3}, "no option 'kk'; did you mean 'k'?"),
    ({"topk": 3}, "did you mean 'top_k'?"),
    ({"user": "ana"}, "did you mean 'user_id'?"),
    ({"session": "s"}, "did you mean 'session_id'?"),
    ({"lambda_mult": 0.5}, "its options: .*k, top_k, user_id"),
    ({"k": 0}, "k must be a whole number of at least 1"),
    ({"top_k": -1}, "k must be a whole number of at least 1"),
    ({"k": "3"}, "k"),
    ({"threshold": 1.5}, "threshold must be a number from 0 to 1"),
    ({"threshold": "high"}, "threshold"),
    ({"memory_type": "fakt"}, "memory_type 'fakt' is unknown"),
    ({"include_shared": "no"}, "include_shared"),
    ({"this_session_only": "no"}, "this_session_only"),
    ({"user_id": ""}, "user_id is blank"),
    ({"user_id": 7}, "user_id"),
]


def test_a_wrong_option_is_reported_when_the_retriever_is_made(teas: KronvexMemory) -> None:
    makers = (teas.as_retriever, partial(KronvexRetriever, memory=teas))
    for make, (options, says) in product(makers, WRONG):
        with pytest.raises(InvalidInput, match=says) as caught:
            make(**options)
        assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("memory_given", ["sqlite://", None, 7])
def test_anything_else_than_a_memory_is_rejected(memory_given: Any) -> None:
    for make in (
        KronvexRetriever,
        partial(KronvexChatMessageHistory, "monday"),
        partial(KronvexKeyValueStore, namespace="settings"),
    ):
        with pytest.raises(InvalidInput, match=r"memory.*KronvexMemory"):
            make(memory=memory_given)


async def test_an_unknown_option_of_a_call_is_rejected(teas: KronvexMemory) -> None:
    retriever = teas.as_retriever(user_id="ana")

    with pytest.raises(InvalidInput, match="no option 'topk'; did you mean 'top_k'"):
        retriever.invoke("tea", topk=3)
    with pytest.raises(InvalidInput, match="no option 'user_id'"):
        await retriever.ainvoke("tea", user_id="bob")


def test_the_number_can_be_configured_for_a_call(teas: KronvexMemory) -> None:
    retriever = teas.as_retriever(top_k=3, user_id="ana").configurable_fields(
        k=ConfigurableField(id="k")
    )

    assert len(retriever.invoke("tea")) == 3
    assert len(retriever.invoke("tea", configured(k=2))) == 2
