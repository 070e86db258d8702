"""A server's refusal, from a status and a body to one of our errors. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from langchain_kronvex.core import errors
from langchain_kronvex.storage.client_envelope import is_shallow

_FIELDS = (
    "body", "query", "path", "header", "agent_id", "content", "memory_type", "type", "session_id",
    "user_id", "metadata", "ttl_days", "pinned", "top_k", "threshold", "name", "description",
    "before_save",
)  # fmt: skip
_MAX_RATE_LIMIT_SECONDS = 3600.0  # a longer Retry-After is a daily quota, not a rate limit

NO_API = (
    "There is no Kronvex API at this URL (HTTP 404). Check url, KRONVEX_URL or KRONVEX_BASE_URL; "
    "it is the part before /api/v1."
)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """Return the error for an answer that is not a success.

    A server's message may quote the text it was sent, so only words that the API defines are read.
    """
    detail = _detail(body)
    said, wait = _said(detail), retry_after(headers) or 0.0
    is_daily = "daily_quota" in said or wait > _MAX_RATE_LIMIT_SECONDS
    error: Exception
    if status in (401, 403):
        error = errors.Unauthorized()
    elif status == 402 or (status == 429 and is_daily):
        error = errors.QuotaExceeded(f"{errors.QuotaExceeded.__doc__}{_figures(detail)}")
    elif status == 404 and "memory not found" in said:
        error = errors.MemoryNotFound()
    elif status == 404 or (status == 422 and _wants_other_agent_id(detail)):
        error = errors.AgentNotFound(None if status == 422 or "agent" in said else NO_API)
    elif status == 429:
        wait = wait or errors.RateLimited.retry_after_seconds
        error = errors.RateLimited(
            f"Too many requests in a minute; wait {wait:g} s, or spread them."
        )
        error.retry_after_seconds = wait
    elif status >= 500:
        error = errors.ServerUnavailable(f"The server failed (HTTP {status}); try again.")
        error.retry_after_seconds = wait or None
    elif 300 <= status < 400:
        error = errors.ServerMisbehaved(
            f"The server redirects (HTTP {status}) to another place; the API key was not sent "
            "there. Use the URL of the API itself."
        )
    else:
        error = errors.BadRequest(
            f"The server refused the request (HTTP {status}){_places(detail)}."
        )
    if isinstance(error, errors.ServiceError):
        error.status = status
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, which is a number of seconds or a date."""
    text = headers.get("retry-after", "").strip()
    try:
        if text.isdigit():
            return float(text)
        return max((parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _wants_other_agent_id(detail: object) -> bool:
    """Return whether the server refuses the agent's id because it is not a UUID."""
    told = [(str(one.get("type", "")).lower(), str(one.get("loc", ""))) for one in _faults(detail)]
    return any("uuid" in kind and "agent_id" in place for kind, place in told)


def _faults(detail: object) -> list[Mapping[str, Any]]:
    """Return the faults that a validation error lists."""
    return [one for one in detail if isinstance(one, Mapping)] if isinstance(detail, list) else []


def _detail(body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    detail = answer.get("detail") if isinstance(answer, Mapping) else None
    return detail if is_shallow(detail) else None


def _said(detail: object) -> str:
    if isinstance(detail, Mapping):
        detail = detail.get("error")
    return detail.lower() if isinstance(detail, str) else ""


def _figures(detail: object) -> str:
    if not isinstance(detail, Mapping):
        return ""
    known = ("limit", "current", "agents_used", "memories_used_this_cycle")
    told = [f"{name} {detail[name]}" for name in known if isinstance(detail.get(name), int)]
    return f" ({', '.join(told)})" if told else ""


def _places(detail: object) -> str:
    """Name the fields of a validation error that the API has; other names may be memory text."""
    found = [one["loc"] for one in _faults(detail) if isinstance(one.get("loc"), list)]
    places = {".".join(part for part in place if part in _FIELDS) for place in found}
    named = ", ".join(sorted(filter(None, places)))
    return f" because of {named}" if named else ""
