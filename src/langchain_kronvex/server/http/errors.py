"""Error responses, in the API's own words. None of them quotes SQL, a path or a traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request

from langchain_kronvex.core import errors
from langchain_kronvex.server.api.responses import JsonResponse

logger = logging.getLogger("langchain_kronvex.server")

_SHOWN_CHARS = 100


class ApiError(Exception):
    """An error with its own HTTP status.

    Args:
        status: The HTTP status.
        detail: The `detail` of the response.
        headers: Headers of the response.
    """

    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers

    def response(self) -> JsonResponse:
        """Return the response."""
        return JsonResponse({"detail": self.detail}, self.status, self.headers)


class InvalidRequest(ApiError):
    """An invalid request: 422 with a list of violations, in FastAPI's format."""

    def __init__(self, errors: Iterable[Mapping[str, Any]]) -> None:
        super().__init__(422, [_violation(error) for error in errors])

    @classmethod
    def of(cls, place: str, message: str, kind: str = "value_error") -> InvalidRequest:
        """Return the error for one violation in the body, the query or the headers."""
        return cls([{"type": kind, "loc": [place], "msg": message}])


def error_response(error: Exception) -> JsonResponse:
    """Return the response for any error that an endpoint raised."""
    if isinstance(error, errors.MemoryNotFound):
        error = ApiError(404, "Memory not found")
    elif isinstance(error, errors.InvalidInput):
        place = "before_save" if isinstance(error, errors.SaveRefused) else "body"
        error = InvalidRequest.of(place, str(error))
    if isinstance(error, ApiError):
        return error.response()
    # Not with a traceback, which may quote memory text.
    logger.error("a request failed: %s", errors.described(error))
    if isinstance(error, errors.EmbeddingsError):
        return _unavailable("embedding_unavailable", "The embeddings failed; try again.")
    if isinstance(error, (errors.StoreError, errors.MemoryClosed)):
        return _unavailable("store_unavailable", "The store cannot be used now; try again.")
    return internal_error()


def internal_error() -> JsonResponse:
    """Return the response for a request that failed because of the server."""
    detail = "An internal error occurred. Please try again or contact support."
    return ApiError(500, detail, {"Connection": "close"}).response()


async def on_http_exception(_: Request, error: Any) -> JsonResponse:
    """Return the response for an unknown path or method, which the router rejects."""
    return ApiError(error.status_code, error.detail, error.headers).response()


def _unavailable(error: str, message: str) -> JsonResponse:
    return ApiError(503, {"error": error, "message": message}, {"Retry-After": "1"}).response()


def _violation(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return one violation, without the value: it may be memory text."""
    place = [part if isinstance(part, int) else _shown(str(part)) for part in error["loc"]]
    return {"type": str(error["type"]), "loc": place, "msg": _shown(str(error["msg"]))}


def _shown(text: str) -> str:
    return errors.printable(text if len(text) <= _SHOWN_CHARS * 3 else f"{text[:_SHOWN_CHARS]}…")
