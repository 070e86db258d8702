"""How endpoints that need a key are described in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader

from langchain_kronvex.server.api.responses import Problem
from langchain_kronvex.server.http.endpoint import Endpoint

PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The key is missing or invalid."},
    404: {"model": Problem, "description": "It does not exist, or belongs to another key."},
    413: {"model": Problem, "description": "The body is too large."},
    429: {"model": Problem, "description": "Too many requests; see Retry-After."},
    503: {"model": Problem, "description": "Try again later."},
}
# Only described here: the middleware checks the key before the router chooses an endpoint.
_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="kv-…; made by `keys create`.")


def guarded_router(
    tag: str, prefix: str = "/api/v1", route_class: type[Endpoint] = Endpoint
) -> APIRouter:
    """Return a router for endpoints that need a key."""
    return APIRouter(
        prefix=prefix,
        route_class=route_class,
        tags=[tag],
        responses=PROBLEMS,
        dependencies=[Security(_KEY)],
        generate_unique_id_function=lambda route: route.name,
    )
