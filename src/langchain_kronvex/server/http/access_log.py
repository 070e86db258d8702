"""Around everything else: the version header, one line in the log, and no trace in an answer.

A line holds method, route, status, time and the key's id: no content, no query, no key, and no
id of a user, which may be a name or an address.
"""

from __future__ import annotations

import logging
import time
from importlib.metadata import version

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langchain_kronvex.core.errors import described
from langchain_kronvex.server.http.errors import fault

VERSION = version("langchain-kronvex")
_VERSION_HEADER = (b"x-kronvex-version", VERSION.encode())
logger = logging.getLogger("langchain_kronvex.server")


class AccessLog:
    """Logs each request, and answers 500 for one that failed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, told = time.perf_counter(), 0, False

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                _log(scope, status, (time.perf_counter() - started) * 1000)

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), _VERSION_HEADER]}
            elif not message.get("more_body"):
                tell()  # before the last part goes: whoever has the answer finds it in the log
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - a trace may quote what was to be remembered
            logger.error("a request failed: %s", described(error))  # noqa: TRY400
            if not status:
                await fault()(scope, receive, noting)
        tell()


def _log(scope: Scope, status: int, milliseconds: float) -> None:
    facts = {
        "method": scope["method"] if scope["method"].isalpha() else "?",
        "route": getattr(scope.get("route"), "path_format", "-").removeprefix("/api/v1"),
        "status": status,
        "ms": round(milliseconds, 1),
        "key": scope.get("state", {}).get("owner") or "-",
    }
    logger.info(" ".join(f"{name}={value}" for name, value in facts.items()), extra=facts)
