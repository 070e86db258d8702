"""How the inspector is served: beside the REST API, or alone from a store (`inspect`)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server.http.errors import on_http_exception
from langchain_kronvex.server.http.middleware import AccessLog, AuthMiddleware
from langchain_kronvex.server.inspector import api
from langchain_kronvex.server.inspector.agents import StoreAgents
from langchain_kronvex.server.registry import ApiKey
from langchain_kronvex.server.settings import LOCAL_HOSTS, ServerSettings

PATH = "/inspector"


def add_inspector(app: Starlette, *, read_only: bool) -> None:
    """Serve the page and its endpoints by an app whose state holds the service."""
    app.state.inspector_is_read_only = read_only
    app.router.routes.extend([Route(PATH, _page()), *api.router.routes, *api.changes.routes])


def inspector_app(memory: KronvexMemory, token: str) -> Starlette:
    """Return an app that shows all agents of a memory's store, to those who have the token.

    The API keys of the store do not count: who has its URL may read it without them.
    """
    agents = StoreAgents(memory)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        agents.close()

    app = Starlette(lifespan=lifespan, exception_handlers={HTTPException: on_http_exception})
    app.state.service = agents
    add_inspector(app, read_only=memory.engine.backend.is_read_only)
    settings = ServerSettings(allowed_hosts=LOCAL_HOSTS)
    auth: Any = AuthMiddleware
    app.add_middleware(auth, keys=_OneToken(token), settings=settings)
    app.add_middleware(AccessLog)
    return app


class _OneToken:
    """The only key of `inspect`, in the place of the store's keys."""

    is_fast = True

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def none_made(self) -> bool:
        return False

    def recognise(self, secret: str, *, cached: bool = False) -> ApiKey | None:
        if not hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), self._token):
            return None
        return ApiKey("inspect", "inspect", "", datetime.now(timezone.utc), is_active=True)


def _page() -> Any:
    """Return the endpoint of the page, which holds no data and so needs no key."""
    text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    headers = {**api.HEADERS, "Content-Security-Policy": _policy(text)}
    headers |= {"Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY"}

    async def page(_: Request) -> Response:
        return Response(text, media_type="text/html", headers=headers)

    return page


def _policy(text: str) -> str:
    """Return the content security policy: the script and the style of the page, and no more."""

    def digest(tag: str) -> str:
        [inside] = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest('script')}; style-src {digest('style')}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
