"""The REST API in both directions: requests to be sent, and answers read. Pure functions.

Three dialects of the API are spoken: the open-source server's, the SDKs' and the tutorials'. The
requests say everything in the words of all three; the readings accept whatever form comes back,
and never rely on a key being there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from langchain_kronvex.core.errors import ServerMisbehaved
from langchain_kronvex.core.validation import MAX_METADATA_DEPTH

MAX_TOP_K = 20
PAGE_ITEMS = 64  # at most 100 are allowed; a power of two can be halved
MAX_TTL_DAYS = 3650
NOBODY = "\0"  # no id; whose a memory is that nobody can be asked about
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
_NO_TEXT = re.compile("[\ud800-\udfff]")
_MOST_ACCESSES = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        method: Of HTTP.
        path: Percent-encoded, below `/api/v1`.
        query: Parameters of the URL; never memory text, since URLs are logged.
        body: JSON, or None.
        repeatable: Sending it twice does what sending it once does.
        deadline: Of `time.monotonic()`, for an answer that is not worth the usual wait.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    repeatable: bool = True
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WireMemory:
    """A memory as a server returned it.

    Attributes:
        id: The server's, not empty.
        content: The text as stored there.
        session: Whose it is: what the server calls `user_id`, where that is another one than its
            `session_id`; else the `session_id`, which names both; None for none.
        user: The `user_id`, where it is another one than the `session_id`.
        within: The `session_id` beside such a user, or None.
        type: The memory type; "episodic" where the server names none.
        metadata: A JSON object.
        has_metadata: The server returned metadata at all.
        created_at: UTC; 1970 where the server gives no date.
        expires_at: UTC, or None.
        pinned: Whether the server keeps it from expiring.
        access_count: As the server counts.
        similarity: To the query, 0 to 1.
        probability: That it is relevant, where the server tells; else the similarity.
        deduplicated: The server says that it had it already.
        superseded: The server no longer finds it.
        merged: The server made it of others.
        hidden: How many others the server no longer finds because of this one.
        unreadable: It holds what is no text, or is nested too deeply; text and metadata are empty.
    """

    id: str
    content: str = field(repr=False)
    session: str | None = None
    user: str | None = None
    within: str | None = None
    type: str = "episodic"
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    has_metadata: bool = False
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of a listing; what the server does not tell is None.

    `received` counts the items of the answer, also those that are no memories.
    """

    memories: list[WireMemory]
    received: int
    total: int | None
    page_items: int | None
    last: bool


# -- requests -------------------------------------------------------------------------------------


def agent_path(agent_id: str, *rest: str) -> str:
    """Return the path of an agent, or of something below it; every part percent-encoded."""
    return "/".join(("/agents", *(_quoted(part) for part in (agent_id, *rest))))


def _quoted(part: str) -> str:
    """Percent-encode a part of a path; dots alone would lead to other places."""
    return quote(part, safe="") if part.strip(".") else part.replace(".", "%2E")


def remember_request(
    agent_id: str,
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
    }
    body |= _session_words(session)
    if ttl_days is not None:
        body["ttl_days"] = ttl_days
    path = agent_path(agent_id, "remember")
    return Request(method="POST", path=path, body=body, repeatable=False)


def recall_request(
    agent_id: str, *, query: str, top_k: int, session: str | None, memory_type: str | None
) -> Request:
    """Return the request that finds memories, however little similar they are."""
    asked = _UNSENDABLE.sub(" ", query)
    body: dict[str, Any] = {
        "query": asked if asked.strip() else "?",
        "top_k": top_k,
        "threshold": 0.0,
    }
    body |= _session_words(session)
    if memory_type is not None:
        body["memory_type"] = memory_type
    return Request(method="POST", path=agent_path(agent_id, "recall"), body=body)


def list_request(agent_id: str, session: str | None, page: int, page_items: int) -> Request:
    """Return the request for a page, counted from 1, newest first."""
    query: dict[str, str | int] = {
        "page": page,
        "per_page": page_items,
        "limit": page_items,
        "offset": (page - 1) * page_items,
    }
    query |= _session_words(session)
    return Request(method="GET", path=agent_path(agent_id, "memories"), query=query)


def delete_request(agent_id: str, memory_id: str) -> Request:
    """Return the request that deletes one memory."""
    return Request(method="DELETE", path=agent_path(agent_id, "memories", memory_id))


def erase_user_request(agent_id: str, session: str) -> Request:
    """Return the request that erases everything of one session, as the API's user."""
    return Request(method="DELETE", path=agent_path(agent_id, "memories", "user", session))


