"""The app: a memory behind the REST API, to be run on its own or mounted in another app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from langchain_kronvex.core.errors import KronvexError
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server.api import agents, memories, not_offered, reports, status, transfer
from langchain_kronvex.server.api import recall as recalling
from langchain_kronvex.server.http import errors as faults
from langchain_kronvex.server.http.access_log import VERSION, AccessLog
from langchain_kronvex.server.http.auth import Gate
from langchain_kronvex.server.http.fast_path import Express
from langchain_kronvex.server.service import Service
from langchain_kronvex.server.settings import ServerSettings

# FastAPI's own telemetry sends what it is told to by the environment; this server sends nothing.
_SILENT: Any = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}


def create_app(memory: KronvexMemory, settings: ServerSettings | None = None) -> FastAPI:
    """Return an ASGI app that offers the Kronvex REST API on a memory's store.

    Run it (`uvicorn module:app`) or mount it: `other_app.mount("/memory", create_app(memory))`.
    Each agent of the API has its own memory in the same place, opened when it is first asked for;
    the given one is served under its own `agent_id`, and stays yours to close.

    Args:
        memory: Any memory with a store of its own.
        settings: Limits and options.

    Raises:
        ConfigurationError: the memory is kept by a server itself.
    """
    settings = settings or ServerSettings()
    service = Service(memory, settings)
    app = FastAPI(
        title="Kronvex memory API",
        version=VERSION,
        description="Long-term memory for agents, served by langchain-kronvex.",
        docs_url=None,  # both pages load their scripts from other people's servers
        redoc_url=None,
        redirect_slashes=False,  # from the memory without an id to all of them
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
        telemetry=_SILENT,
    )
    app.state.service = service
    _include(app)
    _handle_errors(app)
    _surround(app, service, settings)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.service.close()


def _include(app: FastAPI) -> None:
    for module in (agents, recalling, transfer, memories, reports):
        app.include_router(module.router, prefix="/api/v1")
    app.include_router(status.router)
    app.include_router(status.key_router, prefix="/auth")
    app.include_router(not_offered.router)


def _handle_errors(app: FastAPI) -> None:
    app.add_exception_handler(faults.Refused, faults.on_refused)
    app.add_exception_handler(RequestValidationError, faults.on_invalid)
    app.add_exception_handler(HTTPException, faults.on_http)
    app.add_exception_handler(KronvexError, faults.on_error)


def _surround(app: FastAPI, service: Service, settings: ServerSettings) -> None:
    """Put the layers around the endpoints; the last one added is the outermost."""
    gate: Any = Gate
    app.add_middleware(Express)
    app.add_middleware(gate, keys=service.keys, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["Content-Type", "X-API-Key"],
            expose_headers=["*"],
        )
    app.add_middleware(AccessLog)


def _operation_id(route: APIRoute) -> str:
    return route.name
