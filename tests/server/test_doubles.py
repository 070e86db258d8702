"""Names given twice in one request, and keys revoked while a request is being sent."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import httpx
import pytest

from inside import create_key, open_registry

from .running import Process, ask, client

JSON = ("Content-Type", "application/json")


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize(
    "body",
    ['{"content": "x", "session_id": "ana", "session_id": "ben"}',
     '{"content": "x", "content": "y"}', '{"content": "x", "metadata": {"a": 1, "a": 2}}',
     '{"content": "x", "session_id": "ana", "session\\u005fid": "ana"}'],
)  # fmt: skip
def test_a_duplicate_name_is_rejected(api: httpx.Client, agent: str, kind: str, body: str) -> None:
    """A proxy that checks ids may look at the other one of the two."""
    headers = {"Content-Type": kind}
    answer = api.post(f"/agents/{agent}/remember", content=body.encode(), headers=headers)
    assert answer.status_code == 422
    assert "twice" in answer.text
    assert api.get(f"/agents/{agent}").status_code == 404


def test_two_keys_at_once_are_none(serve, store_url: str) -> None:  # type: ignore[no-untyped-def]
    secrets = [create_key(store_url, name)[1] for name in ("a", "b")]
    base = serve()
    for sent in (secrets, secrets[::-1], [secrets[0], "kv-wrong"], [secrets[0], ""]):
        status, _, _ = ask(base, "GET", "/api/v1/agents", [("X-API-Key", key) for key in sent])
        assert status == 401
    with client(base, secrets[0]) as api:
        assert api.get("/agents").status_code == 200


@pytest.mark.parametrize("headers", [("X-HTTP-Method-Override", "DELETE"), ("X-Method", "DELETE")])
def test_no_header_makes_another_method(
    server: Process, api: httpx.Client, agent: str, headers: tuple[str, str]
) -> None:
    api.post(f"/agents/{agent}/remember", json={"content": "x"})
    path = f"/api/v1/agents/{agent}"
    for method, status in (("GET", 200), ("POST", 405), ("HEAD", 405), ("OPTIONS", 405)):
        assert ask(server.base_url, method, path, [headers])[0] == status
        with_parameter = ask(server.base_url, method, f"{path}?_method=DELETE", [headers])[0]
        assert with_parameter == (422 if status == 200 else status)
    assert api.get(f"/agents/{agent}").json()["memory_count"] == 1


@pytest.mark.parametrize(
    "evil", ["a\r\nX-Evil: 1", "a\nSet-Cookie: b=c", "é\u2028", '"; filename="x']
)
def test_no_id_reaches_a_header(api: httpx.Client, agent: str, evil: str) -> None:
    from urllib.parse import quote

    told = {"content": "x", "session_id": evil, "metadata": {evil: evil}}
    stored = api.post(f"/agents/{agent}/remember", json=told)
    again = api.post(f"/agents/{agent}/remember", json=told)
    path = f"/agents/{agent}/memories/user/{quote(evil, safe='')}"
    for answer in (stored, again, api.get(f"{path}/export"), api.delete(path)):
        assert answer.is_success
        assert not {"x-evil", "set-cookie"} & set(answer.headers)
        assert evil not in "".join(answer.headers.values())


def test_a_key_that_is_revoked_while_a_request_is_sent(serve, store_url: str) -> None:  # type: ignore[no-untyped-def]
    key, secret = create_key(store_url, "a")
    _, other = create_key(store_url, "b")
    base = serve()
    body = json.dumps({"content": "too late", "session_id": "ana"}).encode()
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=20)
    connection.putrequest("POST", "/api/v1/agents/bot/remember")
    for name, value in (JSON, ("X-API-Key", secret), ("Content-Length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders(body[:5])
    with client(base, other) as api:  # answered after the headers of the other one were read
        assert api.get("/agents").status_code == 200
    with open_registry(store_url) as (keys, _):
        keys.revoke(key.id)
    connection.send(body[5:])
    assert connection.getresponse().status == 401
    connection.close()
    with client(base, other) as api:
        assert api.post("/agents/bot/remember", json={"content": "free"}).status_code == 201
