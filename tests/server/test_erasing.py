"""Deleted memories are gone from responses and from the store's files."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from .running import client

USERS = ["ana", "ana/../ben", "a%2Fb", "ключ", "user@example.com", "export", "ana "]


def remember(api: httpx.Client, agent: str, content: str, **body: object) -> str:
    answer = api.post(f"/agents/{agent}/remember", json={"content": content, **body})
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def left(api: httpx.Client, agent: str) -> set[str]:
    return {m["content"] for m in api.get(f"/agents/{agent}/memories/export").json()["memories"]}


def quoted(user: str) -> str:
    from urllib.parse import quote

    return quote(user, safe="")


def test_one_memory_is_deleted_for_good(api: httpx.Client, agent: str) -> None:
    first, second = (remember(api, agent, text) for text in ("one", "two"))
    path = f"/agents/{agent}/memories"

    assert api.post(f"{path}/{first}/restore").json() == {
        "detail": "Memory is not deleted or superseded"
    }
    gone = api.delete(f"{path}/{first}")
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (
        api.delete(f"{path}/{first}"), api.get(f"{path}/{first}"),
        api.post(f"{path}/{first}/restore"), api.patch(f"{path}/{first}", json={"pinned": True}),
    ):  # fmt: skip
        assert (answer.status_code, answer.json()) == (404, {"detail": "Memory not found"})
    assert left(api, agent) == {"two"}
    assert api.get(f"/agents/{agent}").json()["memory_count"] == 1
    dashed = f"{second[:8]}-{second[8:12]}-{second[12:16]}-{second[16:20]}-{second[20:]}"
    assert api.delete(f"{path}/{dashed}").status_code == 204


def test_bulk_delete_meets_every_condition(api: httpx.Client, agent: str) -> None:
    ids = [
        remember(api, agent, f"memory {n}", memory_type="fact" if n % 2 else "semantic")
        for n in range(6)
    ]
    path = f"/agents/{agent}/memories/bulk-delete"

    def delete(**body: object) -> httpx.Response:
        return api.request("DELETE", path, json=body)

    assert delete().status_code == 422
    assert delete(memory_ids=ids[:2], memory_type="fact").json() == {"deleted": 1}
    assert delete(memory_ids=[ids[1], ids[2], "unknown"]).json() == {"deleted": 1}
    assert delete(before_date="2020-01-01").json() == {"deleted": 0}
    assert delete(memory_ids=[]).json() == {"deleted": 0}
    assert delete(type="fact").json() == {"deleted": 2}
    assert left(api, agent) == {"memory 0", "memory 4"}
    assert delete(before_date="2100-01-01T00:00:00").json() == {"deleted": 2}


def test_delete_all_erases_only_the_given_ids(api: httpx.Client, agent: str) -> None:
    for user in ("ana", "ben", None):
        remember(api, agent, f"of {user}", session_id=user)
    path = f"/agents/{agent}/memories"

    assert api.delete(path, params={"session_id": "ana"}).json() == {"deleted": 1}
    assert left(api, agent) == {"of ben", "of None"}
    assert api.delete(path).json() == {"deleted": 2}
    assert api.get(f"/agents/{agent}").json()["memory_count"] == 0


def test_a_user_is_exported_and_erased_alone(api: httpx.Client, agent: str) -> None:
    for user in USERS:
        remember(api, agent, f"of {user!r}", session_id=user)
        remember(api, agent, f"of {user!r} too", user_id=user, session_id="s")
    for number, user in enumerate(USERS):
        path = f"/agents/{agent}/memories/user/{quoted(user)}"
        exported = api.get(f"{path}/export").json()
        assert exported["user_id"] == user
        assert {m["content"] for m in exported["memories"]} == {
            f"of {user!r}", f"of {user!r} too"
        }  # fmt: skip
        erased = api.delete(path).json()
        assert (erased["erased"], erased["user_id"]) == (2, user)
        assert api.delete(path).json()["erased"] == 0
        assert len(left(api, agent)) == 2 * (len(USERS) - number - 1)


def test_an_erased_user_is_in_no_file(serve, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with client(serve()) as api:
        identity = remember(api, "bot", "the secret is xylophonequartz", session_id="ana")
        api.post("/agents/bot/recall", json={"query": "secret", "session_id": "ana"})
        remember(api, "bot", "kept", session_id="ben")
        assert api.delete("/agents/bot/memories/user/ana").json()["erased"] == 1
        assert api.post(f"/agents/bot/memories/{identity}/restore").status_code == 404
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if b"xylophonequartz" in path.read_bytes()]


def test_a_memory_expires(api: httpx.Client, agent: str) -> None:
    soon = time.time() + 1
    memory = {"content": "short", "session_id": "u", "created_at": soon - 3600}
    body = {"memories": [{**memory, "expires_at": soon}]}
    assert api.post(f"/agents/{agent}/memories/bulk-import", json=body).json()["imported"] == 1
    asked = {"query": "short", "session_id": "u"}
    assert api.post(f"/agents/{agent}/recall", json=asked).json()["total_found"] == 1
    time.sleep(max(soon - time.time(), 0) + 0.05)
    assert api.post(f"/agents/{agent}/recall", json=asked).json()["total_found"] == 0
    assert api.get(f"/agents/{agent}/memories").json()["total"] == 0
    assert left(api, agent) == set()
