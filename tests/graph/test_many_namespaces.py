"""A search under a prefix with many namespaces: one index of all, always up to date."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langgraph.store.base import PutOp, SearchItem

from conftest import OpenMemory
from inside import search_among
from langchain_kronvex.langgraph import KronvexStore

from .conftest import Clock

OpenStore = Callable[..., KronvexStore]
MANY = 60
USERS = ("users",)


def user(number: int) -> tuple[str, str]:
    return ("users", f"u{number}")


def keys(found: list[SearchItem]) -> list[str]:
    return [f"{item.namespace[-1]} {item.key}" for item in found]


def filled(store: KronvexStore) -> KronvexStore:
    store.batch(
        [
            PutOp(user(n), "likes", {"text": f"likes tea number {n}", "even": n % 2 == 0})
            for n in range(MANY)
        ]
    )
    store.put(("users2", "eve"), "likes", {"text": "likes saffron and violins"})
    return store


@pytest.fixture
def plain_many(plain: KronvexStore) -> KronvexStore:
    return filled(plain)


def test_the_best_of_all_namespaces_under_the_prefix_are_found(plain_many: KronvexStore) -> None:
    store = plain_many
    store.put(user(7), "plays", {"text": "plays the violin"})
    store.put((*user(8), "deep"), "plays", {"text": "repairs violins"})
    found = store.search(USERS, query="violin")
    assert set(keys(found[:2])) == {"u7 plays", "deep plays"}
    assert all(item.namespace[0] == "users" for item in store.search(USERS, query="saffron"))
    even = store.search(USERS, query="tea", filter={"even": True}, limit=100)
    assert len(even) == MANY // 2
    pages = [store.search(USERS, query="tea", limit=20, offset=o) for o in (0, 20, 40, 60)]
    assert len({key for page in pages for key in keys(page)}) == sum(map(len, pages)) == MANY + 2
    alone = store.search(user(7), query="violin")
    assert keys(alone) == ["u7 plays", "u7 likes"]


def test_a_search_sees_every_write_before_it(
    plain_many: KronvexStore, open_store: OpenStore, open_memory: OpenMemory, clock: Clock
) -> None:
    store, other = plain_many, open_store(open_memory(clock=clock))
    assert keys(store.search(USERS, query="tea number 33", limit=1)) == ["u33 likes"]

    other.put(user(33), "likes", {"text": "prefers coffee"})
    other.put(("users", "new"), "likes", {"text": "owns a trombone"}, ttl=5)
    assert "u33 likes" not in keys(store.search(USERS, query="tea number 33", limit=1))
    assert keys(store.search(USERS, query="coffee", limit=1)) == ["u33 likes"]
    assert keys(store.search(USERS, query="trombone", limit=1)) == ["new likes"]

    other.delete(user(33), "likes")
    clock.advance(minutes=6)
    for gone in ("coffee", "trombone"):
        found = keys(store.search(USERS, query=gone, limit=100))
        assert len(found) == MANY - 1
        assert not {"u33 likes", "new likes"} & set(found)


def test_texts_that_are_parts_of_items(open_store: OpenStore) -> None:
    store = filled(open_store(index={"fields": ["text", "more"]}))
    store.put(user(3), "two", {"text": "first words", "more": "the harpsichord"})
    store.put(user(4), "two", {"text": "first words", "more": "the bassoon"})
    assert keys(store.search(USERS, query="harpsichord", limit=1)) == ["u3 two"]
    assert keys(store.search(USERS, query="bassoon", limit=1)) == ["u4 two"]


def test_too_many_items_for_one_index_are_searched_by_namespace(
    plain_many: KronvexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(plain_many.search(USERS, query="tea number 41", limit=1))
    monkeypatch.setattr(search_among, "MOST_MEMORIES", MANY - 1)
    plain_many.put(user(41), "more", {"text": "likes coffee"})
    assert keys(plain_many.search(USERS, query="tea number 41", limit=1)) == before == ["u41 likes"]
