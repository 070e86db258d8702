"""The short way to remember, recall and inject-context answers as the long way does."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

SHORT = {"Content-Type": "application/json"}
LONG = {"Content-Type": "application/json; charset=utf-8"}  # only FastAPI looks so closely
VOLATILE = ("id", "created_at", "expires_at", "access_count", "confidence")

REQUESTS: list[tuple[str, Any]] = [
    ("remember", {"content": "Ana likes tea", "session_id": "u", "ttl_days": 3}),
    ("remember", {"content": "Ana likes tea", "user_id": "u", "type": "semantic"}),
    ("remember", {"content": "  "}),
    ("remember", {"content": "x", "memory_type": "odd"}),
    ("remember", {"content": "a\0b"}),
    ("remember", {"content": "\ud800"}),
    ("remember", {"content": "x", "metadata": None, "ttl_days": 0}),
    ("remember", {}),
    ("remember", []),
    ("recall", {"query": "tea", "session_id": "u", "top_k": 3}),
    ("recall", {"message": "tea", "user_id": "u", "threshold": 0.0, "more": 1}),
    ("recall", {"query": "tea", "session_id": "somebody else"}),
    ("recall", {"query": "tea", "top_k": 21}),
    ("recall", {"query": "tea", "session_id": "x" * 256}),
    ("inject-context", {"query": "tea", "session_id": "u"}),
    ("inject-context", {"message": "tea", "session_id": "u", "max_tokens": 0}),
]
RAW = [b"", b"{", b"null", b'"text"', b'{"query": NaN}', b"\xff", b"[" * 100_000, b'{"query": 1']


@pytest.mark.parametrize(("verb", "body"), REQUESTS)
def test_both_ways_answer_the_same(
    api: httpx.Client, agent: str, verb: str, body: dict[str, Any]
) -> None:
    told = {"content": "Ana drinks tea", "session_id": "u"}
    sent = json.dumps(body).encode()
    answers = []
    for headers, name in ((SHORT, agent), (LONG, f"{agent}-long")):
        api.post(f"/agents/{name}/remember", json=told)
        answer = api.post(f"/agents/{name}/{verb}", content=sent, headers=headers)
        answers.append((answer.status_code, _steady(answer.json(), name), sorted(answer.headers)))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("content", RAW)
def test_what_is_no_request_is_refused_in_the_same_words(
    api: httpx.Client, agent: str, content: bytes
) -> None:
    path = f"/agents/{agent}/recall"
    short = api.post(path, content=content, headers=SHORT)
    long = api.post(path, content=content, headers=LONG)
    assert short.status_code == 422
    assert short.json() == long.json()


def test_an_unknown_agent_and_other_methods(api: httpx.Client, agent: str) -> None:
    path = f"/agents/{agent}/recall"
    for headers in (SHORT, LONG):
        answer = api.post(path, content=b'{"query": "x"}', headers=headers)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Agent not found"})
        assert api.put(path, content=b'{"query": "x"}', headers=headers).status_code == 405
        nowhere = api.post(f"{path}/more", content=b'{"query": "x"}', headers=headers)
        assert nowhere.status_code == 404


def _steady(answer: Any, agent: str) -> Any:
    """Return an answer without what differs from agent to agent and from moment to moment."""
    if isinstance(answer, dict):
        return {key: _steady(v, agent) for key, v in answer.items() if key not in VOLATILE}
    if isinstance(answer, list):
        return [_steady(each, agent) for each in answer]
    return "agent" if answer == agent else answer