def clear_request(agent_id: str) -> Request:
    """Return the request that deletes everything of an agent."""
    return Request(method="DELETE", path=agent_path(agent_id, "memories"))


def list_agents_request() -> Request:
    """Return the request for all agents of the key."""
    return Request(method="GET", path="/agents")


def create_agent_request(name: str) -> Request:
    """Return the request that makes an agent."""
    body = {"name": name, "description": "", "metadata": {}}
    return Request(method="POST", path="/agents", body=body, repeatable=False)


def _session_words(session: str | None) -> dict[str, str]:
    return {} if session is None else {"session_id": session, "user_id": session}


# -- answers --------------------------------------------------------------------------------------


def read_json(body: bytes) -> Any:
    """Return the JSON value of an answer.

    Raises:
        ServerMisbehaved: it is no JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ServerMisbehaved(
            f"The server answered {len(body)} bytes that are no JSON. Check that the URL is that "
            "of a Kronvex API, not of a web page or a proxy."
        ) from None


def read_memory(raw: object) -> WireMemory | None:
    """Return one memory; None for what is none."""
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
        has_metadata=isinstance(metadata, Mapping),
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

    They stand flat under `memories`, nested under `results`, or are the whole answer.

    Raises:
        ServerMisbehaved: it is none of these.
    """
    if isinstance(answer, Mapping):
        for key in ("memories", "results"):
            if isinstance(answer.get(key), list):
                return _memories(answer[key])
    if isinstance(answer, list):
        return _memories(answer)
    raise ServerMisbehaved(
        f"The server answered a recall with {_kind(answer)} that holds no memories."
    )


def read_page(answer: object, page_items: int) -> ListPage:
    """Return one page of a listing; `page_items` were asked for.

    Raises:
        ServerMisbehaved: it is no page.
    """
    memories = answer.get("memories") if isinstance(answer, Mapping) else answer
    if not isinstance(memories, list):
        raise ServerMisbehaved(f"The server answered a listing with {_kind(answer)}, no page.")
    told: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    page, pages = _number(told.get("page")), _number(told.get("pages"))
    answered = _number(_first(told, "per_page", "limit"))
    by_pages = page is not None and pages is not None and page >= pages
    return ListPage(
        memories=_memories(memories),
        received=len(memories),
        total=_number(told.get("total")),
        page_items=answered if answered and 0 < answered <= page_items else None,
        last=not memories or told.get("has_more") is False or by_pages,
    )


def read_agents(answer: object) -> list[tuple[str, str, str]]:
    """Return (id, name, date of creation as text) of each agent in a listing."""
    listed = answer.get("agents") if isinstance(answer, Mapping) else answer
    found = (read_agent(raw) for raw in listed) if isinstance(listed, list) else ()
    return [agent for agent in found if agent is not None]


def read_agent(raw: object) -> tuple[str, str, str] | None:
    """Return (id, name, date of creation as text) of an agent; None for what is none."""
    if not isinstance(raw, Mapping):
        return None
    id_, name = _text(raw.get("id")), _text(raw.get("name"))
    return (id_, name or "", _text(raw.get("created_at")) or "") if id_ else None


def read_time(value: object) -> datetime | None:
    """Return a moment in UTC; None for what is none. `Z` and offsets are understood."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value[:-1] + "+00:00" if value[-1:] in "Zz" else value)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _memories(items: Sequence[object]) -> list[WireMemory]:
    found = (read_memory(_flat(item)) for item in items)
    return [memory for memory in found if memory is not None]


def _flat(item: object) -> object:
    """Return an item without its nesting: its scores stand beside the memory's fields."""
    if not isinstance(item, Mapping) or not isinstance(item.get("memory"), Mapping):
        return item
    return {**item, **item["memory"], **{k: item[k] for k in ("similarity",) if k in item}}


def _first(raw: Mapping[str, Any], *names: str) -> Any:
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def is_text(value: object) -> bool:
    """Tell whether a value is a string that can be written as UTF-8."""
    return isinstance(value, str) and not _NO_TEXT.search(value)


def is_shallow(value: object, levels: int = MAX_METADATA_DEPTH + 1) -> bool:
    """Tell whether a JSON value is nested no deeper than metadata may be."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return levels > 0 and all(is_shallow(item, levels - 1) for item in value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value and is_text(value) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _count(value: object) -> int:
    return min(max(_number(value) or 0, 0), _MOST_ACCESSES)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 1.0 if value > 0 else 0.0
    return min(max(number, 0.0), 1.0) if math.isfinite(number) else 0.0


def _kind(answer: object) -> str:
    return "an object" if isinstance(answer, Mapping) else f"a {type(answer).__name__}"
