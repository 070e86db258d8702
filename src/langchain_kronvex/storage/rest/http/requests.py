"""Requests of the REST API, in the words of all its dialects. Pure functions.

Three dialects are in use: those of the open-source server, the SDKs and the tutorials. Every
request carries the fields of all three.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

MAX_TOP_K = 20
PAGE_ITEMS = 64  # at most 100 are allowed; a power of two can be halved
MAX_TTL_DAYS = 3650
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        method: The HTTP method.
        path: Percent-encoded, below the agent's path; see `of_agent`.
        query: Parameters of the URL; never memory text, since URLs are logged.
        body: A JSON value, or None.
        repeatable: Whether sending it twice has the same effect as sending it once.
        deadline: A moment of `time.monotonic()`, for an answer that is not worth the usual wait.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    repeatable: bool = True
    deadline: float | None = None


def of_agent(request: Request, agent_id: str) -> Request:
    """Return a request about an agent with its whole path below `/api/v1`."""
    return replace(request, path=f"/agents/{_quoted(agent_id)}{request.path}")


def _quoted(part: str) -> str:
    """Percent-encode a part of a path, dots too if there is nothing else: they would lead away."""
    return quote(part, safe="") if part.strip(".") else part.replace(".", "%2E")


def remember_request(
    *,
    content: str,
    memory_type: str,
    session: str | None,
    metadata: Mapping[str, Any],
    pinned: bool,
    ttl_days: int | None,
) -> Request:
    """Return the request that stores a memory."""
    body: dict[str, Any] = {
        "content": content,
        "memory_type": memory_type,
        "type": memory_type,
        "pinned": pinned,
        "metadata": metadata,
        **_session_fields(session),
    }
    if ttl_days is not None:
        body["ttl_days"] = ttl_days
    return Request(method="POST", path="/remember", body=body, repeatable=False)


def recall_request(
    *, query: str, top_k: int, session: str | None, memory_type: str | None
) -> Request:
    """Return the request that finds memories, however low their similarity is."""
    text = _UNSENDABLE.sub(" ", query)
    body: dict[str, Any] = {
        "query": text if text.strip() else "?",
        "top_k": top_k,
        "threshold": 0.0,
        **_session_fields(session),
    }
    if memory_type is not None:
        body["memory_type"] = memory_type
    return Request(method="POST", path="/recall", body=body)


def list_request(
    session: str | None, page: int, page_items: int, deadline: float | None = None
) -> Request:
    """Return the request for a page of memories, counted from 1, newest first."""
    query: dict[str, str | int] = {
        "page": page,
        "per_page": page_items,
        "limit": page_items,
        "offset": (page - 1) * page_items,
        **_session_fields(session),
    }
    return Request(method="GET", path="/memories", query=query, deadline=deadline)


def delete_request(memory_id: str, *, repeatable: bool = True) -> Request:
    """Return the request that deletes one memory."""
    path = f"/memories/{_quoted(memory_id)}"
    return Request(method="DELETE", path=path, repeatable=repeatable)


def erase_user_request(session: str) -> Request:
    """Return the request that erases everything of one session, which the API calls a user."""
    return Request(method="DELETE", path=f"/memories/user/{_quoted(session)}")


def clear_request() -> Request:
    """Return the request that deletes everything of an agent."""
    return Request(method="DELETE", path="/memories")


def list_agents_request() -> Request:
    """Return the request for all agents of the API key."""
    return Request(method="GET", path="/agents")


def create_agent_request(name: str) -> Request:
    """Return the request that creates an agent."""
    body = {"name": name, "description": "", "metadata": {}}
    return Request(method="POST", path="/agents", body=body, repeatable=False)


def _session_fields(session: str | None) -> dict[str, str]:
    return {} if session is None else {"session_id": session, "user_id": session}
