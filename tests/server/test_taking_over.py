"""A key cannot take over data that programs stored without a server by naming its agent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from databases import DATABASES
from inside import ServerSettings, Service, create_key
from langchain_kronvex import KronvexKeyValueStore, KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
from langchain_kronvex.server import create_app

from .running import client, serving


def keep_memory(memory: KronvexMemory) -> Callable[[], Any]:
    memory.remember("treasure")
    return lambda: [each.content for each in memory.memories()]


def keep_message(memory: KronvexMemory) -> Callable[[], Any]:
    memory.chat_history("monday", user_id="ana").add_user_message("treasure")
    return lambda: [each.content for each in memory.load_messages("monday", user_id="ana")]


def keep_value(memory: KronvexMemory) -> Callable[[], Any]:
    values = KronvexKeyValueStore(memory, "settings")
    values.mset([("k", "treasure")])
    return lambda: values.mget(["k"])


KEEPERS = {"memories": keep_memory, "chats": keep_message, "values": keep_value}


def assert_out_of_reach(api: httpx.Client, agent: str) -> None:
    path = f"/agents/{agent}"
    told = {"content": "mine", "session_id": "m"}
    for method, address, body in (
        ("POST", f"{path}/remember", told),
        ("POST", f"{path}/memories/bulk-import", {"memories": [told]}),
        ("GET", f"{path}/memories", None),
        ("DELETE", f"{path}/memories", None),
        ("DELETE", path, None),
    ):
        answer = api.request(method, address, json=body)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Agent not found"})


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_no_key_takes_over_an_agent_that_holds_anything(backend: str, store_url: str) -> None:
    url = store_url if backend == "sqlite" else DATABASES.fresh()
    names = {name: f"{name}-{uuid.uuid4().hex[:4]}" for name in KEEPERS}
    _, secret = create_key(url, "mallory")
    memories = {name: KronvexMemory(url, agent_id=names[name]) for name in KEEPERS}
    kept = {name: keep(memories[name]) for name, keep in KEEPERS.items()}
    with KronvexMemory(url) as first:
        graph = KronvexStore(first)
        graph.put(("u",), "k", {"text": "treasure"})
        with serving(create_app(first)) as base, client(base, secret) as api:
            for agent in (*names.values(), first.agent_id, graph.memory.agent_id):
                assert_out_of_reach(api, agent)
            new = api.post("/agents/new/remember", json={"content": "mine"})
            assert new.status_code == 201
        assert graph.get(("u",), "k").value == {"text": "treasure"}  # type: ignore[union-attr]
        graph.close()
    for read in kept.values():
        assert read() == ["treasure"]
    for memory in memories.values():
        memory.close()


def test_an_agent_and_its_langgraph_items_have_one_owner(serve, store_url: str) -> None:  # type: ignore[no-untyped-def]
    secrets = [create_key(store_url, name)[1] for name in ("a", "b")]
    base = serve()
    said = {"content": "x", "session_id": "u"}
    with client(base, secrets[0]) as mine, client(base, secrets[1]) as theirs:
        made = mine.post("/agents", json={"name": "bot"}).json()["id"]
        assert mine.post("/agents/bot/remember", json=said).status_code == 201
        for name in ("bot.langgraph", f"{made}.langgraph", f"{made.upper()}.langgraph"):
            assert_out_of_reach(theirs, name)
            assert mine.post(f"/agents/{name}/remember", json=said).status_code == 201
        assert mine.post("/agents/late.langgraph/remember", json=said).status_code == 201
        assert_out_of_reach(theirs, "late")


def test_two_keys_that_race_for_a_name_get_it_once(serve, store_url: str) -> None:  # type: ignore[no-untyped-def]
    secrets = [create_key(store_url, f"key {n}")[1] for n in range(4)]
    base = serve()

    def claim(place: tuple[int, str]) -> tuple[int, int]:
        number, secret = place
        with client(base, secret) as api:
            said = {"content": f"of {secret}", "session_id": "u"}
            return number, api.post(f"/agents/wanted-{number}/remember", json=said).status_code

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(claim, [(n, secret) for n in range(10) for secret in secrets]))
    for number in range(10):
        assert sorted(s for n, s in got if n == number) == [201, 404, 404, 404]


def test_an_agent_deleted_twice_at_once_is_deleted_once(store_url: str) -> None:
    with KronvexMemory(store_url) as memory:
        app = create_app(memory)
        memory.remember("x")
        opened = app.state.service.open_agents

        def delete(_: int) -> int:
            with client(base, timeout=20) as api:
                return api.delete("/agents/default").status_code

        with serving(app) as base, ThreadPoolExecutor(2) as pool:
            with opened.use("default"):
                running = [pool.submit(delete, number) for number in range(2)]
                until(lambda: len(opened._changed._waiters) == 2)
            assert sorted(each.result(25) for each in running) == [204, 404]


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_waiting_deletion_does_not_block_registration(store_url: str) -> None:
    """Whether an agent holds anything is known without waiting for the requests that use it."""
    with KronvexMemory(store_url) as memory:
        service = Service(memory, ServerSettings())
        request = Request({"type": "http", "state": {"key_id": "a key"}})
        with service.open_agents.use_alone("bot"), ThreadPoolExecutor(1) as pool:
            registered = pool.submit(service.registered, request, "bot", make=True)
            assert registered.result(10).id == "bot"
        service.close()
