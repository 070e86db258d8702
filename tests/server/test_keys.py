"""API keys: authentication, the agents of each key, and the commands that manage keys."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from inside import main
from langchain_kronvex import KronvexMemory

from .running import client

MISSING = {"detail": "Missing API key. Add header: X-API-Key: kv-..."}
INVALID = {"detail": "Invalid or revoked API key."}


@pytest.fixture
def make_key(store_url: str, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def make(name: str = "app", *options: str) -> str:
        capsys.readouterr()
        assert main(["keys", "create", "--url", store_url, "--name", name, *options]) == 0
        return capsys.readouterr().out.strip()

    return make


def test_a_key_is_shown_once_and_kept_nowhere(  # type: ignore[no-untyped-def]
    make_key, store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_key("my app")
    assert re.fullmatch(r"kv-[\w-]{43}", key)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]

    assert main(["keys", "list", "--url", store_url]) == 0
    line = capsys.readouterr().out
    assert "my app" in line
    assert "active" in line
    assert key not in line


def test_only_good_keys_get_in(make_key, serve) -> None:  # type: ignore[no-untyped-def]
    key = make_key()
    base = serve()
    for path in ("/api/v1/agents", "/api/v1/nowhere", "/auth/keys"):
        assert httpx.get(base + path).json() == MISSING
        for wrong in ("kv-wrong", key[:-1], f"{key} x", "'; --", "ключ".encode()):
            answer = httpx.get(base + path, headers=[(b"x-api-key", wrong)])  # type: ignore[list-item]
            assert (answer.status_code, answer.json()) == (401, INVALID)
    # Before anything else in the request: also before it is found to be no JSON.
    bad = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    assert httpx.post(f"{base}/api/v1/agents", **bad).json() == MISSING
    bearer = httpx.get(f"{base}/api/v1/agents", headers={"Authorization": f"Bearer {key}"})
    assert (bearer.status_code, bearer.json()) == (401, MISSING)
    with client(base, key) as api:
        assert api.get("/agents").json() == []
    assert httpx.get(f"{base}/health").status_code == 200


def test_agents_belong_to_their_key(make_key, serve) -> None:  # type: ignore[no-untyped-def]
    keys = [make_key(name) for name in ("a", "b")]
    base = serve()
    with client(base, keys[0]) as mine, client(base, keys[1]) as theirs:
        agent = mine.post("/agents", json={"name": "bot"}).json()["id"]
        for name in (agent, "readable"):
            said = {"content": "a secret", "session_id": "ana"}
            identity = mine.post(f"/agents/{name}/remember", json=said).json()["id"]
            path = f"/agents/{name}"
            tries = [
                ("GET", path, None), ("PATCH", path, {"name": "x"}), ("DELETE", path, None),
                ("POST", f"{path}/remember", {"content": "x"}),
                ("POST", f"{path}/recall", {"query": "secret", "session_id": "ana"}),
                ("POST", f"{path}/explain", {"query": "secret", "memory_id": identity}),
                ("POST", f"{path}/inject-context", {"message": "secret", "session_id": "ana"}),
                ("GET", f"{path}/memories", None), ("DELETE", f"{path}/memories", None),
                ("GET", f"{path}/memories/{identity}", None),
                ("PATCH", f"{path}/memories/{identity}", {"pinned": True}),
                ("DELETE", f"{path}/memories/{identity}", None),
                ("POST", f"{path}/memories/{identity}/restore", None),
                ("DELETE", f"{path}/memories/bulk-delete", {"memory_type": "episodic"}),
                ("POST", f"{path}/memories/bulk-import", {"memories": [{"content": "x"}]}),
                ("GET", f"{path}/memories/export", None), ("GET", f"{path}/sessions", None),
                ("GET", f"{path}/memories/user/ana/export", None),
                ("DELETE", f"{path}/memories/user/ana", None),
                ("GET", f"{path}/analytics", None),
            ]  # fmt: skip
            for method, address, body in tries:
                answer = theirs.request(method, address, json=body)
                assert (answer.status_code, answer.json()) == (404, {"detail": "Agent not found"})
            theirs.post("/agents/other/remember", json={"content": "b", "session_id": "ana"})
            foreign = theirs.get(f"/agents/other/memories/{identity}")
            assert foreign.json() == {"detail": "Memory not found"}
            assert mine.get(path).json()["memory_count"] == 1
        assert [each["id"] for each in theirs.get("/agents").json()] == ["other"]


def test_a_revoked_key_is_out_at_once(  # type: ignore[no-untyped-def]
    make_key, serve, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_key("a"), make_key("b")
    base = serve()
    with client(base, first) as api:
        assert api.get("/agents").status_code == 200
        assert main(["keys", "revoke", "--url", store_url, first[:8]]) == 0
        assert (api.get("/agents").status_code, api.get("/agents").json()) == (401, INVALID)
    own = httpx.get(f"{base}/auth/keys", headers={"X-API-Key": second}).json()
    assert [(key["name"], key["is_active"]) for key in own] == [("b", True)]
    headers = {"X-API-Key": second}
    assert httpx.delete(f"{base}/auth/keys/{own[0]['id']}", headers=headers).status_code == 204
    # With every key revoked the door is shut, not open.
    assert httpx.get(f"{base}/api/v1/agents").json() == MISSING
    assert httpx.get(f"{base}/api/v1/agents", headers=headers).json() == INVALID
    assert main(["keys", "revoke", "--url", store_url, "nothing"]) == 2
    capsys.readouterr()
    main(["keys", "list", "--url", store_url])
    assert capsys.readouterr().out.count("revoked") == 2


def test_the_first_key_takes_over_existing_agents(make_key, serve) -> None:  # type: ignore[no-untyped-def]
    base = serve()
    with client(base) as api:
        made = api.post("/agents", json={"name": "early"}).json()["id"]
        api.post("/agents/named/remember", json={"content": "early"})
    first, second = make_key("first"), make_key("second")
    with client(base, first) as api:
        assert {each["id"] for each in api.get("/agents").json()} == {made, "named"}
        assert api.get("/agents/named").json()["memory_count"] == 1
    with client(base, second) as api:
        assert api.get("/agents").json() == []
    with client(base) as api:
        assert api.get("/agents").status_code == 401


def test_memories_of_programs_are_served_to_the_keys_given_them(  # type: ignore[no-untyped-def]
    make_key, serve, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with KronvexMemory(store_url) as memory:
        memory.remember("written in process", user_id="ana")
    asked = {"query": "process", "session_id": "ana"}
    base = serve()
    with client(base) as api:
        assert api.post("/agents/default/recall", json=asked).json()["total_found"] == 1
        api.delete("/agents/default")
    with KronvexMemory(store_url) as memory:
        memory.remember("written in process", user_id="ana")
    keys = [make_key("a"), make_key("b", "--agent", "default", "--agent", "unheard-of")]
    for key, status in zip(keys, (404, 200), strict=True):
        with client(base, key) as api:
            api.post("/agents/default/remember", json={"content": "x"})
            answer = api.post("/agents/default/recall", json=asked)
            assert answer.status_code == status
    url = ["--url", store_url]
    assert main(["keys", "create", *url, "--name", "c", "--agent", "default"]) == 2
    assert "another key" in capsys.readouterr().err


def test_an_agent_without_a_key_can_be_given_later(make_key, serve, memory) -> None:  # type: ignore[no-untyped-def]
    from inside import NO_KEY, open_registry

    make_key("first")
    with open_registry(memory.location) as (_, agents):
        agents.register(NO_KEY, "left over")
    key = make_key("second", "--agent", "left over")
    with client(serve(), key) as api:
        assert [each["id"] for each in api.get("/agents").json()] == ["left over"]


def test_the_servers_own_records_are_out_of_reach(make_key, serve) -> None:  # type: ignore[no-untyped-def]
    key = make_key()
    base = serve()
    with client(base, key) as api:
        for name in ("langchain-kronvex/server", "langchain-kronvex%2Fserver"):
            assert api.get(f"/agents/{name}/memories/export").status_code == 404
            body = {"content": "x"}
            assert api.post(f"/agents/{name}/remember", json=body).status_code == 404
