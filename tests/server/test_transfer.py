"""Export from one agent and import into another: only the access counts are lost."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx

KEPT = ("content", "memory_type", "session_id", "user_id", "metadata", "created_at",
        "expires_at", "pinned")  # fmt: skip


def kept(memories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: memory[name] for name in KEPT} for memory in memories]


def test_an_export_can_be_imported(api: httpx.Client, agent: str) -> None:
    bodies: list[dict[str, Any]] = [
        {"content": "one", "session_id": "ana", "metadata": {"a": [1, {"b": None}]}},
        {"content": "two\nlines ✓ 🦜", "user_id": "ben", "session_id": "s", "ttl_days": 30},
        {"content": "three", "pinned": True, "memory_type": "fact"},
        {"content": "four", "user_id": "ana", "ttl_seconds": 61, "memory_type": "preference"},
    ]
    for body in bodies:
        assert api.post(f"/agents/{agent}/remember", json=body).status_code == 201
    answer = api.get(f"/agents/{agent}/memories/export")
    exported = answer.json()
    assert answer.headers["content-disposition"].startswith("attachment")
    assert exported["total"] == 4
    assert [memory["content"] for memory in exported["memories"]] == [
        "four", "three", "two\nlines ✓ 🦜", "one",
    ]  # fmt: skip

    path = f"/agents/{agent}-copy/memories"
    done = api.post(f"{path}/bulk-import", json={"memories": exported["memories"]})
    assert done.json() == {"imported": 4, "failed": 0, "errors": []}
    assert kept(api.get(f"{path}/export").json()["memories"]) == kept(exported["memories"])
    api.post(f"{path}/bulk-import", json={"memories": exported["memories"]})
    assert api.get(f"{path}/export").json()["total"] == 4


def test_an_import_is_whole_or_not_at_all(api: httpx.Client, agent: str) -> None:
    path = f"/agents/{agent}/memories/bulk-import"
    bad = [{"content": "good"}, {"content": " "}]

    assert api.post(path, json={"memories": bad}).status_code == 422
    assert api.post(path, json={"memories": []}).status_code == 422
    assert api.post(path, json={"memories": [{"content": "x"}] * 101}).status_code == 422
    assert api.get(f"/agents/{agent}").status_code == 404


def test_an_expired_memory_fails_alone(api: httpx.Client, agent: str) -> None:
    past = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()
    memories = [{"content": "old", "expires_at": past}, {"content": "new"}]
    done = api.post(f"/agents/{agent}/memories/bulk-import", json={"memories": memories}).json()

    assert (done["imported"], done["failed"]) == (1, 1)
    assert done["errors"][0]["index"] == 0
