"""Requests and answers of the REST API, in all its dialects. Pure functions.

Three dialects are in use: those of the open-source server, the SDKs and the tutorials. Every
request carries the fields of all three. An answer is accepted in any of their forms, and no key is
relied on to be there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple
from urllib.parse import quote

from langchain_kronvex.core.errors import ServerMisbehaved
from langchain_kronvex.core.validation import is_text
from langchain_kronvex.storage.client_envelope import is_shallow, read_time

MAX_TOP_K = 20
PAGE_ITEMS = 64  # at most 100 are allowed; a power of two can be halved
MAX_TTL_DAYS = 3650
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
NOBODY = "\0"  # not an id: the session of a memory whose owner cannot be read
_MAX_ACCESSES = 2**53


# -- requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: The HTTP method.
        path: Percent-encoded, below the agent's path; see `of_agent`.
        query: Parameters of the URL; never memory text, since URLs are logged.
        body: A JSON object; nothing is sent if it is empty.
        repeatable: Whether sending it twice has the same effect as sending it once.
        deadline: A moment of `time.monotonic()`, after which the answer is of no use; or None.
    """

    method: str
    path: str
    _: KW_ONLY
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    repeatable: bool = True
    deadline: float | None = None


CLEAR = Request("DELETE", "/memories")  # deletes everything of an agent
LIST_AGENTS = Request("GET", "/agents")  # those of the API key
NOTHING: Mapping[str, Any] = {"memories": []}  # of an agent that does not exist


def of_agent(request: Request, agent_id: str) -> Request:
    """Return a request about an agent with its whole path below `/api/v1`."""
    return replace(request, path=f"/agents/{_quoted(agent_id)}{request.path}")


def _quoted(part: str) -> str:
    """Percent-encode a part of a path, dots too if there is nothing else: they would lead away."""
    return quote(part, safe="") if part.strip(".") else part.replace(".", "%2E")


def recall_request(
    query: str, top_k: int, session: str | None, memory_type: str | None, is_current: bool
) -> Request:
    """Return the request that finds memories, however low their similarity is.

    Servers of this package leave superseded memories out, unless they are told otherwise.
    """
    text = _UNSENDABLE.sub(" ", query)
    asked: dict[str, Any] = {"query": text if text.strip() else "?", **session_fields(session)}
    typed = {} if memory_type is None else {"memory_type": memory_type}
    body = {**asked, **typed, "top_k": top_k, "threshold": 0.0}
    if not is_current:
        body["include_superseded"] = True
    return Request("POST", "/recall", body=body)


def explain_request(
    query: str, top_k: int, memory_id: str, session: str | None, is_current: bool
) -> Request:
    """Return the request that explains how one memory is weighed."""
    recall = recall_request(query, min(top_k, MAX_TOP_K), session, None, is_current)
    return replace(recall, path="/explain", body={**recall.body, "memory_id": memory_id})


def list_request(
    session: str | None, page: int, page_items: int, deadline: float | None = None
) -> Request:
    """Return the request for a page of memories, counted from 1, newest first."""
    by_page = {"page": page, "per_page": page_items}
    by_offset = {"limit": page_items, "offset": (page - 1) * page_items}
    query: Any = {**by_page, **by_offset, **session_fields(session)}
    return Request("GET", "/memories", query=query, deadline=deadline)


def delete_request(memory_id: str, *, repeatable: bool = True) -> Request:
    """Return the request that deletes one memory."""
    return Request("DELETE", f"/memories/{_quoted(memory_id)}", repeatable=repeatable)


def erase_user_request(session: str) -> Request:
    """Return the request that erases everything of one session, which the API calls a user."""
    return Request("DELETE", f"/memories/user/{_quoted(session)}")


def create_agent_request(name: str) -> Request:
    """Return the request that creates an agent."""
    body = {"name": name, "description": "", "metadata": {}}
    return Request("POST", "/agents", body=body, repeatable=False)


def session_fields(session: str | None) -> dict[str, str]:
    """Return the fields that name a session, which some dialects call a user."""
    return {} if session is None else {"session_id": session, "user_id": session}


# -- answers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WireMemory:
    """A memory as a server returned it.

    Attributes:
        id: The server's, not empty.
        content: The text as stored there.
        session: The owner: the server's `user_id` if it differs from its `session_id`, else the
            `session_id`, which names both; None if there is none.
        user: The `user_id` if it differs from the `session_id`.
        within: The `session_id` beside such a user, or None.
        type: The memory type; "episodic" if the server names none.
        metadata: A JSON object.
        created_at: UTC; 1970 if the server gives no date.
        expires_at: UTC, or None.
        pinned: Whether the server keeps it from expiring.
        access_count: The server's count.
        similarity: To the query, 0 to 1.
        probability: That it is relevant, if the server says so; else the similarity.
        deduplicated: Whether the server had it already.
        superseded: Whether the server no longer finds it.
        merged: Whether the server made it from other memories.
        hidden: How many other memories the server no longer finds because of this one.
        unreadable: Whether it holds something that is not text, or is nested too deeply; then
            text and metadata are empty.
    """

    id: str
    content: str = field(repr=False)
    session: str | None = None
    user: str | None = None
    within: str | None = None
    type: str = "episodic"
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    pinned: bool = False
    access_count: int = 0
    similarity: float = 0.0
    probability: float = 0.0
    deduplicated: bool = False
    superseded: bool = False
    merged: bool = False
    hidden: int = 0
    unreadable: bool = False


