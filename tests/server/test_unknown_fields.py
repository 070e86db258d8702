"""Fields that the server does not know are rejected, since they were meant to do something."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

SAID = {"content": "zebra", "user_id": "ana"}
ASKED = {"query": "zebra", "user_id": "ana"}


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 422, answer.text
    return str(answer.json()["detail"][0]["msg"])


@pytest.mark.parametrize(
    ("method", "path", "body", "hint"),
    [
        ("POST", "/remember", {"content": "x", "user": "pat"}, "Did you mean user_id?"),
        ("POST", "/remember", {"content": "x", "sessionId": "pat"}, "Did you mean session_id?"),
        ("POST", "/remember", {**SAID, "ttl": 3}, "ttl_days"),
        ("POST", "/recall", {"query": "zebra", "userId": "ana"}, "Did you mean user_id?"),
        ("POST", "/recall", {**ASKED, "min_score": 0.9}, "Known are"),
        ("POST", "/inject-context", {"message": "zebra", "user": "ana"}, "Did you mean user_id?"),
        ("DELETE", "/memories/bulk-delete", {"ids": ["a"], "memory_type": "fact"}, "memory_ids"),
        ("POST", "/memories/bulk-import", {"memories": [{**SAID, "owner": "x"}]}, "Known are"),
        ("PATCH", "", {"title": "x"}, "Known are name, description, metadata"),
    ],
)
def test_in_a_body(
    api: httpx.Client, agent: str, method: str, path: str, body: Any, hint: str
) -> None:
    assert api.post(f"/agents/{agent}/remember", json=SAID).status_code == 201

    assert hint in refused(api.request(method, f"/agents/{agent}{path}", json=body))
    assert api.get(f"/agents/{agent}").json()["memory_count"] == 1


def test_a_text_is_not_changed_in_silence(api: httpx.Client, agent: str) -> None:
    stored = api.post(f"/agents/{agent}/remember", json=SAID).json()
    path = f"/agents/{agent}/memories/{stored['id']}"

    assert "Known are content, pinned" in refused(api.patch(path, json={"words": "lion"}))
    assert api.get(path).json()["content"] == "zebra"


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("GET", "/memories?user=ana", "Did you mean user_id?"),
        ("GET", "/memories?types=fact", "memory_type"),
        ("GET", "/memories/export?session_id=ana", "takes no parameters"),
        ("POST", "/recall?user_id=ana", "takes no parameters"),
        ("DELETE", "/memories?user=ana", "Did you mean user_id?"),
        ("GET", "/analytics?day=3", "Did you mean days?"),
    ],
)
def test_in_the_parameters(
    api: httpx.Client, agent: str, method: str, path: str, hint: str
) -> None:
    api.post(f"/agents/{agent}/remember", json=SAID)
    body = {"query": "zebra"} if method == "POST" else None

    assert hint in refused(api.request(method, f"/agents/{agent}{path}", json=body))
    assert api.get(f"/agents/{agent}").json()["memory_count"] == 1


def test_what_the_sdks_and_the_guides_send_is_accepted(api: httpx.Client, agent: str) -> None:
    said = {
        "content": "zebra", "memory_type": "semantic", "type": "semantic", "session_id": "u",
        "user_id": "u", "ttl_days": None, "ttl_seconds": None, "pinned": False, "metadata": {},
    }  # fmt: skip
    asked = {"query": "zebra", "message": "zebra", "top_k": 5, "threshold": 0.0, "session_id": "u",
             "user_id": "u", "memory_type": "semantic", "type": "fact"}  # fmt: skip
    path = f"/agents/{agent}"

    assert api.post(f"{path}/remember", json=said).json()["memory_type"] == "semantic"
    ranked_with = {"context_messages": [{"role": "user", "content": "hello"}]}
    found = api.post(f"{path}/recall", json={**asked, **ranked_with}).json()
    assert found["total_found"] == 1
    assert api.post(f"{path}/inject-context", json=asked).json()["memories_used"] == 1
    listed = {"limit": 25, "offset": 0, "q": "zebra", "sort": "date_desc", "session_id": "u"}
    assert api.get(f"{path}/memories", params=listed).json()["total"] == 1
    assert httpx.get(f"{str(api.base_url).partition('/api')[0]}/health?at=1").status_code == 200


def test_an_export_is_imported_whole(api: httpx.Client, agent: str) -> None:
    api.post(f"/agents/{agent}/remember", json=SAID)
    for exported in ("/memories/export", "/memories/user/ana/export"):
        document = api.get(f"/agents/{agent}{exported}").json()
        done = api.post(f"/agents/{agent}-copy/memories/bulk-import", json=document)
        assert done.json()["failed"] == 0
    assert api.get(f"/agents/{agent}-copy").json()["memory_count"] == 1
