"""Items with several indexed fields or values on a path, each of which is searched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore

from inside import MAX_TEXTS
from integration.parts import HashedWords, files_with
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenMemory = Callable[..., KronvexMemory]
OpenStore = Callable[..., KronvexStore]
BOOKS, A, B = ("books",), ("a",), ("b",)
FILLER = [
    f"Chapter {n} tells of rivers, roads, mills and markets of the valley." for n in range(20)
]
SENTENCE = "The lighthouse keeper hides the golden compass."


def book(*chapters: str) -> dict[str, Any]:
    return {"title": "A tale", "chapters": [{"content": chapter} for chapter in chapters]}


@pytest.fixture
def plain(open_store: OpenStore) -> KronvexStore:
    return open_store(index={"fields": ["title", "chapters[*].content"]})


def test_one_sentence_of_many_is_found_as_in_langgraphs_own_store(store: KronvexStore) -> None:
    values = {
        "whole": book(*FILLER, SENTENCE),
        "near": book("A keeper polishes the compass of a ship near the lighthouse for years."),
        "far": book(*FILLER),
    }
    index: Any = {"dims": 256, "embed": HashedWords(256), "fields": ["chapters[*].content"]}
    theirs = InMemoryStore(index=index)
    for key, value in values.items():
        theirs.put(BOOKS, key, value)
        store.put(BOOKS, key, value)
    query = "Who hides the golden compass?"

    found = store.search(BOOKS, query=query)
    assert found[0].key == theirs.search(BOOKS, query=query)[0].key == "whole"
    assert found[0].value == values["whole"]


def test_all_fields_count_equally(open_store: OpenStore) -> None:
    store = open_store(index={"fields": ["one", "two", "three"]})
    store.put(A, "doc1", {"two": "jasmine tea", "four": "nothing", "three": "a red bicycle"})
    store.put(A, "doc2", {"one": "two cats", "two": "old maps", "three": "jasmine tea"})

    first, second = store.search(A, query="jasmine tea")
    assert {first.key, second.key} == {"doc1", "doc2"}
    assert first.score == pytest.approx(second.score, abs=1e-5)
    assert store.search(A, query="red bicycle")[0].key == "doc1"
    assert store.search(A, query="cats")[0].key == "doc2"
    top = store.search(A, query="cats")[0].score
    assert all(item.score < top for item in store.search(A, query="nothing"))


def test_an_item_is_one_result_and_one_item(store: KronvexStore) -> None:
    for number in range(5):
        store.put(BOOKS, str(number), book(*[f"{text} {number}" for text in FILLER]))
    for prefix in (BOOKS, ()):
        for query in (None, "rivers and roads of the valley"):
            found = store.search(prefix, query=query, limit=3)
            rest = store.search(prefix, query=query, limit=3, offset=3)
            assert len({item.key for item in [*found, *rest]}) == 5
    assert len(store.search((), filter={"title": "A tale"})) == 5
    assert store.list_namespaces() == [BOOKS]
    assert store.get(BOOKS, "1").value["chapters"][3] == {"content": f"{FILLER[3]} 1"}


def test_a_filter_sees_the_value_of_the_item(store: KronvexStore) -> None:
    store.put(BOOKS, "k", {**book(*FILLER, SENTENCE), "lent": True})
    store.put(BOOKS, "l", {**book(*FILLER, SENTENCE), "lent": False})

    found = store.search(BOOKS, query="golden compass", filter={"lent": True})
    assert [item.key for item in found] == ["k"]


def test_replaced_texts_are_not_found_and_are_erased(store: KronvexStore, tmp_path: Path) -> None:
    words = [f"w{number:016x}" for number in range(6)]
    store.put(BOOKS, "k", book(*words))
    store.put(BOOKS, "k", book("nothing else", "at all"))
    found = store.search(BOOKS, query=words[5])
    assert all(item.value == book("nothing else", "at all") for item in found)
    assert found[0].score < 0.5
    store.put(BOOKS, "l", book(*words[:2], "more"))
    store.put(BOOKS, "l", {"title": "one text"})
    store.memory.flush()
    assert files_with(tmp_path, *words) == []


def test_a_deleted_item_is_deleted_with_its_texts(store: KronvexStore, tmp_path: Path) -> None:
    words = [f"w{number:016x}" for number in range(40)]
    store.put(BOOKS, "k", book(*words))
    store.put(BOOKS, "k#", book("stays", "here"))
    store.batch([PutOp(BOOKS, "k", None), PutOp(B, "other", {"title": "t"})])

    assert {item.key for item in store.search((), query=words[7])} == {"k#", "other"}
    store.memory.flush()
    assert files_with(tmp_path, *words) == []
    store.delete(BOOKS, "k#")
    assert store.list_namespaces() == [B]


def test_texts_beyond_the_limit_are_found_too(store: KronvexStore) -> None:
    chapters = [f"Chapter {n} tells of the town of w{n:05d}." for n in range(MAX_TEXTS + 40)]
    store.put(BOOKS, "long", book(*chapters))
    store.put(BOOKS, "other", book("Nothing of it.", "Nothing at all."))

    for number in (0, 20, MAX_TEXTS, MAX_TEXTS + 39):
        assert store.search(BOOKS, query=f"w{number:05d}")[0].key == "long"
    assert store.memory.stats().memories == MAX_TEXTS + 3


def test_reading_extends_the_lifetime_of_all_texts(store: KronvexStore, clock: Clock) -> None:
    store.put(BOOKS, "k", book(*FILLER, SENTENCE), ttl=10)
    for _ in range(3):
        clock.now += timedelta(minutes=8)
        assert store.search(BOOKS, query="golden compass")[0].score > 0.5
    clock.now += timedelta(minutes=11)
    assert store.search(BOOKS, query="golden compass") == []
    assert store.list_namespaces() == []


def test_texts_of_another_configuration_are_ignored(open_store: OpenStore, clock: Clock) -> None:
    several, one = open_store(index={"fields": ["chapters[*].content"]}), open_store()
    several.put(BOOKS, "k", book(*FILLER, SENTENCE))
    query = "golden compass lighthouse keeper"
    assert one.search(BOOKS, query=query)[0].score > 0.5
    clock.advance(seconds=1)
    one.put(BOOKS, "k", {"title": "Cooking"})

    for store in (several, one):
        [found] = store.search(BOOKS, query=query)
        assert found.value == {"title": "Cooking"}
        assert found.score < 0.5


def test_an_exported_item_is_found_by_its_texts_elsewhere(
    plain: KronvexStore, open_memory: OpenMemory, tmp_path: Path
) -> None:
    plain.put(BOOKS, "k", book(*FILLER, SENTENCE))
    plain.memory.export(tmp_path / "items.jsonl")
    with KronvexStore(open_memory(agent_id="other")) as store:
        store.memory.import_(tmp_path / "items.jsonl")
        [found] = store.search(BOOKS, query="golden compass")
    assert found.score > 0.5
