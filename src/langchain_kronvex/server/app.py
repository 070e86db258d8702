"""The ASGI app: the REST API on a memory, run on its own or mounted in another app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI
from langchain_core.language_models import BaseChatModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from langchain_kronvex.consolidation.model_calls import chat_model
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server.api import agents, memories, recall, status
from langchain_kronvex.server.api.responses import VERSION
from langchain_kronvex.server.http.errors import on_http_exception
from langchain_kronvex.server.http.middleware import AccessLog, AuthMiddleware, OnAnswer
from langchain_kronvex.server.reference import reference
from langchain_kronvex.server.service import Service
from langchain_kronvex.server.settings import ServerSettings

if TYPE_CHECKING:
    from langchain_kronvex.server.metrics import Metrics

# FastAPI's telemetry sends what the environment tells it to; this server sends nothing.
_SILENT: Any = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}
_ROUTERS = (
    recall.router,
    agents.router,
    memories.router,
    status.usage_router,
    status.not_offered,
    status.router,
    status.key_router,
)


def create_app(
    memory: KronvexMemory,
    settings: ServerSettings | None = None,
    *,
    consolidate: BaseChatModel | str | None = None,
    inspector: bool | Literal["read-only"] = False,
    metrics: bool = False,
) -> FastAPI:
    """Return an ASGI app that offers the Kronvex REST API on a memory's store.

    Run it (`uvicorn module:app`) or mount it: `other_app.mount("/memory", create_app(memory))`.
    Each agent of the API has its own memory in the same place, opened by the first request for
    it. The given memory is served under its own `agent_id`, and stays yours to close.

    Args:
        memory: Any memory with a store of its own.
        settings: Limits and options.
        consolidate: A chat model, or its name such as `openai:gpt-4o-mini`, that derives what is
            known of each user from what they said, in the background; see `KronvexConsolidator`.
        inspector: Serve a page to see and correct the memories at `/inspector`, behind the same API
            keys; "read-only" only shows them.
        metrics: Answer `/metrics` for Prometheus; see `ServerSettings.metrics_token`.

    Raises:
        ConfigurationError: a server keeps the memory, or the model cannot be created.
        InvalidInput: `memory`, `settings`, `consolidate` or `inspector` is of another type.
        MissingExtra: metrics need prometheus-client, which is not installed.
    """
    settings = settings or ServerSettings()
    if not isinstance(settings, ServerSettings):
        raise InvalidInput(f"settings must be ServerSettings, not {type(settings).__name__}.")
    if inspector not in (True, False, "read-only"):
        raise InvalidInput('inspector must be True, False or "read-only".')
    model = None if consolidate is None else chat_model(consolidate)
    measured = _metrics(settings) if metrics else None
    service = Service(memory, settings, model, measured)
    app = FastAPI(
        title="Kronvex memory API",
        version=VERSION,
        description="Long-term memory for agents, served by langchain-kronvex.",
        docs_url=None,  # both pages load scripts from servers of others; see `reference`
        redoc_url=None,
        redirect_slashes=False,  # would lead from a memory without an id to all memories
        lifespan=_lifespan,
        telemetry=_SILENT,
    )
    app.state.service = service
    routers = _ROUTERS if model is None else (agents.consolidation, *_ROUTERS)
    for router in routers:  # not included: FastAPI would match the path of each request twice
        app.router.routes.extend(router.routes)
    if inspector:
        _add_inspector(app, inspector == "read-only" or memory.engine.backend.is_read_only)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.router.routes.append(Route("/docs", reference))
    if measured is not None:
        app.router.routes.append(Route("/metrics", measured.respond))
    _add_middlewares(app, service, settings, None if measured is None else measured.answered)
    return app


def _add_inspector(app: FastAPI, read_only: bool) -> None:
    from langchain_kronvex.server.inspector import add_inspector

    add_inspector(app, read_only=read_only)


def _metrics(settings: ServerSettings) -> Metrics:
    from langchain_kronvex.server.metrics import Metrics

    return Metrics(settings.metrics_token)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.service.close()


def _add_middlewares(
    app: FastAPI, service: Service, settings: ServerSettings, count: OnAnswer | None
) -> None:
    """Add the middlewares; the last one added is the outermost."""
    auth: Any = AuthMiddleware
    app.add_middleware(auth, keys=service.keys, settings=settings)
    if settings.cors_origins:
        allowed: Any = {"allow_methods": ["*"], "allow_headers": ["Content-Type", "X-API-Key"]}
        origins = list(settings.cors_origins)
        app.add_middleware(CORSMiddleware, allow_origins=origins, expose_headers=["*"], **allowed)
    app.add_middleware(AccessLog, count=count)
