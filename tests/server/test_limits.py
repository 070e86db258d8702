"""Limits on size, rate and origin of requests, and the access log."""

from __future__ import annotations

import json
import logging

import httpx
import pytest

from inside import RateLimiter, main
from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import ServerSettings

from .running import Process, ask, client


def test_the_limiter_tells_the_truth() -> None:
    now = 100.0
    limiter = RateLimiter(3, clock=lambda: now)
    assert [limiter.ask("a")[0] for _ in range(3)] == [2, 1, 0]
    assert limiter.ask("b")[0] == 2
    now = 130.5
    assert limiter.ask("a") == (-1, 30)
    now += 29
    assert limiter.ask("a") == (-1, 1)
    now += 1
    assert limiter.ask("a")[0] == 2


def test_a_key_that_asks_too_often_waits(serve) -> None:  # type: ignore[no-untyped-def]
    with client(serve(requests_per_minute=2)) as api:
        for left in (1, 0):
            answer = api.get("/agents")
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit"] == "2"
            assert answer.headers["x-ratelimit-remaining"] == str(left)
        refused = api.get("/agents")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["detail"].startswith("Rate limit exceeded (2 req/min)")


def test_without_a_limit_no_header_claims_one(api: httpx.Client) -> None:
    headers = api.get("/agents").headers
    assert not [name for name in headers if name.startswith("x-ratelimit")]


def test_a_large_body_is_rejected_unread(serve) -> None:  # type: ignore[no-untyped-def]
    with client(serve(max_body_bytes=1000)) as api:
        fits = json.dumps({"content": "x" * 900}).encode()
        kind = {"Content-Type": "application/json"}
        assert api.post("/agents/a/remember", content=fits, headers=kind).status_code == 201
        large = fits + b" " * 200

        def pieces():  # type: ignore[no-untyped-def]
            yield from (large[:500], large[500:])

        for content in (large, pieces()):
            answer = api.post("/agents/a/remember", content=content, headers=kind)
            assert answer.status_code == 413
            assert "1000 bytes" in answer.json()["detail"]
        assert api.get("/agents/a").json()["memory_count"] == 1


def test_other_origins_are_let_in_only_when_named(serve) -> None:  # type: ignore[no-untyped-def]
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    for base, allowed in (
        (serve(), None), (serve(cors_origins=("https://app.example",)), "https://app.example")
    ):  # fmt: skip
        preflight = httpx.options(f"{base}/api/v1/agents", headers=asked)
        assert preflight.headers.get("access-control-allow-origin") == allowed
        answer = httpx.get(f"{base}/api/v1/agents", headers=asked)
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert answer.status_code == (403 if allowed is None else 200)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://["])
def test_without_a_key_a_foreign_page_cannot_send_what_browsers_let_through(serve, origin) -> None:  # type: ignore[no-untyped-def]
    base = f"{serve()}/api/v1/agents/a/memories"
    assert httpx.post(f"{base}/x/restore", headers={"Origin": origin}).status_code == 403
    for own in ({"Origin": "http://localhost:3000"}, {}):
        assert httpx.post(f"{base}/x/restore", headers=own).status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:80", 200), ("[::1]:8400", 200), ("LOCALHOST", 200),
     ("evil.example", 400), ("localhost.evil.example:8400", 400), ("[::2]", 400)],
)  # fmt: skip
def test_without_keys_only_local_names_lead_here(server, host: str, status: int) -> None:  # type: ignore[no-untyped-def]
    answer = httpx.get(f"{server.base_url}/api/v1/agents", headers={"Host": host})
    assert answer.status_code == status


async def test_without_keys_other_machines_are_rejected(memory) -> None:  # type: ignore[no-untyped-def]
    from langchain_kronvex.server import create_app

    app = create_app(memory)
    for address, status in (("127.0.0.1", 200), ("::1", 200), ("10.1.2.3", 401), ("junk", 401)):
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://any") as api:
            assert (await api.get("/api/v1/agents")).status_code == status
            assert (await api.get("/health")).status_code == 200


