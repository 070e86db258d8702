"""Bodies read strictly: what is no JSON for every reader is refused, and nothing makes it fail."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class StrictRequest(Request):
    """A request whose `json` raises one kind of error only."""

    async def json(self) -> Any:
        """Read the body.

        Raises:
            json.JSONDecodeError: it is no JSON, or nested too deep, or holds NaN or a number of
                thousands of digits.
        """
        try:
            return json.loads(await self.body(), parse_constant=_refuse)
        except json.JSONDecodeError as error:
            raise json.JSONDecodeError(error.msg, "", error.pos) from None  # without the text
        except RecursionError:
            raise json.JSONDecodeError("Nested too deep", "", 0) from None
        except ValueError as error:
            told = str(error) if isinstance(error, _NoNumber) else "No UTF-8, or a number too long"
            raise json.JSONDecodeError(told, "", 0) from None


class StrictRoute(APIRoute):
    """A route that reads its body strictly."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


class _NoNumber(ValueError):
    """NaN or an infinity."""


def _refuse(constant: str) -> NoReturn:
    raise _NoNumber(f"{constant} is no JSON")
