"""Correcting, superseding, restoring and filtering over plain HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

Told = dict[str, Any]
LISBON, PORTO = "Ana lives in Lisbon.", "Ana lives in Porto."


def store(api: httpx.Client, agent: str, content: str, **fields: Any) -> Told:
    body = {"content": content, "user_id": "ana", "memory_type": "semantic", **fields}
    answer = api.post(f"/agents/{agent}/remember", json=body)
    assert answer.status_code == 201, answer.text
    stored: Told = answer.json()
    return stored


def recall(
    api: httpx.Client, agent: str, query: str = "Where does Ana live?", **fields: Any
) -> Any:
    body = {"query": query, "user_id": "ana", **fields}
    answer = api.post(f"/agents/{agent}/recall", json=body)
    assert answer.status_code == 200, answer.text
    return [each["content"] for each in answer.json()["memories"]]


def test_a_text_is_corrected_in_place(api: httpx.Client, agent: str) -> None:
    wrong = store(api, agent, LISBON)
    path = f"/agents/{agent}/memories/{wrong['id']}"
    changed = api.patch(path, json={"content": PORTO, "pinned": True}).json()
    assert (changed["id"], changed["content"], changed["pinned"]) == (wrong["id"], PORTO, True)
    assert api.get(path).json()["content"] == PORTO
    assert recall(api, agent) == [PORTO]
    for body in ({"content": ""}, {"content": None}, {"content": 3}, {"text": "x"}):
        assert api.patch(path, json=body).status_code == 422
    assert api.get(path).json()["content"] == PORTO


def test_a_memory_is_superseded_and_brought_back(api: httpx.Client, agent: str) -> None:
    old = store(api, agent, LISBON, valid_from="2020-01-01T00:00:00Z")
    new = store(api, agent, PORTO, supersedes=old["id"], valid_from="2024-05-01T00:00:00Z")
    path = f"/agents/{agent}/memories/{old['id']}"
    kept = api.get(path).json()
    assert (kept["superseded"], kept["superseded_by"]) == (True, new["id"])
    assert (kept["valid_from"], kept["valid_until"]) == (
        "2020-01-01T00:00:00.000000Z", "2024-05-01T00:00:00.000000Z",
    )  # fmt: skip
    assert recall(api, agent) == [PORTO]
    assert recall(api, agent, as_of="2021-01-01T00:00:00Z") == [LISBON]
    assert {*recall(api, agent, include_superseded=True)} == {LISBON, PORTO}
    context = {"message": "Where does Ana live?", "user_id": "ana"}
    injected = api.post(f"/agents/{agent}/inject-context", json=context).json()["context"]
    assert LISBON not in injected
    for id_ in (old["id"], new["id"]):
        listed = api.get(f"/agents/{agent}/memories/{id_}/history").json()["memories"]
        assert [each["content"] for each in listed] == [LISBON, PORTO]
    assert api.post(f"{path}/restore").json()["superseded"] is False
    assert {*recall(api, agent)} == {LISBON, PORTO}
    assert api.post(f"{path}/restore").status_code == 409
    for missing in ("restore", "history"):
        call = api.post if missing == "restore" else api.get
        assert call(f"/agents/{agent}/memories/{'0' * 32}/{missing}").status_code == 404


def test_no_memory_of_others_is_superseded(api: httpx.Client, agent: str) -> None:
    hers = store(api, agent, LISBON)
    other = f"{agent}-other"
    store(api, other, "Something else.")
    for where, fields in ((agent, {"user_id": "ben"}), (other, {})):
        body = {"content": PORTO, "user_id": "ana", "supersedes": [hers["id"]], **fields}
        answer = api.post(f"/agents/{where}/remember", json=body)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Memory not found"})
    assert recall(api, agent) == [LISBON]


CONDITIONS: list[tuple[Told, set[str]]] = [
    ({"filter": {"topic": "work"}}, {"b"}),
    ({"filter": {"n": {"$gte": 2}}}, {"b", "c"}),
    ({"filter": {"$not": {"topic": "work"}}}, {"a", "c"}),
    ({"memory_type": ["semantic", "fact"]}, {"a", "b"}),
    ({"type": "preference"}, {"c"}),
    ({"until": "2000-01-01T00:00:00Z"}, set()),
]


@pytest.mark.parametrize(
    ("fields", "found"), CONDITIONS, ids=[repr(each) for each, _ in CONDITIONS]
)
def test_conditions(api: httpx.Client, agent: str, fields: Told, found: set[str]) -> None:
    store(api, agent, "tea a", metadata={"n": 1})
    store(api, agent, "tea b", metadata={"n": 2, "topic": "work"}, memory_type="fact")
    store(api, agent, "tea c", metadata={"n": 3}, memory_type="preference")
    assert {text[-1] for text in recall(api, agent, "tea", **fields)} == found
    body = {"message": "tea", "user_id": "ana", **fields}
    answer = api.post(f"/agents/{agent}/inject-context", json=body).json()
    assert {each["content"][-1] for each in answer["memories"]} == found


@pytest.mark.parametrize(
    "fields",
    [
        {"filter": {"n": {"$in": [1]}}},
        {"filter": "topic"},
        {"since": "yesterday"},
        {"as_of": "2030"},
        {"until": 2030},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"memory_type": ["semantic", "facts"]},
        {"supersedes": "x"},
    ],
    ids=repr,
)
def test_conditions_that_do_not_fit(api: httpx.Client, agent: str, fields: Told) -> None:
    store(api, agent, "tea")
    body = {"query": "tea", "user_id": "ana", **fields}
    assert api.post(f"/agents/{agent}/recall", json=body).status_code == 422