async def test_the_app_can_be_mounted(memory) -> None:  # type: ignore[no-untyped-def]
    from fastapi import FastAPI

    from langchain_kronvex.server import create_app

    outer = FastAPI()
    outer.mount("/memory", create_app(memory))
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://any/memory") as api:
        said = {"content": "hello", "session_id": "u"}
        assert (await api.post("/api/v1/agents/a/remember", json=said)).status_code == 201
        asked = {"query": "hello", "session_id": "u"}
        assert (await api.post("/api/v1/agents/a/recall", json=asked)).json()["total_found"] == 1
        transport.client = ("10.0.0.1", 1)  # type: ignore[misc]
        assert (await api.get("/api/v1/agents")).status_code == 401


def test_the_log_names_no_content_key_or_user(  # type: ignore[no-untyped-def]
    serve, caplog: pytest.LogCaptureFixture
) -> None:
    base = serve()
    with (
        caplog.at_level(logging.INFO, "langchain_kronvex.server"),
        client(base, "kv-sesame") as api,
    ):
        api.post("/agents/a/remember", json={"content": "velvet", "session_id": "ana"})
        api.post("/agents/a/recall", json={"query": "velvet", "session_id": "ana"})
        api.get("/agents/a/memories", params={"search": "velvet"})
        api.get("/agents/a/memories/user/ana/export")
        api.post("/agents/a/remember", content=b"velvet")
    lines = [record.getMessage() for record in caplog.records]
    mine = [line for line in lines if line.startswith("method=")]
    assert len(mine) == 5
    assert "route=/agents/{agent_id}/remember status=201" in mine[0]
    assert not [line for line in mine if any(w in line for w in ("velvet", "ana/", "sesame"))]


MOST_CHARS = 1_048_576
LONGEST = {
    "emoji": "🦜" * MOST_CHARS,  # 4 bytes each, or 12 as JSON in ASCII
    "escaped": "a" + "\x01" * (MOST_CHARS - 1),  # 6 bytes each in any JSON
    "looks like values": '",[{' * (MOST_CHARS // 4),
}


@pytest.mark.parametrize("kind", LONGEST)
def test_the_longest_memory_fits(api: httpx.Client, agent: str, kind: str) -> None:
    body = {"content": LONGEST[kind], "session_id": "u", "metadata": {"a": "x" * 4_000_000}}
    headers = {"Content-Type": "application/json"}
    sent = json.dumps(body).encode()
    stored = api.post(f"/agents/{agent}/remember", content=sent, headers=headers)
    assert stored.status_code == 201
    found = api.get(f"/agents/{agent}/memories", params={"session_id": "u"}).json()["memories"]
    assert [each["content"] == LONGEST[kind] for each in found] == [True]


def test_the_limit_unless_another_is_named(
    server: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    most = ServerSettings().max_body_bytes
    assert most == 16 << 20
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert f"({most})" in capsys.readouterr().out
    for size, status in ((most, 422), (most + 1, 413)):
        headers = [("Content-Type", "application/json")]
        answer = ask(server.base_url, "POST", "/api/v1/agents/a/remember", headers, b" " * size)
        assert answer[0] == status


def holding(value: str, values: int) -> bytes:
    listed = ",".join([value] * values)
    return f'{{"content": "[{{,\\"", "metadata": {{"a": [{listed}]}}}}'.encode()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_a_body_holds_only_so_many_values(api: httpx.Client, agent: str, kind: str) -> None:
    """Millions of them would fill the memory, and stop the server for half a minute."""
    path, headers = f"/agents/{agent}/remember", {"Content-Type": kind}
    most = 1 << 19
    for value, share in (("{}", 2), ("[]", 2), ("1", 1), ('"\\\\"', 1), ('"a,\\""', 1)):
        body = holding(value, most // share + 10)
        answer = api.post(path, content=body, headers=headers)
        assert answer.status_code == 422
        assert f"More than {most} values" in answer.text
    body = holding("1", most - 10)
    assert api.post(path, content=body, headers=headers).status_code == 201


@pytest.mark.slow
def test_the_longest_memory_of_our_client_is_stored(server: Process, agent: str) -> None:
    url = server.base_url
    with KronvexMemory(url, agent_id=agent) as memory:
        for kind, text in LONGEST.items():
            memory.remember(text, user_id=kind, metadata={"a": "é" * 800_000})
        memory.remember("x", user_id="x", metadata={"a": "🦜" * 1_000_000})
        assert memory.flush(60)
        stats = memory.stats()
        assert (stats.memories, stats.pending, stats.failed) == (4, 0, 0)
