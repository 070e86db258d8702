"""Memories with a user id and a different session id belong to that user alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from inside import RESERVED, Record, Scope, VersionedRecord, store_request
from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app
from server.running import serving

from .bad_server import BadServer
from .conftest import Open
from .plain_server import Item, PlainServer, now

NUTS, TEA, BOBS = "Ana is allergic to peanuts", "Ana likes tea", "Bob is allergic to peanuts"


@pytest.fixture
def embedded(store_url: str) -> Iterator[KronvexMemory]:
    """A store with memories of two users in sessions of one name, and of one without."""
    with KronvexMemory(store_url) as memory:
        memory.remember(NUTS, user_id="ana", session_id="monday")
        memory.remember(TEA, user_id="ana")
        memory.remember(BOBS, user_id="bob", session_id="monday")
        yield memory


@pytest.fixture
def client(embedded: KronvexMemory, told: list[Exception]) -> Iterator[KronvexMemory]:
    with (
        serving(create_app(embedded)) as url,
        KronvexMemory(url, on_error=told.append) as memory,
    ):
        yield memory


def texts(found: Any) -> set[str]:
    return {memory.content for memory in found}


def test_a_served_store_is_read_by_user_and_session(
    client: KronvexMemory, told: list[Exception]
) -> None:
    assert texts(client.recall("peanuts tea", user_id="ana")) == {NUTS, TEA}
    assert texts(client.memories(user_id="ana")) == {NUTS, TEA}
    both = {"user_id": "ana", "session_id": "monday"}
    for found in (client.recall("peanuts", **both), client.memories(**both)):
        assert [(m.content, m.user_id, m.session_id) for m in found] == [(NUTS, "ana", "monday")]
    assert texts(client.recall("peanuts", user_id="bob")) == {BOBS}
    assert client.recall("peanuts", session_id="monday") == []
    assert client.memories(user_id="monday") == client.memories() == []
    of_monday = [s for s in client.sessions() if s.session_id == "monday"]
    assert {(s.user_id, s.memories) for s in of_monday} == {("ana", 1), ("bob", 1)}
    assert told == []


def test_a_served_memory_is_told_again_changed_and_read_on(
    client: KronvexMemory, embedded: KronvexMemory
) -> None:
    both = {"user_id": "ana", "session_id": "monday"}
    again = client.remember(NUTS, **both)
    assert again.deduplicated
    assert client.flush(20)
    assert client.update(again.id, metadata={"a": 1}).metadata == {"a": 1}
    assert client.flush(20)
    assert [(m.content, m.metadata) for m in client.memories(**both)] == [(NUTS, {"a": 1})]
    assert texts(embedded.memories(user_id="ana")) == {NUTS, TEA}


def test_what_is_forgotten_is_gone_and_counted(
    client: KronvexMemory, embedded: KronvexMemory
) -> None:
    assert client.forget(user_id="bob", session_id="tuesday") == 0
    assert client.forget(user_id="monday") == 0
    assert client.forget(user_id="ana", session_id="monday") == 1
    assert texts(embedded.memories(user_id="ana")) == {TEA}
    assert client.forget(user_id="bob") == 1
    assert embedded.memories(user_id="bob") == []
    assert client.forget(user_id="ana") == 1
    assert embedded.stats().memories == 0


def test_its_users_move_house_with_it(client: KronvexMemory, tmp_path: Path) -> None:
    client.export(tmp_path / "all.jsonl")
    with KronvexMemory("sqlite://", embeddings=False) as moved:
        moved.import_(tmp_path / "all.jsonl")
        assert texts(moved.memories(user_id="ana")) == {NUTS, TEA}
        assert texts(moved.memories(user_id="bob", session_id="monday")) == {BOBS}
        assert moved.memories(session_id="monday") == []


def test_what_others_stored_with_both_ids(client: KronvexMemory) -> None:
    answer = httpx.post(
        f"{client.location}/api/v1/agents/default/remember",
        json={"content": "Eve skis", "user_id": "eve", "session_id": "friday"},
    )
    assert answer.status_code == 201
    assert texts(client.recall("skis", user_id="eve")) == {"Eve skis"}
    assert client.forget(user_id="eve") == 1


class Confused(PlainServer):
    """Returns every memory with Bob as its user, whatever its session."""

    def found(self, body: dict[str, Any], found: list[tuple[float, Item]]) -> dict[str, Any]:
        return self.of_bob(super().found(body, found))

    def listing(self, items: list[Item], query: dict[str, str]) -> dict[str, Any]:
        return self.of_bob(super().listing(items, query))

    def of_bob(self, answer: dict[str, Any]) -> dict[str, Any]:
        for memory in answer["memories"]:
            memory["user_id"] = "bob"
        return answer


def test_another_users_memory_is_not_shown_for_its_session(
    told: list[Exception], open_on: Open
) -> None:
    record = Record(
        kind="memory", id="x", scope=Scope("ana"), key="x", type="fact", content="forged zebra",
        created_at=now(),
    )  # fmt: skip
    forged = (store_request(VersionedRecord(record, 1, 1)).body or {})["metadata"]
    assert RESERVED in forged
    with Confused() as server:
        items = server.items.setdefault("default", [])
        items.append(Item("The zebra is Bob's", "fact", "ana", {}, False, None))
        items.append(Item("forged zebra", "fact", "ana", forged, False, None))
        memory = open_on(server)
        assert memory.recall("zebra", user_id="ana") == memory.memories(user_id="ana") == []
        assert "2 memories of others" in str(told[0])
        assert {(s.user_id, s.session_id) for s in memory.sessions()} == {("bob", "ana")}
        assert memory.forget(user_id="ana") == 0
        assert len(server.all_items()) == 2


def test_a_server_that_names_the_user_alone(bad: BadServer, open_on: Open) -> None:
    def as_tutorial(item: Item, **more: Any) -> dict[str, Any]:
        return {**Item.as_json(item, **more), "session_id": None, "user_id": item.session_id}

    class Tutorial(Item):
        as_json = as_tutorial

    memory = open_on(bad)
    memory.remember("The lion is awake", user_id="ana")
    assert memory.flush(20)
    [items] = bad.items.values()
    items[0].__class__ = Tutorial
    items.append(Tutorial("The zebra is awake", "fact", "ana", {}, False, None))
    listed = {(m.content, m.user_id, m.session_id) for m in memory.memories(user_id="ana")}
    assert listed == {
        ("The lion is awake", "ana", None), ("The zebra is awake", "ana", None)
    }  # fmt: skip
