"""Users see only their own memories on every path that reads, whatever their ids look like."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .running import client

HOSTILE = ["ana", "Ana", "ana ", " ana", "an", "ana%", "%", "_", "ana/ben", "../ana", "*", "null",
           "None", "0", "true", "' OR '1'='1", '"', "\\", "ana\u200b", "aná", "ana\u0301", "\n",
           "ana\nben", "🦜", "langchain-kronvex/server", "a" * 255]  # fmt: skip
names = st.sampled_from([name for name in HOSTILE if name.strip()]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
).filter(str.strip)
whose = st.one_of(
    st.just({}),
    names.map(lambda name: {"session_id": name}),
    names.map(lambda name: {"user_id": name}),
    names.map(lambda name: {"session_id": name, "user_id": name}),
    st.tuples(names, names).map(lambda pair: {"user_id": pair[0], "session_id": pair[1]}),
)
Ids = dict[str, str]


def owner(ids: Ids) -> str | None:
    return ids.get("user_id") or ids.get("session_id")


def may_see(reader: Ids, writer: Ids) -> bool:
    """The rule: the same user and, when the reader names a session of that user, the same one."""
    if owner(reader) != owner(writer):
        return False
    if len(set(reader.values())) < 2:
        return True
    return writer.get("session_id") == reader["session_id"]


def read_everywhere(api: httpx.Client, agent: str, ids: Ids) -> list[set[str]]:
    path = f"/agents/{agent}"
    recalled = api.post(f"{path}/recall", json={"query": "the note", "top_k": 20, **ids}).json()
    asked = {"message": "the note", "top_k": 20, **ids}
    context = api.post(f"{path}/inject-context", json=asked).json()
    found = [
        {memory["content"] for memory in recalled["memories"]},
        {result["memory"]["content"] for result in recalled["results"]},
        {memory["content"] for memory in context["memories"]},
        {line.split("] ", 1)[1] for line in context["context"].splitlines()},
    ]
    if ids:  # without, a listing is of the whole agent
        listing = api.get(f"{path}/memories", params={**ids, "limit": 100}).json()
        found.append({memory["content"] for memory in listing["memories"]})
    if len(set(ids.values())) == 1:
        user = quote(str(owner(ids)), safe="")
        exported = api.get(f"{path}/memories/user/{user}/export").json()
        found.append({memory["content"] for memory in exported["memories"]})
    found.append(recallable(api, path, ids))
    return found


def recallable(api: httpx.Client, path: str, ids: Ids) -> set[str]:
    """Return the memories that a recall with these ids returns, as explained one by one."""
    found = set()
    for memory in api.get(f"{path}/memories", params={"limit": 100}).json()["memories"]:
        asked = {"query": "the note", "memory_id": memory["id"], "top_k": 20, **ids}
        answer = api.post(f"{path}/explain", json=asked)
        if answer.status_code == 200 and answer.json()["rank"]:
            found.add(memory["content"])
        elif answer.status_code != 200:
            assert answer.json() == {"detail": "Memory not found"}
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(writers=st.lists(whose, min_size=2, max_size=6), reader=whose)
def test_readers_see_only_their_own_memories(server: Any, writers: list[Ids], reader: Ids) -> None:
    agent = f"isolated-{uuid.uuid4().hex}"
    with client(server.base_url) as api:
        for number, ids in enumerate(writers):
            body = {"content": f"the note number {number}", **ids}
            answer = api.post(f"/agents/{agent}/remember", json=body)
            assert answer.status_code == 201, answer.text
            assert answer.json()["deduplicated"] is False
        for ids in [reader, *writers]:
            wanted = {f"the note number {n}" for n, w in enumerate(writers) if may_see(ids, w)}
            for found in read_everywhere(api, agent, ids):
                assert found == wanted


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=names, second=names)
def test_agents_see_nothing_of_each_other(server: Any, first: str, second: str) -> None:
    prefix = uuid.uuid4().hex[:8]
    paths = [f"/agents/{quote(f'{prefix}{name}', safe='')}" for name in (first, second)]
    said = {"content": "the secret", "session_id": "ana"}
    asked = {"query": "the secret", "session_id": "ana"}
    with client(server.base_url) as api:
        made = api.post(f"{paths[0]}/remember", json=said)
        if made.status_code == 201:
            assert api.post(f"{paths[0]}/recall", json=asked).json()["total_found"] == 1
        other = api.post(f"{paths[1]}/remember", json={"content": "x", "session_id": "ben"})
        if other.status_code == 201 and first != second:
            assert api.post(f"{paths[1]}/recall", json=asked).json()["total_found"] == 0


def test_without_ids_a_listing_is_of_the_whole_agent(api: httpx.Client, agent: str) -> None:
    for user in ("ana", None):
        body = {"content": f"of {user}", "session_id": user}
        api.post(f"/agents/{agent}/remember", json=body)
    assert api.get(f"/agents/{agent}/memories").json()["total"] == 2


def test_shared_memories_are_added_when_asked_for(api: httpx.Client, agent: str) -> None:
    for user in ("ana", "ben", None):
        body = {"content": f"the note of {user}", "session_id": user}
        api.post(f"/agents/{agent}/remember", json=body)
    asked = {"query": "note", "session_id": "ana", "include_shared": True}
    found = api.post(f"/agents/{agent}/recall", json=asked).json()["memories"]
    assert {memory["content"] for memory in found} == {"the note of ana", "the note of None"}
