"""However a path is written, a request never reaches another endpoint; paths are sent raw."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app

from .running import Process, ask, client, serving

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def told(api: httpx.Client, agent: str, *users: str) -> None:
    for user in users:
        said = {"content": f"of {user}", "session_id": user}
        assert api.post(f"/agents/{agent}/remember", json=said).status_code == 201


def left(api: httpx.Client, agent: str) -> int:
    total: int = api.get(f"/agents/{agent}/memories").json()["total"]
    return total


@pytest.mark.parametrize(
    "rest",
    ["/memories/", "/memories//", "//memories", "/memories/%0A", "/memories%0A", "%2Fmemories",
     "/memories/user/", "/memories/user//", "/memories/user//export", "/memories/user/ana/",
     "/memories/user%2Fana", "/memories/user%2Fana%2Fexport", "/memories%2F", "/memories/%2F",
     "/memories/user/ana/export%0A", "/memories/export%0A", "/", "//", "%0A", "/sessions/"],
)  # fmt: skip
def test_no_path_leads_to_another(server: Process, agent: str, rest: str) -> None:
    with client(server.base_url) as api:
        told(api, agent, "ana", "ben")
        target = f"/api/v1/agents/{agent}{rest}"
        kind = [("Content-Type", "application/json")]
        for method in METHODS:
            status, headers, body = ask(server.base_url, method, target, kind, b"{}")
            assert status == 404
            assert "location" not in {name.lower() for name in headers}
            assert method == "HEAD" or json.loads(body) == {"detail": "Not Found"}
        assert left(api, agent) == 2


@pytest.mark.parametrize(
    "target",
    ["/api/v1/agents/", "//api/v1/agents", "/api/v1//agents", "/api//v1/agents", "/", "//",
     "/health/", "/api/v1/agents%2Fx", "/auth/keys/", "/api/v1/../v1/agents", "/api/v1/./agents",
     "/API/V1/agents", "/api/v1/agents;x=1", "/api%2Fv1/agents", "/%2e%2e/health",
     "/health%00", "/health%0A"],
)  # fmt: skip
def test_no_spelling_of_a_path_is_sent_elsewhere(server: Process, target: str) -> None:
    for method in ("GET", "DELETE"):
        status, headers, _ = ask(server.base_url, method, target)
        assert status == 404
        assert "location" not in {name.lower() for name in headers}


@pytest.mark.parametrize("user", ["a/b", "/", "ana/", "/ana", "a//b", "ana\n", "..", "a/../b", "%"])
def test_ids_of_users_are_taken_as_they_are(api: httpx.Client, agent: str, user: str) -> None:
    told(api, agent, user, "ana")
    path = f"/agents/{agent}/memories/user/{quote(user, safe='').replace('.', '%2E')}"
    assert api.get(f"{path}/export").json()["memory_count"] == 1
    assert api.delete(path).json()["erased"] == 1
    assert left(api, agent) == 1


def test_paths_are_looked_at_below_a_mount_too(store_url: str) -> None:
    from fastapi import FastAPI

    with KronvexMemory(store_url) as memory:
        outer = FastAPI()
        outer.mount("/of/{tenant}", create_app(memory))
        with serving(outer) as base, client(f"{base}/of/a%20b") as api:
            told(api, "bot", "ana", "b/", "ben")
            place = "/of/a%20b/api/v1/agents/bot/memories"
            for rest in ("/", "//", "%0A", "/user%2Fana", "/user/ana/"):
                status, headers, _ = ask(base, "DELETE", place + rest)
                assert (status, "location" in headers) == (404, False)
            assert left(api, "bot") == 3
            assert api.delete("/agents/bot/memories/user/b%2F").json()["erased"] == 1
            assert api.delete("/agents/bot/memories").json() == {"deleted": 2}


@pytest.mark.parametrize("prefix", ["/memory", "/memory/", "/"])
def test_behind_a_proxy_that_names_a_prefix(store_url: str, prefix: str) -> None:
    """However the prefix is written, no request gets past the keys."""
    from inside import create_key

    _, secret = create_key(store_url, "a")
    with KronvexMemory(store_url) as memory:
        app = create_app(memory)

        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                raw = prefix.encode() + scope["raw_path"]
                scope = {**scope, "root_path": prefix, "path": raw.decode(), "raw_path": raw}
            await app(scope, receive, send)

        with serving(proxied) as base:
            for key, status in ((None, 401), (secret, 200)):
                with client(base, key) as api:
                    assert api.get("/agents").status_code == status


@pytest.mark.parametrize(
    "query",
    ["session_id=", "user_id=", "session_id", "session_id=&user_id=ana", "session_id=ana&user_id=",
     "session_id=%20", "session_id=%00", "session_id=ana&session_id=", "sessionid=ana",
     "session_id=ana&session_id=ben", "user_id=ana&user_id=ana", "Session_id=ana",
     "memory_type=fact", "session_id[]=ana"],
)  # fmt: skip
def test_nothing_but_the_plain_url_erases_all(api: httpx.Client, agent: str, query: str) -> None:
    told(api, agent, "ana", "ben")
    refused = api.delete(f"/agents/{agent}/memories?{query}")
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"]
    assert left(api, agent) == 2


@pytest.mark.parametrize("body", [{"session_id": "ana"}, [], {"memory_ids": []}])
def test_a_body_erases_not_all(api: httpx.Client, agent: str, body: Any) -> None:
    told(api, agent, "ana", "ben")
    assert api.request("DELETE", f"/agents/{agent}/memories", json=body).status_code == 422
    assert left(api, agent) == 2
    assert api.request("DELETE", f"/agents/{agent}/memories", json={}).json() == {"deleted": 2}


def test_bulk_delete_erases_only_the_given_ids(api: httpx.Client, agent: str) -> None:
    told(api, agent, "ana", "ben")
    path = f"/agents/{agent}/memories/bulk-delete"
    whole = {"memory_type": "episodic"}
    for refused in ({**whole, "session_id": ""}, {**whole, "user_id": ""}):
        assert api.request("DELETE", path, json=refused).status_code == 422
    query = {"session_id": "ana"}
    assert api.request("DELETE", path, json=whole, params=query).status_code == 422
    assert left(api, agent) == 2
    mine = {**whole, "session_id": "ana"}
    assert api.request("DELETE", path, json=mine).json() == {"deleted": 1}
    assert api.get(f"/agents/{agent}/memories", params=query).json()["total"] == 0
    assert left(api, agent) == 1
