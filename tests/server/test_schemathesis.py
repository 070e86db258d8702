"""Requests that the OpenAPI document allows, or just does not: documented responses, no 500."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app

from .running import client, serving

AGENT, USER = "known", "ana"
TRUE_TO_ITS_WORD = [
    content_type_conformance, response_schema_conformance, status_code_conformance
]  # fmt: skip
bounded = settings(
    max_examples=6,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server for these tests alone, because they erase everything."""
    url = f"sqlite:///{tmp_path_factory.mktemp('served') / 'memory.db'}"
    with KronvexMemory(url) as memory, serving(create_app(memory)) as base, client(base) as opened:
        yield opened


@pytest.fixture(scope="module")
def schema(api: httpx.Client) -> BaseSchema:
    base_url = str(api.base_url).removesuffix("/api/v1/")
    return schemathesis.openapi.from_url(f"{base_url}/openapi.json")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


def known(api: httpx.Client, operation: APIOperation) -> dict[str, str]:
    """Return existing ids for the path of an operation."""
    body = {"content": f"Ana likes {operation.label}", "session_id": "monday", "user_id": USER}
    stored = api.post(f"/agents/{AGENT}/remember", json=body).json()
    ids = {"agent_id": AGENT, "memory_id": stored["id"], "uid": USER}
    return {name: value for name, value in ids.items() if f"{{{name}}}" in operation.path}


def answers(
    operation: APIOperation, mode: GenerationMode, path: dict[str, str], session: requests.Session
) -> Counter[int]:
    """Send requests to one operation, check each answer; return how often each status came."""
    statuses: Counter[int] = Counter()

    @bounded
    @given(operation.as_strategy(mode, path_parameters=path or None))
    def ask(case: schemathesis.Case) -> None:
        answer = case.call(session=session)
        statuses[answer.status_code] += 1
        checks = TRUE_TO_ITS_WORD if mode is GenerationMode.POSITIVE else []
        case.validate_response(answer, checks=[not_a_server_error, *checks])

    ask()
    return statuses


def operations(schema: BaseSchema) -> list[APIOperation]:
    return [found.ok() for found in schema.get_all_operations()]


def test_requests_as_documented_get_the_documented_answers(
    api: httpx.Client, schema: BaseSchema, session: requests.Session
) -> None:
    served = operations(schema)
    assert len(served) >= 22
    for operation in served:
        answers(operation, GenerationMode.POSITIVE, {}, session)
        found = answers(operation, GenerationMode.POSITIVE, known(api, operation), session)
        # `explain` names the memory in its body, which is drawn at random.
        refused = operation.label.endswith(("/restore", "/explain", "/auth/keys/{key_id}"))
        assert refused or any(status < 300 for status in found), (operation.label, found)


def test_requests_against_the_document_are_no_fault(
    api: httpx.Client, schema: BaseSchema, session: requests.Session
) -> None:
    refused = 0
    for operation in operations(schema):
        if operation.definition.raw.get("security"):  # the others take nothing
            found = answers(operation, GenerationMode.NEGATIVE, known(api, operation), session)
            refused += found[422]
    assert refused > 30
