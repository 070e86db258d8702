"""The short way to the three endpoints of every turn of a chat, which a framework makes long.

FastAPI looks a route up, builds a request, and solves what an endpoint depends on: as long as half
a recall. What is sent to remember, recall and inject-context as it should be is read here with the
same models and handed to the same functions. All else goes on to FastAPI, and so does all that
does not fit, which it refuses in its own words.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langchain_kronvex.core.errors import KronvexError
from langchain_kronvex.server.api import recall as recalling
from langchain_kronvex.server.http import errors as faults
from langchain_kronvex.server.http.auth import replayed
from langchain_kronvex.server.http.paths import inner_path
from langchain_kronvex.server.http.strict_route import strict_json

_PATH = re.compile(r"/api/v1/agents/([^/]+)/(remember|recall|inject-context)")
_JSON = (b"content-type", b"application/json")


class _Stop(NamedTuple):
    """Where the short way leads to."""

    route: APIRoute
    endpoint: Callable[..., Awaitable[Response]]
    body: type[BaseModel]


class Express:
    """Serves what is on its way, and lets everything else pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stops = {
            route.path.rpartition("/")[2]: _stop(route)
            for route in recalling.router.routes
            if isinstance(route, APIRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        named = None
        if scope["type"] == "http" and scope["method"] == "POST" and _JSON in scope["headers"]:
            named = _PATH.fullmatch(inner_path(scope))
        if named is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        stop = self._stops[named[2]]
        body = _read(message, stop.body)
        if body is None:
            await self._app(scope, replayed(message, receive), send)
            return
        scope["route"] = stop.route
        answer = await _answered(stop, agent_id=named[1], body=body, request=Request(scope))
        await answer(scope, receive, send)


def _stop(route: APIRoute) -> _Stop:
    body = inspect.signature(route.endpoint).parameters["body"].annotation
    return _Stop(route, route.endpoint, body)


def _read(message: Message, model: type[BaseModel]) -> BaseModel | None:
    """Return the body of a request; None for one that is to be refused."""
    try:
        return model.model_validate(strict_json(message["body"]))
    except (KeyError, json.JSONDecodeError, ValidationError):
        return None


async def _answered(stop: _Stop, **values: Any) -> Response:
    try:
        return await stop.endpoint(**values)
    except faults.Refused as refused:
        return faults.on_refused(values["request"], refused)
    except KronvexError as error:
        return faults.on_error(values["request"], error)
