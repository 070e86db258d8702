"""Parts of the hosted service that this server does not offer: answered with 501 and the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_NO_SCORES = "its figures would be invented. Use analytics, which counts."
_REASONS = {
    "POST /api/v1/agents/{agent_id}/ingest": "extracting memories from a text needs a language "
    "model. Use remember or bulk-import.",
    "GET /api/v1/agents/{agent_id}/graph": "there is no graph of entities; recall finds memories "
    "by their words and meaning.",
    "GET /api/v1/agents/{agent_id}/conflicts": "memories are never superseded, so there are no "
    "conflicts.",
    "GET /api/v1/agents/{agent_id}/audit": "only the server's log records activity.",
    "POST /api/v1/agents/{agent_id}/consolidate": "memories are never merged.",
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
    router.add_route(_path, _rejection(_reason), [_method])
