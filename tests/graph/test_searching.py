"""Searching: by words and meaning, newest first, under a prefix, filtered, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp, SearchItem, SearchOp

from integration.parts import HashedWords
from langchain_kronvex import ConfigurationError, EmbeddingMismatch, InvalidInput, KronvexMemory
from langchain_kronvex.embeddings import StaticEmbeddings
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenStore = Callable[..., KronvexStore]
OpenMemory = Callable[..., KronvexMemory]
FACTS = {
    "nuts": {"text": "Ana is allergic to peanuts.", "kind": "health", "weight": 9},
    "city": {"text": "Ana lives in Lisbon.", "kind": "place", "weight": 5},
    "dog": {"text": "Her dog is called Biscuit.", "kind": "family", "weight": 5.5},
    "job": {"text": "She designs bridges for the city.", "kind": "work", "weight": 1},
}


@pytest.fixture
def facts(store: KronvexStore, clock: Clock) -> KronvexStore:
    for key, value in FACTS.items():
        store.put(("users", "ana"), key, value)
        clock.advance(minutes=1)
    return store


def keys(found: list[SearchItem]) -> list[str]:
    return [item.key for item in found]


@pytest.mark.parametrize(
    ("query", "first"),
    [("peanuts", "nuts"), ("Where does she live?", "city"), ("her puppy", "dog"),
     ("engineering profession", "job")],
)  # fmt: skip
def test_items_are_found_by_words_and_by_meaning(
    facts: KronvexStore, query: str, first: str
) -> None:
    found = facts.search(("users", "ana"), query=query)

    assert found[0].key == first
    assert len(found) == len(FACTS)  # no hidden minimum
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert found[0].value == FACTS[first]
    assert found[0].namespace == ("users", "ana")


def test_field_names_are_searched_but_json_syntax_is_not(store: KronvexStore) -> None:
    store.put(("a",), "1", {"preferred_language": "Spanish", "flags": {"beta": True}})
    store.put(("a",), "2", {"favourite_food": ["soup", "bread"]})

    assert store.search(("a",), query="Which language?")[0].key == "1"
    assert store.search(("a",), query="food")[0].key == "2"
    assert store.search(("a",), query="bread")[0].key == "2"


def test_long_namespaces_are_found_too(store: KronvexStore) -> None:
    long = ("tenant", "x" * 300, "é" * 200)
    other = ("tenant", "x" * 300, "é" * 199)
    deeper = (*long, "z")
    for namespace in (long, other, deeper):
        store.put(namespace, "k", {"text": "tea"})

    for options in ({"query": "tea"}, {}):
        assert {i.namespace for i in store.search(long, **options)} == {long, deeper}
        assert {i.namespace for i in store.search(("tenant",), **options)} == {long, other, deeper}
        assert store.search(("ten",), **options) == []
    assert store.list_namespaces(prefix=long) == [long, deeper]
    assert store.get(other, "k").namespace == other
    store.delete(long, "k")
    assert set(store.list_namespaces()) == {other, deeper}


def test_fields_of_the_store(open_store: OpenStore) -> None:
    store = open_store(index={"fields": ["title", "parts[*].text"], "dims": 3})
    store.put(("a",), "1", {"title": "tea", "body": "zebra", "parts": [{"text": "oolong"}]})
    store.put(("a",), "2", {"title": "coffee", "body": "tea tea", "parts": [{"text": "mocha"}]})
    store.put(("a",), "3", {"body": "tea tea tea"})

    assert keys(store.search(("a",), query="tea")) == ["1", "2"]  # the third has no such field
    assert keys(store.search(("a",), query="mocha")) == ["2", "1"]
    by_body = store.search(("a",), query="zebra")
    assert by_body[0].score < 0.2
    assert keys(store.search(("a",))) == ["3", "2", "1"]


def test_fields_of_an_item(store: KronvexStore) -> None:
    store.put(("a",), "1", {"x": "zebra", "y": "tea"}, index=["y"])
    store.put(("a",), "2", {"x": "zebra", "y": "coffee"}, index=["x"])
    store.put(("a",), "3", {"x": "zebra", "y": "juice"}, index=["nothing.here"])
    store.put(("a",), "4", {"x": "zebra", "y": "juice"}, index=[])
    store.put(("a",), "5", {"x": "zebra", "y": "milk"}, index=["$"])

    assert keys(store.search(("a",), query="zebra"))[:2] in (["2", "5"], ["5", "2"])
    assert set(keys(store.search(("a",), query="zebra"))) == {"1", "2", "5"}
    assert keys(store.search(("a",), query="tea"))[0] == "1"


def test_other_languages(store: KronvexStore) -> None:
    texts = ["这是中文", "これは日本語です", "이건 한국어야", "Это русский", "यह रूसी है"]
    for number, each in enumerate(texts):
        store.put(("a",), str(number), {"text": each})
    for text in texts:
        assert store.search(("a",), query=text)[0].value == {"text": text}


def test_any_query_is_allowed(store: KronvexStore) -> None:
    store.put(("a",), "1", {"text": "tea"})
    for query in ("test!@#$%^&*()", "tea " * 2000, "\0", "\ud800", "' OR 1=1 --"):
        assert keys(store.search(("a",), query=query)) == ["1"]
    assert [item.score for item in store.search(("a",), query="   ")] == [None]


@pytest.mark.parametrize(
    "wrong",
    [{"query": 5}, {"query": ["tea"]}, {"limit": -1}, {"limit": "3"}, {"offset": -1},
     {"filter": "x"}, {"filter": {"a": {"$regex": "x"}}}, {"filter": {"a": {"$gt": 1, "b": 2}}}],
    ids=repr,
)  # fmt: skip
def test_an_invalid_search_is_rejected(store: KronvexStore, wrong: dict[str, Any]) -> None:
    operation = SearchOp(("a",))._replace(**wrong)
    with pytest.raises(InvalidInput):
        store.batch([PutOp(("a",), "k", {"v": 1}), operation])
    assert store.list_namespaces() == []


def test_embeddings_of_the_store(open_memory: OpenMemory, open_store: OpenStore) -> None:
    asked: list[str] = []

    class Asked(HashedWords):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            asked.extend(texts)
            return super().embed_documents(texts)

    memory = open_memory()
    store = open_store(memory, index={"embed": Asked(), "fields": ["text"], "dims": 16})
    store.put(("a",), "1", {"text": "zebra"})
    store.put(("a",), "2", {"text": "hidden"}, index=False)
    assert store.search(("a",), query="zebra")[0].key == "1"  # by its words at first
    assert store.memory.flush(30)
    assert "zebra" in asked
    assert "hidden" not in asked
    assert store.memory.stats().unembedded == 0
    store.close()
    with pytest.raises(EmbeddingMismatch):
        open_store(memory, index={"embed": HashedWords(width=8, model="another")})


def test_a_function_that_embeds(open_store: OpenStore) -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        return HashedWords().embed_documents(texts)

    store = open_store(index={"embed": embed, "dims": 16})
    store.put(("a",), "1", {"text": "zebra"})
    store.put(("a",), "2", {"text": "horse"})
    assert store.memory.flush(30)
    assert store.memory.stats().unembedded == 0
    assert store.search(("a",), query="horse")[0].key == "2"


def test_embeddings_that_cannot_be_used_raise(open_store: OpenStore) -> None:
    async def embed(texts: list[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    with pytest.raises(ConfigurationError, match="async"):
        open_store(index={"embed": embed})
    with pytest.raises(ConfigurationError, match="provider"):
        open_store(index={"embed": "nonsense"})
    with pytest.raises(InvalidInput):
        open_store(index={"fields": "text"})


def test_the_store_uses_the_embeddings_of_the_memory(
    open_memory: OpenMemory, open_store: OpenStore
) -> None:
    class Counted(Embeddings):
        texts: tuple[str, ...] = ()

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            self.texts += tuple(texts)
            return [[1.0, 0.5] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.5]

    counted = Counted()
    store = open_store(open_memory(embeddings=counted))
    store.put(("a",), "1", {"text": "zebra"})
    assert store.memory.flush(30)
    assert counted.texts == ("text: zebra",)


def test_a_store_changes_its_embeddings(open_memory: OpenMemory, open_store: OpenStore) -> None:
    memory = open_memory()
    store = open_store(memory)
    assert isinstance(store.embeddings, StaticEmbeddings)
    store.put(("a",), "1", {"text": "zebra"})
    store.put(("a",), "2", {"text": "horse"}, index=False)
    memory.reindex(HashedWords())
    with pytest.raises(EmbeddingMismatch):
        open_store(memory)
    old = open_store(memory, index={"embed": StaticEmbeddings()})
    old.memory.reindex(HashedWords())

    assert isinstance(open_store(memory).embeddings, HashedWords)
    assert open_store(memory).search(("a",), query="zebra")[0].key == "1"


def test_a_store_without_embeddings(open_memory: OpenMemory, open_store: OpenStore) -> None:
    store = open_store(open_memory(embeddings=False))
    store.put(("a",), "1", {"text": "zebra"})
    assert store.embeddings is None
    assert store.search(("a",), query="zebra")[0].score > 0.5
