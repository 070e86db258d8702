"""Every surface recalls by the same conditions: on metadata, times, types and similarity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda

from langchain_kronvex import (
    InvalidInput,
    KronvexError,
    KronvexMemory,
    KronvexMemoryContext,
    MemoryDraft,
    with_memory,
)
from langchain_kronvex.llama_index import KronvexRetriever as LlamaRetriever
from langchain_kronvex.middleware import KronvexMemoryMiddleware
from langchain_kronvex.tools import create_memory_tools

from .agents import AgentModel, asking

NOW = datetime(2026, 4, 28, tzinfo=timezone.utc)
CONFIG: Any = {"configurable": {"user_id": "ana", "thread_id": "monday"}}
WORK = {"topic": "work"}
Ask = Callable[..., str]


@pytest.fixture
def memory() -> Iterator[KronvexMemory]:
    with KronvexMemory("sqlite://") as memory:
        memory.remember_many(
            [
                MemoryDraft("Tea at home is green.", user_id="ana", metadata={"topic": "home"}),
                MemoryDraft("Tea at work is black.", user_id="ana", metadata=WORK),
                MemoryDraft(
                    "Tea in the past was white.", user_id="ana", memory_type="semantic",
                    created_at=NOW - timedelta(days=400),
                ),
                MemoryDraft("Tea for everybody is mint."),
                MemoryDraft("Tea of Ben is red.", user_id="ben", metadata=WORK),
            ]
        )  # fmt: skip
        yield memory


def by_retriever(memory: KronvexMemory, **options: Any) -> str:
    return str(memory.as_retriever(k=9, **options).invoke("What about tea?", CONFIG))


def by_context(memory: KronvexMemory, **options: Any) -> str:
    step = KronvexMemoryContext(memory=memory, **options)
    return str(step.invoke({"input": "What about tea?"}, CONFIG)["memory_context"])


def by_chain(memory: KronvexMemory, **options: Any) -> str:
    prompt = ChatPromptTemplate.from_messages([("system", "{memory_context}"), ("user", "{input}")])
    chain = prompt | RunnableLambda(lambda value: value.to_string())
    return str(with_memory(chain, memory, **options).invoke({"input": "What about tea?"}, CONFIG))


def by_middleware(memory: KronvexMemory, **options: Any) -> str:
    model = AgentModel()
    agent: Any = create_agent(model, middleware=[KronvexMemoryMiddleware(memory=memory, **options)])
    agent.invoke(asking("What about tea?"), CONFIG)
    return str(model.prompts)


def by_tool(memory: KronvexMemory, **options: Any) -> str:
    _, recall, _ = create_memory_tools(memory, **options)
    return str(recall.invoke({"query": "What about tea?"}, CONFIG))


def by_llama_index(memory: KronvexMemory, **options: Any) -> str:
    retriever = LlamaRetriever(memory=memory, user_id="ana", k=9, **options)
    return str([node.text for node in retriever.retrieve("What about tea?")])


SURFACES = [by_retriever, by_context, by_chain, by_middleware, by_tool, by_llama_index]
COLOURS = {"green", "black", "white", "mint", "red"}
CASES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"green", "black", "white"}),
    ({"filter": WORK}, {"black"}),
    ({"filter": {"$or": [WORK, {"topic": "home"}]}}, {"green", "black"}),
    ({"since": NOW}, {"green", "black"}),
    ({"until": NOW}, {"white"}),
    ({"memory_type": ["semantic", "fact"]}, {"white"}),
    ({"include_shared": True}, {"green", "black", "white", "mint"}),
    ({"threshold": 1.0}, set()),
]


@pytest.mark.parametrize("ask", SURFACES, ids=lambda ask: ask.__name__)
def test_conditions_apply(memory: KronvexMemory, ask: Ask) -> None:
    for options, expected in CASES:
        answer = ask(memory, **options)
        assert {
            colour for colour in COLOURS if f"is {colour}" in answer or f"was {colour}" in answer
        } == expected, options


WRONG: list[dict[str, Any]] = [
    {"filter": {"topic": {"$in": []}}}, {"filter": "work"}, {"threshold": 2},
    {"memory_type": "facts"}, {"since": "monday"},
]  # fmt: skip


@pytest.mark.parametrize("ask", SURFACES, ids=lambda ask: ask.__name__)
def test_conditions_that_do_not_fit_are_refused_at_the_call(
    memory: KronvexMemory, ask: Ask
) -> None:
    for wrong in WRONG:
        with pytest.raises((InvalidInput, KronvexError)):
            ask(memory, **wrong)


def test_a_filter_for_one_call(memory: KronvexMemory) -> None:
    retriever = memory.as_retriever(user_id="ana")
    assert "black" not in str(retriever.invoke("tea", filter={"topic": "home"}))
    both = retriever.configurable_fields(filter=ConfigurableField(id="tea_filter"))
    chosen = both.with_config(configurable={"tea_filter": WORK})
    assert [d.page_content for d in chosen.invoke("tea")] == ["Tea at work is black."]
    assert len(both.invoke("tea")) == 3
    with pytest.raises(InvalidInput):
        retriever.invoke("tea", filter={"$gt": 1})


def test_the_habits_of_vector_stores(memory: KronvexMemory) -> None:
    retriever = memory.as_retriever(
        user_id="ana", search_kwargs={"k": 1, "filter": {"topic": "home"}, "score_threshold": 0.01}
    )
    assert [d.page_content for d in retriever.invoke("tea")] == ["Tea at home is green."]
    with pytest.raises(InvalidInput, match="fetch_k"):
        memory.as_retriever(search_kwargs={"fetch_k": 20})
    with pytest.raises(InvalidInput, match="mapping"):
        memory.as_retriever(search_kwargs=3)  # type: ignore[arg-type]


def test_the_model_cannot_widen_what_the_program_fixed(memory: KronvexMemory) -> None:
    _, recall, _ = create_memory_tools(memory, user_id="ana", memory_type="semantic")
    assert "white" in recall.invoke({"query": "tea", "memory_type": "semantic"})
    assert recall.invoke({"query": "tea", "memory_type": "episodic"}) == "No memory matches."
    assert "filter" not in str(recall.args)


def test_a_tool_supersedes(memory: KronvexMemory) -> None:
    remember, recall, _ = create_memory_tools(memory, user_id="ana")
    old = memory.recall("tea at home", user_id="ana", top_k=1)[0]
    said = remember.invoke({"content": "Tea at home is oolong.", "supersedes": [old.id]})
    assert said.startswith("Remembered")
    assert "green" not in recall.invoke({"query": "tea at home"})
    bens = memory.memories(user_id="ben")[0]
    refused = remember.invoke({"content": "Tea is poison.", "supersedes": [bens.id]})
    assert refused.startswith("Nothing was remembered.")
    assert "poison" not in recall.invoke({"query": "poison"})
    assert memory.memories(user_id="ben") == [bens]
