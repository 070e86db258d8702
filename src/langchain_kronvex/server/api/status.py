"""The state of the server and of the calling key, and what this server does not offer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from langchain_kronvex.server.api import responses
from langchain_kronvex.server.http.endpoint import PROBLEMS, Endpoint, guarded_router
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.registry import NO_KEY, ApiKey
from langchain_kronvex.server.service import Service, key_id_of, service_of

router = APIRouter(
    route_class=Endpoint, tags=["status"], generate_unique_id_function=lambda route: route.name
)
usage_router = guarded_router("reports")
key_router = guarded_router("keys", "/auth")
not_offered = APIRouter(include_in_schema=False)


@router.get("/health", responses={503: PROBLEMS[503]})
def health(request: Request) -> responses.ServiceAnswer:
    """Return whether the store can be read; 503 when it cannot. Needs no key."""
    service_of(request).keys.none_made()
    return responses.ServiceAnswer()


@router.get("/version")
def api_version(request: Request) -> responses.VersionAnswer:
    """Return the version. Needs no key."""
    return responses.VersionAnswer()


@router.get("/ping")
def ping(request: Request) -> str:
    """Return "pong". Needs no key."""
    return "pong"


@usage_router.get("/usage/today")
def usage_today(request: Request) -> responses.UsageAnswer:
    """Count the key's calls of today (UTC) to this process, since it started."""
    calls = service_of(request).calls_today(request)
    return responses.UsageAnswer(today={**calls, "tokens": 0})


@key_router.get("/keys")
def list_keys(request: Request) -> list[responses.KeyAnswer]:
    """Return the calling key alone; nothing while the server needs none."""
    service, calling = service_of(request), key_id_of(request)
    return [_key_answer(key, service) for key in service.keys.all() if key.id == calling]


@key_router.delete("/keys/{key_id}", status_code=204)
def revoke_key(key_id: str, request: Request) -> None:
    """Revoke the calling key; other keys are revoked on the command line."""
    calling = key_id_of(request)
    if calling == NO_KEY or key_id.replace("-", "").lower() != calling:
        raise ApiError(404, "Key not found")
    service_of(request).keys.revoke(calling)


def _key_answer(key: ApiKey, service: Service) -> responses.KeyAnswer:
    same: Any = {name: getattr(key, name) for name in ("id", "name", "is_active")}
    used = sum(service.memory_count(each.id) for each in service.agents.all(key.id))
    created_at = responses.zulu(key.created_at)
    return responses.KeyAnswer(
        **same, key_prefix=key.prefix, memories_used=used, created_at=created_at
    )


# -- parts of the hosted service that this server does not offer: 501 and the reason ----------

_NO_SCORES = "its figures would be invented. Use analytics, which counts."
_REASONS = {
    "POST /api/v1/agents/{agent_id}/ingest": "extracting memories from a text needs a language "
    "model. Use remember or bulk-import.",
    "GET /api/v1/agents/{agent_id}/graph": "there is no graph of entities; recall finds memories "
    "by their words and meaning.",
    "GET /api/v1/agents/{agent_id}/conflicts": "memories are superseded only when a request "
    "says so, so there are no conflicts.",
    "GET /api/v1/agents/{agent_id}/audit": "only the server's log records activity.",
    "POST /api/v1/agents/{agent_id}/consolidate": "it was started without a language "
    "model. Start it with `langchain-kronvex serve --consolidate provider:model`.",
    "GET /api/v1/agents/{agent_id}/health": _NO_SCORES,
    "GET /api/v1/stats/weekly": _NO_SCORES,
    "GET /api/v1/analytics/global": _NO_SCORES,
    "POST /auth/demo": "the command `langchain-kronvex keys create` makes keys.",
    "GET /auth/webhooks": "it sends no requests.",
    "POST /auth/webhooks": "it sends no requests.",
    "DELETE /auth/webhooks/{webhook_id}": "it sends no requests.",
}


def _rejection(reason: str) -> Callable[[Request], Awaitable[Response]]:
    async def reject(_: Request) -> NoReturn:
        raise HTTPException(501, f"Not offered by this server: {reason}")

    return reject


for _operation, _reason in _REASONS.items():
    _method, _, _path = _operation.partition(" ")
    not_offered.add_route(_path, _rejection(_reason), [_method])
