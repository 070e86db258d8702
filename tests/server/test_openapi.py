"""The OpenAPI document is valid, complete, and describes the actual responses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

WITHOUT_KEY = {"/health", "/version", "/ping"}


@pytest.fixture(scope="module")
def document(server: Any) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.base_url}/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_a_client_can_be_made_of_it(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names)) >= 22
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        good = next(answer for status, answer in operation["responses"].items() if status[0] == "2")
        if "204" not in operation["responses"] and not path.endswith("/restore"):
            assert good["content"]["application/json"]["schema"], path
        assert bool(operation.get("security")) == (path not in WITHOUT_KEY), path
    for name in ("RememberBody", "RecallBody", "ExplainBody", "InjectBody", "NewAgent"):
        schema = document["components"]["schemas"][name]
        for example in schema["examples"]:
            checked(document, name).validate(example)


def checked(document: dict[str, Any], name: str) -> Draft202012Validator:
    wanted = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(wanted)


def test_answers_are_as_documented(api: httpx.Client, agent: str, document: dict[str, Any]) -> None:
    said = {"content": "hello world", "session_id": "u", "metadata": {"a": [1]}, "ttl_days": 1}
    made = api.post("/agents", json={"name": "bot"}).json()
    stored = api.post(f"/agents/{agent}/remember", json=said).json()
    api.post(f"/agents/{agent}/remember", json={**said, "user_id": "v"})
    path = f"/agents/{agent}"
    recalled = api.post(f"{path}/recall", json={"query": "hello", "session_id": "u"}).json()
    asked = {"message": "hello", "session_id": "u"}
    why = {"query": "hello", "session_id": "u", "memory_id": stored["id"]}
    answers = [
        ("ExplainAnswer", api.post(f"{path}/explain", json=why).json()),
        ("AgentAnswer", made), ("MemoryAnswer", stored), ("RecallAnswer", recalled),
        ("MemoryAnswer", api.get(f"{path}/memories/{stored['id']}").json()),
        ("ContextAnswer", api.post(f"{path}/inject-context", json=asked).json()),
        ("ListAnswer", api.get(f"{path}/memories").json()),
        ("ExportAnswer", api.get(f"{path}/memories/export").json()),
        ("SessionsAnswer", api.get(f"{path}/sessions").json()),
        ("UserExportAnswer", api.get(f"{path}/memories/user/u/export").json()),
        ("AnalyticsAnswer", api.get(f"{path}/analytics").json()),
        ("UsageAnswer", api.get("/usage/today").json()),
        ("UserEraseAnswer", api.delete(f"{path}/memories/user/u").json()),
        ("DeletedAnswer", api.delete(f"{path}/memories").json()),
        ("Problem", api.get("/agents/none").json()),
        ("HTTPValidationError", api.post(f"{path}/recall", json={}).json()),
    ]  # fmt: skip
    assert recalled["memories"]
    for name, answer in answers:
        checked(document, name).validate(answer)
        known = document["components"]["schemas"][name]["properties"]
        assert set(answer) <= set(known), name
