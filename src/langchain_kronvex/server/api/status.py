"""The state of the server, and of the calling key: its calls of today, and itself."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from langchain_kronvex.server.api import responses
from langchain_kronvex.server.api.responses import JsonResponse
from langchain_kronvex.server.api.router import PROBLEMS, guarded_router
from langchain_kronvex.server.http.endpoint import Endpoint
from langchain_kronvex.server.http.errors import ApiError
from langchain_kronvex.server.registry.agents import NO_KEY
from langchain_kronvex.server.registry.api_keys import ApiKey
from langchain_kronvex.server.service import Service, key_id_of, service_of

router = APIRouter(
    route_class=Endpoint, tags=["status"], generate_unique_id_function=lambda route: route.name
)
usage_router = guarded_router("reports")
key_router = guarded_router("keys", "/auth")


@router.get("/health", response_model=responses.ServiceAnswer, responses={503: PROBLEMS[503]})
def health(request: Request) -> JsonResponse:
    """Return whether the store can be read; 503 when it cannot. Needs no key."""
    service_of(request).keys.none_made()
    return JsonResponse(responses.ServiceAnswer())


@router.get("/version", response_model=responses.VersionAnswer)
def api_version(request: Request) -> JsonResponse:
    """Return the version. Needs no key."""
    return JsonResponse(responses.VersionAnswer())


@router.get("/ping", response_model=str)
def ping(request: Request) -> JsonResponse:
    """Return "pong". Needs no key."""
    return JsonResponse("pong")


@usage_router.get("/usage/today", response_model=responses.UsageAnswer)
def usage_today(request: Request) -> JsonResponse:
    """Count the key's calls of today (UTC), since the server started."""
    calls = service_of(request).calls_today(request)
    return JsonResponse(responses.UsageAnswer(today={**calls, "tokens": 0}))


@key_router.get("/keys", response_model=list[responses.KeyAnswer])
def list_keys(request: Request) -> JsonResponse:
    """Return the calling key alone; nothing while the server needs none."""
    service, calling = service_of(request), key_id_of(request)
    keys = [key for key in service.keys.all() if key.id == calling]
    return JsonResponse([_key_answer(key, service) for key in keys])


@key_router.delete("/keys/{key_id}", status_code=204, response_class=Response)
def revoke_key(key_id: str, request: Request) -> Response:
    """Revoke the calling key; other keys are revoked on the command line."""
    calling = key_id_of(request)
    if calling == NO_KEY or key_id.replace("-", "").lower() != calling:
        raise ApiError(404, "Key not found")
    service_of(request).keys.revoke(calling)
    return Response(status_code=204)


def _key_answer(key: ApiKey, service: Service) -> dict[str, object]:
    return responses.KeyAnswer(
        id=key.id,
        name=key.name,
        key_prefix=key.prefix,
        is_active=key.is_active,
        memories_used=sum(service.memory_count(each.id) for each in service.agents.all(key.id)),
        created_at=responses.zulu(key.created_at),
    ).model_dump()
