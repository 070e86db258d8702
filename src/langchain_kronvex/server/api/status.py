"""Is the server there, which one is it, and which keys are there: outside /api/v1."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from langchain_kronvex.server.api.dialects import zulu
from langchain_kronvex.server.api.responses import Answer, KeyAnswer, ServiceAnswer, VersionAnswer
from langchain_kronvex.server.api.router import PROBLEMS, guarded_router
from langchain_kronvex.server.http.access_log import VERSION
from langchain_kronvex.server.http.errors import Refused
from langchain_kronvex.server.http.strict_route import StrictRoute
from langchain_kronvex.server.registry.agents import NOBODY
from langchain_kronvex.server.registry.api_keys import ApiKey
from langchain_kronvex.server.service import Service, owner_of, service_of

router = APIRouter(route_class=StrictRoute, tags=["status"])
key_router = guarded_router("keys")


@router.get("/health", response_model=ServiceAnswer, responses={503: PROBLEMS[503]})
def health(request: Request) -> Answer:
    """Tell whether the store can be read; 503 when not. Needs no key."""
    service_of(request).keys.none_made()
    return Answer({"status": "ok", "service": "kronvex", "version": VERSION})


@router.get("/version", response_model=VersionAnswer)
def api_version() -> Answer:
    """Tell the version. Needs no key."""
    return Answer({"version": VERSION, "api": "v1", "env": "self-hosted"})


@router.get("/ping", response_model=str)
def ping() -> Answer:
    """Answer "pong". Needs no key."""
    return Answer("pong")


@key_router.get("/keys", response_model=list[KeyAnswer])
def list_keys(request: Request) -> Answer:
    """Return the calling key, alone; nothing while the server needs none."""
    service, owner = service_of(request), owner_of(request)
    return Answer([_key_object(key, service) for key in service.keys.all() if key.id == owner])


@key_router.delete("/keys/{key_id}", status_code=204, response_class=Response)
def revoke_key(key_id: str, request: Request) -> Response:
    """Revoke the calling key; other keys are revoked on the command line."""
    owner = owner_of(request)
    if owner == NOBODY or key_id.replace("-", "").lower() != owner:
        raise Refused(404, "Key not found")
    service_of(request).keys.revoke(owner)
    return Response(status_code=204)


def _key_object(key: ApiKey, service: Service) -> dict[str, object]:
    used = 0
    for agent in service.agents.all(key.id):
        with service.opened.use(agent.id) as opened:
            used += opened.count()
    return {
        "id": key.id,
        "name": key.name,
        "key_prefix": key.prefix,
        "is_active": key.is_active,
        "is_demo": False,
        "plan": "self-hosted",
        "memory_limit": None,
        "agent_limit": None,
        "memories_used": used,
        "deleted_memories_count": 0,
        "created_at": zulu(key.created_at),
        "last_used_at": None,
    }
