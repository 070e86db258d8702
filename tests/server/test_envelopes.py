"""The server understands the envelopes of this package's client, and only those."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from inside import (
    RESERVED,
    Record,
    Scope,
    VersionedRecord,
    content_key,
    is_as_sent,
    read_memory,
    store_request,
)

SAID = datetime(2024, 2, 3, 4, 5, 6, 7, tzinfo=timezone.utc)


def sent(
    id_: str, content: str, *, version: int = 1, owner: str = "ana", **more: Any
) -> VersionedRecord:
    record = Record(
        kind="memory", id=id_, scope=Scope(None, owner), key=content_key("episodic", content),
        type="episodic", content=content, created_at=SAID, **more,
    )  # fmt: skip
    return VersionedRecord(record, 1, version)


def post(api: httpx.Client, agent: str, stored: VersionedRecord, padding: str = "") -> Any:
    body: Any = store_request(stored).body
    body["content"] += padding
    body["metadata"][RESERVED]["padding"] = len(padding)
    answer = api.post(f"/agents/{agent}/remember", json=body)
    assert answer.status_code == 201
    return answer.json()


def total(api: httpx.Client, agent: str) -> int:
    return int(api.get(f"/agents/{agent}/memories").json()["total"])


def test_a_repeated_memory_is_stored_once_whatever_its_padding(
    api: httpx.Client, agent: str
) -> None:
    stored = sent("1", "Ana likes tea")
    first = post(api, agent, stored)
    for padding in ("", "\nabc", "\nquite another one"):
        again = post(api, agent, stored, padding)
        assert (again["id"], again["content"]) == (first["id"], "Ana likes tea")
        raw = read_memory(again)
        assert raw is not None
        assert is_as_sent(raw, store_request(stored), stored)
    assert total(api, agent) == 1
    post(api, agent, replace(stored, version=2), "\nabc")
    post(api, agent, sent("2", "Ana likes tea"))
    assert total(api, agent) == 3


def test_an_erased_memory_may_be_sent_again(api: httpx.Client, agent: str) -> None:
    stored = sent("1", "Ana likes tea")
    first = post(api, agent, stored)
    assert api.delete(f"/agents/{agent}/memories/{first['id']}").status_code == 204
    assert post(api, agent, stored)["content"] == "Ana likes tea"
    assert total(api, agent) == 1


def test_a_client_cannot_name_another_users_memory(api: httpx.Client, agent: str) -> None:
    first = post(api, agent, sent("1", "Ana likes tea"))
    of_ben = post(api, agent, sent("1", "Ben likes tea", owner="ben"))
    elsewhere = post(api, f"{agent}-2", sent("1", "Ana likes tea"))
    body = dict(store_request(sent("1", "a lie")).body or {}) | {
        "session_id": "ben",
        "user_id": "ben",
    }
    forged = api.post(f"/agents/{agent}/remember", json=body).json()
    assert len({each["id"] for each in (first, of_ben, elsewhere, forged)}) == 4
    found = api.get(f"/agents/{agent}/memories", params={"session_id": "ana"}).json()["memories"]
    assert [each["content"] for each in found] == ["Ana likes tea"]


def test_an_exchange_is_found_by_the_users_words(api: httpx.Client, agent: str) -> None:
    exchange = "User: Where shall we eat?\nAssistant: The harbour has a good place."
    post(api, agent, sent("1", exchange, search_text="Where shall we eat?"))
    post(api, agent, sent("2", "User: The harbour.\nAssistant: Yes.", search_text="The harbour."))
    asked = {"query": "the harbour", "session_id": "ana"}
    found = api.post(f"/agents/{agent}/recall", json=asked).json()["memories"]
    by_similarity = sorted(found, key=lambda each: -each["similarity"])
    assert by_similarity[0]["content"].startswith("User: The harbour.")
    assert by_similarity[0]["created_at"] == "2024-02-03T04:05:06.000007Z"


@pytest.mark.parametrize(
    "envelope",
    [None, "text", [], {}, {"v": 1}, {"v": 2, "kind": "memory", "id": "1"}, {"v": 1, "kind": 5}],
)
def test_a_damaged_envelope_is_metadata_like_any_other(
    api: httpx.Client, agent: str, envelope: Any
) -> None:
    said = {"content": "tea", "session_id": "ana", "metadata": {RESERVED: envelope}}
    for _ in range(2):
        answer = api.post(f"/agents/{agent}/remember", json=said)
        assert (answer.status_code, answer.json()["metadata"]) == (201, {RESERVED: envelope})
    assert total(api, agent) == 1
