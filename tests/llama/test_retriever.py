"""The retriever for LlamaIndex returns memories as nodes."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import QueryBundle
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode

from langchain_kronvex import InvalidInput, KronvexMemory, ScopeRequired
from langchain_kronvex.llama_index import KronvexRetriever

from .parts import Call, ScriptedModel, assistant, both_ways


@both_ways
async def test_nodes_equal_the_documents_of_the_langchain_retriever(
    memory: KronvexMemory, call: Call
) -> None:
    memory.remember("Ana prefers tea.", user_id="ana", session_id="s", metadata={"page": 3})
    memory.remember("Ana prefers cake.", user_id="ana", memory_type="semantic")
    memory.remember("Ben prefers tea.", user_id="ben")
    retriever = KronvexRetriever(memory=memory, user_id="ana", k=2)
    found = await call(retriever, "retrieve", "tea")
    documents = memory.as_retriever(k=2, user_id="ana").invoke("tea")

    assert [node.text for node in found] == [d.page_content for d in documents]
    assert [node.node_id for node in found] == [d.id for d in documents]
    assert [set(node.metadata) for node in found] == [set(d.metadata) for d in documents]
    assert found[0].score == found[0].metadata["similarity"] > 0
    assert found[0].metadata["page"] == 3


@both_ways
async def test_options_are_respected(memory: KronvexMemory, call: Call) -> None:
    memory.remember("Ana prefers tea.", user_id="ana", session_id="monday")
    memory.remember("Ana prefers green tea.", user_id="ana", memory_type="semantic")
    memory.remember("Tea is served at four.")

    async def found(**options: Any) -> list[str]:
        retriever = KronvexRetriever(memory=memory, **{"user_id": "ana", **options})
        return sorted(n.text for n in await call(retriever, "retrieve", QueryBundle("tea")))

    assert await found() == ["Ana prefers green tea.", "Ana prefers tea."]
    assert await found(session_id="monday") == ["Ana prefers green tea.", "Ana prefers tea."]
    assert await found(session_id="monday", this_session_only=True) == ["Ana prefers tea."]
    assert await found(memory_type="semantic") == ["Ana prefers green tea."]
    assert "Tea is served at four." in await found(include_shared=True)
    assert await found(threshold=1.0) == []
    assert len(await found(k=1)) == 1


def test_a_model_sees_the_text_the_type_and_the_date(memory: KronvexMemory) -> None:
    memory.remember("Ana prefers tea.", user_id="ana")
    model = ScriptedModel(answer=lambda _: assistant("tea"))
    retriever = KronvexRetriever(memory=memory, user_id="ana")
    answer = RetrieverQueryEngine.from_args(retriever, llm=model).query("tea or coffee?")
    node = retriever.retrieve("tea")[0].node

    assert str(answer) == "tea"
    assert "Ana prefers tea." in model.shown[0]
    assert "created_at: 20" in model.shown[0]
    assert "similarity" not in model.shown[0]
    assert node.get_content(MetadataMode.EMBED) == "Ana prefers tea."


def test_a_scope_is_required(memory: KronvexMemory) -> None:
    with pytest.raises(ScopeRequired, match="user_id or session_id"):
        KronvexRetriever(memory=memory)


@pytest.mark.parametrize(
    "option",
    [
        {"user_id": ""},
        {"k": 0},
        {"threshold": 2},
        {"memory_type": "dream"},
        {"memory": "sqlite://"},
        {"include_shared": "no"},
        {"this_session_only": "no"},
        {"this_session_only": True},
    ],
)
def test_invalid_options_are_rejected(memory: KronvexMemory, option: Any) -> None:
    with pytest.raises(InvalidInput):
        KronvexRetriever(**{"memory": memory, "user_id": "ana", **option})
