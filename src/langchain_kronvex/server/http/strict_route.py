"""How endpoints are called: with bodies read strictly, and one at a time in each worker thread."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

_MOST_VALUES = 1 << 19  # as many as fit into 1 MiB
_BETWEEN_VALUES = (b",", b"[", b"{")
_TEXT = re.compile(rb'"[^"]*"?')


class StrictRequest(Request):
    """A request whose `json` raises one kind of error only."""

    async def json(self) -> Any:
        """Read the body; see `strict_json`."""
        return strict_json(await self.body())


def strict_json(body: bytes) -> Any:
    """Return what a body holds.

    Raises:
        json.JSONDecodeError: it is no JSON in UTF-8, or nested too deep, or holds NaN, a number
            of thousands of digits, a name twice, which others may read as the other one, or so
            many values that to read them would keep everybody else waiting.
    """
    try:
        if _values(body) > _MOST_VALUES:
            raise _NoJson(f"More than {_MOST_VALUES} values")
        text = body.decode("utf-8-sig", "surrogatepass")
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise json.JSONDecodeError(error.msg, "", error.pos) from None  # without the text
    except RecursionError:
        raise json.JSONDecodeError("Nested too deep", "", 0) from None
    except ValueError as error:
        told = str(error) if isinstance(error, _NoJson) else "No UTF-8, or a number too long"
        raise json.JSONDecodeError(told, "", 0) from None


class StrictRoute(APIRoute):
    """A route that reads its body strictly, and whose endpoint runs in a thread of the service."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _in_a_thread(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


def _in_a_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Return an endpoint to be awaited, which takes turns with the others."""
    signature = inspect.signature(endpoint, eval_str=True)
    if inspect.iscoroutinefunction(endpoint) or "request" not in signature.parameters:
        return endpoint

    async def waiting(**values: Any) -> Any:
        turns = values["request"].app.state.service.turns
        return await turns.run(functools.partial(endpoint, **values))

    waiting.__name__, waiting.__doc__ = endpoint.__name__, endpoint.__doc__
    waiting.__signature__ = signature  # type: ignore[attr-defined]
    return waiting


def _values(body: bytes) -> int:
    """Return about how many values a body holds: its commas and opening brackets, not in texts."""
    found = sum(map(body.count, _BETWEEN_VALUES))
    if found <= _MOST_VALUES:
        return found
    bare = _TEXT.sub(b"", body.replace(rb"\\", b"").replace(rb"\"", b""))
    return sum(map(bare.count, _BETWEEN_VALUES))


class _NoJson(ValueError):
    """NaN, an infinity, a name that an object has twice, or too much."""


def _refuse(constant: str) -> NoReturn:
    raise _NoJson(f"{constant} is no JSON")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise _NoJson("A name stands twice in one object")
    return found