class ListPage(NamedTuple):
    """One page of a listing.

    Attributes:
        memories: Those on the page.
        total: How many there are on all pages; None if the server does not say.
        page_items: How many the next page may have.
        last: Whether it is the last page.
    """

    memories: list[WireMemory]
    total: int | None
    page_items: int
    last: bool


def read_json(body: bytes) -> Any:
    """Return the JSON value of an answer.

    Raises:
        ServerMisbehaved: it is not JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ServerMisbehaved(
            f"The server answered {len(body)} bytes that are not JSON. Check that the URL belongs "
            "to a Kronvex API, not to a web page or a proxy."
        ) from None


def read_memory(raw: object) -> WireMemory | None:
    """Return one memory; None if it is not one."""
    if not isinstance(raw, Mapping):
        return None
    id_, content = raw.get("id"), raw.get("content")
    if not isinstance(id_, str) or not id_ or not isinstance(content, str):
        return None
    metadata, type_ = raw.get("metadata"), _first(raw, "memory_type", "type")
    names = (raw.get("user_id"), raw.get("session_id"))
    named = is_text(id_) and all(name is None or is_text(name) for name in names)
    user, session = map(_text, names) if named else (None, NOBODY)
    apart = user is not None and user != session
    readable = named and is_text(content) and (type_ is None or is_text(type_))
    readable = readable and is_shallow(metadata)
    similarity = _share(_first(raw, "similarity", "score", "confidence"))
    probability = raw.get("probability")
    return WireMemory(
        id=id_ if is_text(id_) else ascii(id_),
        content=content if readable else "",
        session=user if apart else session,
        user=user if apart else None,
        within=session if apart else None,
        type=_text(type_) or "episodic",
        metadata=metadata if readable and isinstance(metadata, Mapping) else {},
        unreadable=not readable,
        created_at=read_time(raw.get("created_at")) or datetime.fromtimestamp(0, timezone.utc),
        expires_at=read_time(raw.get("expires_at")),
        pinned=raw.get("pinned") is True,
        access_count=_count(raw.get("access_count")),
        similarity=similarity,
        probability=similarity if probability is None else _share(probability),
        deduplicated=raw.get("deduplicated") is True,
        superseded=raw.get("superseded") is True or _text(raw.get("superseded_by")) is not None,
        merged=raw.get("is_meta") is True or _count(raw.get("consolidation_count")) > 0,
        hidden=_count(raw.get("conflicts_resolved")),
    )


def read_recall(answer: object) -> list[WireMemory]:
    """Return the memories of a recall, in the server's order.

    They are flat under `memories`, nested under `results`, or the whole answer.

    Raises:
        ServerMisbehaved: the answer has none of these forms.
    """
    return _memories(_listed(answer, "memories", "results"))


def read_page(answer: object, page_items: int) -> ListPage:
    """Return one page of a listing; `page_items` is the size that was requested.

    Raises:
        ServerMisbehaved: it is not a page.
    """
    memories = _memories(_listed(answer, "memories"))
    told: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    page, pages = _number(told.get("page")), _number(told.get("pages"))
    answered = _number(_first(told, "per_page", "limit"))
    size = answered if answered and 0 < answered <= page_items else page_items
    by_pages = page is not None and pages is not None and page >= pages
    last = not memories or told.get("has_more") is False or by_pages
    return ListPage(memories, _number(told.get("total")), size, last)


def read_agents(answer: object) -> list[tuple[str, str, str]]:
    """Return (id, name, date of creation as text) of each agent in a listing."""
    return [agent for raw in _listed(answer, "agents") or () if (agent := read_agent(raw))]


def read_agent(raw: object) -> tuple[str, str, str] | None:
    """Return (id, name, date of creation as text) of an agent; None if it is not one."""
    if not isinstance(raw, Mapping):
        return None
    id_, name = _text(raw.get("id")), _text(raw.get("name"))
    return (id_, name or "", _text(raw.get("created_at")) or "") if id_ else None


def _listed(answer: object, *names: str) -> list[Any] | None:
    """Return the list under the first of the names that has one, or the answer if it is a list."""
    if isinstance(answer, Mapping):
        return next((answer[name] for name in names if isinstance(answer.get(name), list)), None)
    return answer if isinstance(answer, list) else None


def _memories(listed: Sequence[object] | None) -> list[WireMemory]:
    if listed is None:
        raise ServerMisbehaved("The server's answer holds no list of memories.")
    return [memory for item in listed if (memory := read_memory(_flat(item)))]


def _flat(item: object) -> object:
    """Return an item without its nesting: the scores beside the memory's fields."""
    if not isinstance(item, Mapping) or not isinstance(item.get("memory"), Mapping):
        return item
    return {**item, **item["memory"], **{k: item[k] for k in ("similarity",) if k in item}}


def _first(raw: Mapping[str, Any], *names: str) -> Any:
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def _text(value: object) -> str | None:
    return value if is_text(value) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _count(value: object) -> int:
    return min(max(_number(value) or 0, 0), _MAX_ACCESSES)


def _share(value: object) -> float:
    if not (isinstance(value, float) and math.isfinite(value)):
        value = _number(value) or 0
    return float(min(max(value, 0), 1))
