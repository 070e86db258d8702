"""Any input gets a proper response, and never an internal error."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .running import client

JSON = {"Content-Type": "application/json"}
DEEP = "[" * 100_000 + "]" * 100_000
DEEP_METADATA = '{"content": "x", "metadata": {"a":' + '{"a":' * 500 + "1" + "}" * 501 + "}"

REFUSED = [
    # no JSON, or none that every reader takes
    '{"content": "x"}'.encode("utf-16"), '{"content": "x"}'.encode("utf-32-be"),
    "", "{", "null", "[]", '"x"', "{'content': 'x'}", b"\xff\xfe", b"\xef\xbb\xbf\xff", DEEP,
    '{"content": NaN}', '{"content": "x", "metadata": {"a": NaN}}',
    '{"content": "x", "metadata": {"a": -Infinity}}', '{"content": "x", "metadata": {"a": 1e999}}',
    '{"content": "x", "ttl_days": ' + "9" * 5000 + "}", DEEP_METADATA,
    # values that do not fit
    {"content": None}, {"content": ""}, {"content": " \n\t "}, {"content": 5}, {"content": ["x"]},
    {"content": "a\0b"}, '{"content": "a\\ud800b"}', {"content": "x" * 1_048_577},
    {"content": "x", "session_id": "a\0b"}, '{"content": "x", "session_id": "\\udfff"}',
    {"content": "x", "session_id": "s" * 256}, {"content": "x", "session_id": "  "},
    {"content": "x", "session_id": 7}, {"content": "x", "user_id": ["a"]},
    {"content": "x", "user_id": "u" * 256}, {"content": "x", "memory_type": "meta"},
    {"content": "x", "memory_type": {}}, {"content": "x", "type": "meta"},
    {"content": "x", "metadata": []}, {"content": "x", "metadata": "{}"},
    {"content": "x", "metadata": {"a": "b\0"}}, '{"content": "x", "metadata": {"\\ud800": 1}}',
    {"content": "x", "ttl_days": 0}, {"content": "x", "ttl_days": 3651},
    {"content": "x", "ttl_days": 1.5}, {"content": "x", "ttl_days": 10**40},
    {"content": "x", "ttl_seconds": 59}, {"content": "x", "ttl_seconds": 10**30},
    {"content": "x", "pinned": "perhaps"},
]  # fmt: skip


def sent(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode("utf-8", "surrogatepass")


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 422, answer.text
    for violation in answer.json()["detail"]:
        assert {"type", "loc", "msg"} == set(violation)
    for word in ("Traceback", "sqlite", "SELECT", "site-packages"):
        assert word not in answer.text


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
def test_invalid_bodies_are_rejected(api: httpx.Client, agent: str, body: Any) -> None:
    assert_refused(api.post(f"/agents/{agent}/remember", content=sent(body), headers=JSON))
    assert api.get(f"/agents/{agent}").status_code == 404


@pytest.mark.parametrize("call", ["recall", "inject-context"])
@pytest.mark.parametrize(
    "more",
    [{"query": 3, "message": 3}, {"query": "a\0", "message": "a\0"}, {"top_k": 0}, {"top_k": 21},
     {"top_k": "many"}, {"top_k": 10**30}, {"threshold": -0.1}, {"threshold": 2},
     {"threshold": "x"}, {"memory_type": "meta"}, {"session_id": "s" * 256},
     {"query": "a\ud800", "message": "a\ud800"}],
    ids=ascii,
)  # fmt: skip
def test_questions_that_do_not_fit(
    api: httpx.Client, agent: str, call: str, more: dict[str, Any]
) -> None:
    api.post(f"/agents/{agent}/remember", json={"content": "x"})
    body = {"query": "x", "message": "x", **more}
    assert_refused(api.post(f"/agents/{agent}/{call}", content=sent(body), headers=JSON))


@pytest.mark.parametrize(
    "body",
    [{"memory_type": None}, {"pinned": None}, {"memory_type": "x"}, {"type": None},
     {"metadata": None}, {"ttl_days": 0}, {"metadata": {"a": "\0"}}],
    ids=ascii,
)  # fmt: skip
def test_changes_that_do_not_fit(api: httpx.Client, agent: str, body: dict[str, Any]) -> None:
    stored = api.post(f"/agents/{agent}/remember", json={"content": "x"}).json()
    path = f"/agents/{agent}/memories/{stored['id']}"
    assert_refused(api.patch(path, json=body))
    unchanged = api.get(path).json()
    assert {**stored, "agent_memory_count": None} == unchanged


def test_a_change_into_an_existing_memory(api: httpx.Client, agent: str) -> None:
    path = f"/agents/{agent}"
    api.post(f"{path}/remember", json={"content": "x", "memory_type": "fact"})
    other = api.post(f"{path}/remember", json={"content": "x"}).json()["id"]
    assert_refused(api.patch(f"{path}/memories/{other}", json={"memory_type": "fact"}))


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "", "x", "multipart/form-data",
     "application/json; charset=\xff"],
)  # fmt: skip
def test_other_types_of_content(api: httpx.Client, agent: str, kind: str) -> None:
    content = b'{"content": "x"}'
    headers = [(b"content-type", kind.encode("latin-1"))]
    answer = api.post(f"/agents/{agent}/remember", content=content, headers=headers)  # type: ignore[arg-type]
    wanted = (201,) if "json" in kind else (422,) if kind else (201, 422)
    assert answer.status_code in wanted


@pytest.mark.parametrize(
    "name", ["a%00b", "%0a", "%20", "a" * 256, "%ED%A0%80", "%E2%80%AE", "%2e%2e", "%7F"]
)
def test_agents_of_impossible_names(api: httpx.Client, name: str) -> None:
    address = f"{api.base_url}agents/{name}"
    for answer in (
        api.get(f"{address}/memories"), api.post(f"{address}/remember", json={"content": "x"})
    ):  # fmt: skip
        assert answer.status_code in (404, 422), name


@pytest.mark.parametrize("memory_id", ["%00", "x" * 5000, "%ED%A0%80", "' OR 1=1", "%25", "~"])
def test_memories_of_impossible_ids(api: httpx.Client, agent: str, memory_id: str) -> None:
    api.post(f"/agents/{agent}/remember", json={"content": "x"})
    address = f"{api.base_url}agents/{agent}/memories/{memory_id}"
    for method in ("GET", "DELETE", "PATCH"):
        answer = api.request(method, address, json={"pinned": True})
        assert answer.status_code in (404, 422)
    for other in (f"{address}/restore", f"{api.base_url}agents/{agent}/memories/user/%00/export"):
        assert api.post(other).status_code in (404, 405, 422)


@pytest.mark.parametrize(
    "query",
    ["session_id=%00", "session_id=%ED%A0%80", "search=%00", "page=1e3", "limit=-1", "sort=",
     "memory_type=%00", "q=" + "x" * 10_000, "page=1&page=2", "%00=%00", "offset=9999999999999999"],
)  # fmt: skip
def test_impossible_queries(api: httpx.Client, agent: str, query: str) -> None:
    api.post(f"/agents/{agent}/remember", json={"content": "x"})
    assert api.get(f"/agents/{agent}/memories?{query}").status_code in (200, 422)


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "x" * 256}, {"name": "a\0"}, {"name": 1}, {"name": "  "},
     {"name": "x", "metadata": 5}, {"name": "x", "description": {}}, '{"name": "\\ud800"}',
     {"name": "x", "description": "a\0"}],
    ids=ascii,
)  # fmt: skip
def test_agents_that_do_not_fit(api: httpx.Client, body: Any) -> None:
    assert_refused(api.post("/agents", content=sent(body), headers=JSON))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "content query message memory_type type session_id user_id metadata ttl_days ttl_seconds "
    "pinned top_k threshold name memories memory_ids before_date"
).split()
CALLS = [("POST", "remember"), ("POST", "recall"), ("POST", "inject-context"),
         ("POST", "memories/bulk-import"), ("DELETE", "memories/bulk-delete")]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.dictionaries(st.sampled_from(FIELDS), anything), call=st.sampled_from(CALLS))
def test_no_body_makes_it_fail(server: Any, body: dict[str, Any], call: tuple[str, str]) -> None:
    method, path = call
    with client(server.base_url) as api:
        api.post("/agents/hostile/remember", json={"content": "x"})
        answer = api.request(method, f"/agents/hostile/{path}", content=sent(body), headers=JSON)
    assert answer.status_code < 500, answer.text
    answer.json()


def test_metadata_that_programs_stored_is_served(serve, store_url: str) -> None:  # type: ignore[no-untyped-def]
    from langchain_kronvex import KronvexMemory

    with KronvexMemory(store_url) as memory:
        memory.remember("x", user_id="ana", metadata={"odd": "\ud800"})
    with client(serve()) as api:
        answer = api.get("/agents/default/memories", params={"session_id": "ana"})
        assert answer.json()["memories"][0]["metadata"] == {"odd": "?"}
