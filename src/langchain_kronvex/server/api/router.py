"""How an endpoint is described in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader

from langchain_kronvex.server.api.responses import Problem
from langchain_kronvex.server.http.strict_route import StrictRoute

# The key itself is checked before any route is looked for.
_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="kv-…; made by `keys create`.")

PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No key, or no good one."},
    404: {"model": Problem, "description": "No such thing, or another key's."},
    413: {"model": Problem, "description": "The body is too large."},
    429: {"model": Problem, "description": "Asked too often; see Retry-After."},
    503: {"model": Problem, "description": "Try again later."},
}


def guarded_router(*tags: str) -> APIRouter:
    """Return a router for endpoints that need a key."""
    return APIRouter(
        route_class=StrictRoute,
        tags=list(tags),
        responses=PROBLEMS,
        dependencies=[Security(_KEY)],
    )
