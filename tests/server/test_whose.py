"""Users and sessions with different names: HTTP clients find what programs stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage

from langchain_kronvex import KronvexMemory

from .running import client

STORED = {  # whose, and what
    "tea": ("ana", "monday"), "peanuts": ("ana", "tuesday"), "garden": ("ana", None),
    "coffee": ("bob", "monday"), "alone": (None, "monday"), "same": ("eve", "eve"),
    "shared": (None, None),
}  # fmt: skip
TEXTS = {word: f"The note about {word}" for word in STORED}


@pytest.fixture
def api(serve: Callable[..., str], store_url: str) -> Iterator[httpx.Client]:
    with KronvexMemory(store_url) as memory:
        for word, (user, session) in STORED.items():
            memory.remember(TEXTS[word], user_id=user, session_id=session)
        hello = [HumanMessage("Hello, I am Ana.")]
        memory.save_messages(hello, "monday", user_id="ana", remember=False)
    with client(f"{serve()}") as opened:
        yield opened


PATH = "/agents/default"
ANAS = {"tea", "peanuts", "garden"}


def words(memories: list[dict[str, Any]]) -> set[str]:
    return {memory["content"].rpartition(" ")[2] for memory in memories}


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        ({"user_id": "ana"}, ANAS),
        ({"session_id": "ana"}, ANAS),
        ({"user_id": "ana", "session_id": "ana"}, ANAS),
        ({"user_id": "ana", "session_id": "monday"}, {"tea"}),
        ({"user_id": "bob", "session_id": "monday"}, {"coffee"}),
        ({"session_id": "monday"}, {"alone"}),
        ({"session_id": "eve"}, {"same"}),
        ({"user_id": "ana", "session_id": "no such"}, set()),
    ],
)
def test_every_path_reads_by_both_ids(
    api: httpx.Client, ids: dict[str, str], wanted: set[str]
) -> None:
    asked = {"query": "note", "message": "note", "top_k": 20, **ids}
    recalled = api.post(f"{PATH}/recall", json=asked).json()
    context = api.post(f"{PATH}/inject-context", json=asked).json()
    listed = api.get(f"{PATH}/memories", params=ids).json()
    assert words(recalled["memories"]) == words(context["memories"]) == wanted
    assert words([each["memory"] for each in recalled["results"]]) == wanted
    assert words(listed["memories"]) == wanted
    assert listed["total"] == len(wanted)


def test_answers_carry_both_ids(api: httpx.Client) -> None:
    memories = api.get(f"{PATH}/memories/export").json()["memories"]
    for found in (
        memories,
        api.get(f"{PATH}/memories", params={"user_id": "ana"}).json()["memories"],
        api.get(f"{PATH}/memories/user/ana/export").json()["memories"],
        api.get(f"{PATH}/analytics").json()["top_memories"],
        *(api.post(f"{PATH}/recall", json={"query": "note", "user_id": u}).json()["memories"]
          for u in ("ana", "bob", "eve")),
        [api.get(f"{PATH}/memories/{each['id']}").json() for each in memories],
        [api.patch(f"{PATH}/memories/{each['id']}", json={"pinned": True}).json()
         for each in memories],
    ):  # fmt: skip
        assert found
        for each in found:
            user, session = STORED[each["content"].rpartition(" ")[2]]
            assert (each["user_id"], each["session_id"]) == (user, session or user)


def test_each_session_counts_the_memories_its_ids_list(api: httpx.Client) -> None:
    sessions = api.get(f"{PATH}/sessions").json()["sessions"]
    assert {(each["session_id"], each["user_id"]): each["count"] for each in sessions} == {
        ("eve", None): 1, ("monday", None): 1, ("monday", "bob"): 1, ("ana", None): 3,
        ("tuesday", "ana"): 1, ("monday", "ana"): 1,
    }  # fmt: skip
    for each in sessions:
        ids = {name: each[name] for name in ("session_id", "user_id") if each[name]}
        assert api.get(f"{PATH}/memories", params=ids).json()["total"] == each["count"]
    counted = api.get(f"{PATH}/analytics").json()["sessions"]
    assert {(e["session_id"], e["user_id"], e["memory_count"]) for e in counted} == {
        (e["session_id"], e["user_id"], e["count"]) for e in sessions
    }


def test_a_user_is_erased_with_all_sessions(api: httpx.Client, store_url: str) -> None:
    path = f"{PATH}/memories/user/ana"
    exported = api.get(f"{path}/export").json()
    assert (words(exported["memories"]), exported["memory_count"]) == (ANAS, 3)
    assert api.delete(path).json()["erased"] == 4  # the chat message too
    left = api.get(f"{PATH}/memories/export").json()["memories"]
    assert words(left) == set(STORED) - ANAS
    with KronvexMemory(store_url) as memory:
        assert memory.chat_history("monday", user_id="ana").messages == []
        assert [each.content for each in memory.memories(user_id="bob")] == [TEXTS["coffee"]]


@pytest.mark.parametrize(
    ("ids", "gone"),
    [({"user_id": "ana", "session_id": "monday"}, {"tea"}), ({"user_id": "ana"}, ANAS),
     ({"session_id": "monday"}, {"alone"})],
)  # fmt: skip
def test_erasing_goes_by_both_ids(api: httpx.Client, ids: dict[str, str], gone: set[str]) -> None:
    assert api.delete(f"{PATH}/memories", params=ids).json() == {"deleted": len(gone)}
    left = api.get(f"{PATH}/memories/export").json()["memories"]
    assert words(left) == set(STORED) - gone


def test_an_export_is_imported_unchanged(api: httpx.Client) -> None:
    exported = api.get(f"{PATH}/memories/export").json()["memories"]
    copied = api.post("/agents/copy/memories/bulk-import", json={"memories": exported}).json()
    assert copied["imported"] == len(STORED)
    for ids in ({"user_id": "ana"}, {"user_id": "ana", "session_id": "monday"},
                {"session_id": "monday"}, {"user_id": "bob"}):  # fmt: skip
        there = [api.get(f"{agent}/memories", params=ids).json()["memories"]
                 for agent in (PATH, "/agents/copy")]  # fmt: skip
        assert words(there[0]) == words(there[1]) != set()


def test_a_user_is_erased_with_the_records_of_our_client(serve: Callable[..., str]) -> None:
    """The client keeps its chats on the server under names of their own."""
    base = serve()
    with client(base) as api, KronvexMemory(base) as memory:
        for user in ("ana", "anabel"):
            memory.remember(f"{user} likes tea", user_id=user, session_id="monday")
            for session in ("monday", "tuesday"):
                history = memory.chat_history(session, user_id=user)
                history.add_user_message(f"I am {user}, on {session}")
        assert memory.flush(30)
        before = api.get(f"{PATH}/memories").json()["total"]
        exported = api.get(f"{PATH}/memories/user/ana/export").json()
        assert exported["memory_count"] * 2 == before
        assert all("anabel" not in each["content"] for each in exported["memories"])
        erased = api.delete(f"{PATH}/memories/user/ana").json()["erased"]
        assert erased == exported["memory_count"]
        left = api.get(f"{PATH}/memories").json()["memories"]
        assert len(left) * 2 == before
        assert all("anabel" in each["content"] for each in left)
        assert memory.chat_history("monday", user_id="anabel").messages
        assert memory.forget(user_id="ana") == 0
