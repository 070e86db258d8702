"""From errors to answers, in the API's own words. No answer quotes SQL, a path, or a trace."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from langchain_kronvex.core.errors import (
    EmbeddingsError,
    InvalidInput,
    MemoryClosed,
    MemoryNotFound,
    StoreError,
    described,
)
from langchain_kronvex.server.api.responses import Answer

logger = logging.getLogger("langchain_kronvex.server")

MISSING_KEY = "Missing API key. Add header: X-API-Key: kv-..."
INVALID_KEY = "Invalid or revoked API key."
NOT_FOUND = "Not Found"
AGENT_NOT_FOUND = "Agent not found"
MEMORY_NOT_FOUND = "Memory not found"
FAULT = "An internal error occurred. Please try again or contact support."
_SHOWN_CHARS = 100


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: Of HTTP.
        detail: What the answer says.
    """

    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem(status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that tells what went wrong."""
    return Answer({"detail": detail}, status, headers)


def fault() -> Answer:
    """Return the answer to a request that failed for no reason of its own."""
    return problem(500, FAULT, {"Connection": "close"})


def on_refused(_: Request, error: Exception) -> Answer:
    """Answer with what an endpoint decided."""
    if not isinstance(error, Refused):
        return fault()
    return problem(error.status, error.detail, error.headers)


def on_http(_: Request, error: Exception) -> Answer:
    """Answer what the router refuses: an unknown path, a method."""
    return problem(
        getattr(error, "status_code", 500),
        getattr(error, "detail", FAULT),
        getattr(error, "headers", None),
    )


def on_invalid(_: Request, error: Exception) -> Answer:
    """Answer a request that does not fit, as FastAPI does, with inputs that are safe to print."""
    errors: Sequence[Any] = getattr(error, "errors", list)()
    return problem(422, [_violation(each) for each in errors])


def on_error(_: Request, error: Exception) -> Answer:
    """Answer an error of the engine."""
    if isinstance(error, MemoryNotFound):
        return problem(404, MEMORY_NOT_FOUND)
    if isinstance(error, InvalidInput):
        return problem(422, [invalid("body", str(error))])
    logger.error("a request failed: %s", described(error))
    if isinstance(error, EmbeddingsError):
        return _unavailable("embedding_unavailable", "The embeddings failed; try again.")
    if isinstance(error, (StoreError, MemoryClosed)):
        return _unavailable("store_unavailable", "The store cannot be used now; try again.")
    return fault()


def invalid(place: str, message: str) -> dict[str, Any]:
    """Return one violation found by the engine."""
    return {"type": "value_error", "loc": [place], "msg": message, "input": None}


def _unavailable(error: str, message: str) -> Answer:
    return problem(503, {"error": error, "message": message}, {"Retry-After": "1"})


def _violation(error: Mapping[str, Any]) -> dict[str, Any]:
    why = error.get("ctx", {}).get("error", "") if error.get("type") == "json_invalid" else ""
    return {
        "type": str(error.get("type", "value_error")),
        "loc": [part if isinstance(part, int) else _shown(str(part)) for part in error["loc"]],
        "msg": _shown(str(error.get("msg", "")) + (f": {why}" if why else "")),
        "input": _safe(error.get("input")),
    }


def _safe(value: Any) -> Any:
    """Return what an answer may repeat of an input: short, and writable as JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {}
    return [] if isinstance(value, list | tuple) else None


def _shown(text: str) -> str:
    cut = text if len(text) <= _SHOWN_CHARS * 3 else f"{text[:_SHOWN_CHARS]}…"
    return cut.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def unreadable(message: str) -> json.JSONDecodeError:
    """Return the error for a body that is no JSON the server takes."""
    return json.JSONDecodeError(message, "", 0)
