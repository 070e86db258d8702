"""The middlewares: the access log around everything, and the checks before an endpoint."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit

from anyio import fail_after
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langchain_kronvex.core.config.urls import is_loopback
from langchain_kronvex.core.errors import described
from langchain_kronvex.server.api.responses import VERSION
from langchain_kronvex.server.http.errors import ApiError, internal_error
from langchain_kronvex.server.registry import NO_KEY, ApiKeys
from langchain_kronvex.server.settings import ServerSettings

_VERSION_HEADER = (b"x-kronvex-version", VERSION.encode())
MCP_PATHS = ("/mcp", "/mcp/")
_GUARDED = ("/api/v1", "/auth", "/inspector/api", "/mcp")
_WINDOW_SECONDS = 60.0  # of the rate limit
_SLOW_SECONDS = 1.0  # of receiving a body
_USER_PATH = ["", "api", "v1", "agents", "memories", "user"]
_USER_PART = 7
_ODD = re.compile(r"[/\x00-\x1f\x7f]")
_FOR_MCP = "This API key is for one user over MCP, not for the REST API."
_WITHOUT_USER = (
    "This API key names no user. Create one that does: "
    "langchain-kronvex keys create --name NAME --user ID --url URL"
)
logger = logging.getLogger("langchain_kronvex.server")
T = TypeVar("T")
OnAnswer = Callable[[str, str, int, float], None]


class AccessLog:
    """Logs each request, adds headers to its response, and answers 500 for one that failed.

    A line holds method, route, status, time and the key's id. It never holds content, a query, a
    key, or the id of a user, which may be a name or an address.

    Args:
        app: The app around which it is.
        count: Called with method, route, status and seconds of each request; None for nothing.
    """

    def __init__(self, app: ASGIApp, count: OnAnswer | None = None) -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                limits = scope.get("state", {}).get("rate_limit", ())
                headers = [*message.get("headers", ()), _VERSION_HEADER, *limits]
                message = {**message, "headers": headers}
            elif not message.get("more_body"):
                # Before the last part is sent, so that a client finds its request logged.
                seconds = time.perf_counter() - started
                _log(scope, status, seconds * 1000)
                if self._count is not None:
                    self._count(scope["method"], _route(scope), status, seconds)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception as error:  # noqa: BLE001 - a traceback may quote memory text
            logger.error("a request failed: %s", described(error))  # noqa: TRY400
            if not status:
                await internal_error()(scope, receive, observed)


def _log(scope: Scope, status: int, milliseconds: float) -> None:
    method = scope["method"] if scope["method"].isalpha() else "?"
    answered = {
        "method": method,
        "route": _route(scope),
        "status": status,
        "ms": round(milliseconds, 1),
    }
    facts = {**answered, "key": scope.get("state", {}).get("key_id") or "-"}
    logger.info(" ".join(f"{name}={value}" for name, value in facts.items()), extra=facts)


def _route(scope: Scope) -> str:
    """Return the template of the path, or "-" if no endpoint has it."""
    found = getattr(scope.get("route"), "path_format", "-")
    return cast(str, found).removeprefix("/api/v1")


class RateLimiter:
    """Allows each key `limit` requests in any 60 seconds; rejected ones do not count.

    The window slides, so that the headers are exact.

    Args:
        limit: Requests per minute.
        clock: Returns seconds that never go back; for tests.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._times: dict[str, deque[float]] = {}

    def ask(self, key: str) -> tuple[int, int]:
        """Count a request of a key, if it is within the limit.

        Returns:
            How many more are allowed now, or -1 if this one is not; and the seconds until one more.
        """
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(key, deque())
            while times and now - times[0] >= _WINDOW_SECONDS:
                times.popleft()
            left = self.limit - len(times) - 1
            if left >= 0:
                times.append(now)
            wait = _WINDOW_SECONDS - (now - times[0]) if times else 0.0
            return left, math.ceil(wait)


class AuthMiddleware:
    """Lets a request through if its key is valid and its rate allowed; bounds its body.

    The key is checked before anything else, so that responses tell strangers nothing. Of a body,
    nothing is read before that, or if no endpoint needs it.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys, settings: ServerSettings) -> None:
        self._app, self._keys, self._settings = app, keys, settings
        per_minute = settings.requests_per_minute
        self._limiter = None if per_minute is None else RateLimiter(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers.get("host", ""))
            guarded = _inner_path(scope).startswith(_GUARDED)
            if guarded:
                scope.setdefault("state", {})["key_id"] = await self._authenticate(scope, headers)
                self._limit(scope["state"])
            if _inner_path(scope) not in MCP_PATHS:  # whose last part may be empty
                _check_path(scope)
            receive = self._bounded(scope, headers, receive, guarded=guarded)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, host: str) -> None:
        """Reject other names: a web page may point a name of its own at this machine."""
        known = self._settings.allowed_hosts
        name, _, port = host.rpartition(":")
        if known is not None and (name if port.isdigit() else host).lower() not in known:
            raise ApiError(400, "Invalid host header")

    async def _authenticate(self, scope: Scope, headers: Headers) -> str:
        """Return the id of the key, or `NO_KEY` while there is no key and the caller is local.

        Keys with a user are for MCP alone, and MCP is for them alone.
        """
        secrets, for_mcp = headers.getlist("x-api-key"), _inner_path(scope) in MCP_PATHS
        if for_mcp:
            sent = [each.partition(" ") for each in headers.getlist("authorization")]
            secrets += [secret.strip() for kind, _, secret in sent if kind.lower() == "bearer"]
        if len(secrets) == 1 and secrets[0]:
            key = self._keys.recognise(secrets[0], cached=True)
            key = key or await self._lookup(lambda: self._keys.recognise(secrets[0]))
            if key and for_mcp == (key.user_id is not None):
                scope.setdefault("state", {})["key"] = key
                return key.id
            if key:
                raise ApiError(403, _FOR_MCP if key.user_id else _WITHOUT_USER)
        if is_local(scope) and await self._lookup(self._keys.none_made):
            # A browser sends some requests of foreign pages without asking first.
            origin, allowed = headers.get("origin"), self._settings.cors_origins
            if origin and not (_is_local_page(origin) or {origin, "*"} & set(allowed)):
                raise ApiError(403, "A web page of another machine needs an API key.")
            return NO_KEY
        missing = "Missing API key. Add header: X-API-Key: kv-..."
        detail = "Invalid or revoked API key." if any(secrets) else missing
        raise ApiError(401, detail, {"WWW-Authenticate": "Bearer"} if for_mcp else None)

    async def _lookup(self, question: Callable[[], T]) -> T:
        """Look keys up, in a thread unless the lookup is faster than changing threads."""
        return question() if self._keys.is_fast else await asyncio.to_thread(question)

    def _limit(self, state: dict[str, Any]) -> None:
        """Count a request of a key, and note the headers with the number that is left."""
        if self._limiter is None:
            return
        (left, wait), limit = self._limiter.ask(state["key_id"]), self._limiter.limit
        told = {"limit": limit, "remaining": max(left, 0), "window": int(_WINDOW_SECONDS)}
        state["rate_limit"] = [
            (f"x-ratelimit-{name}".encode(), str(value).encode()) for name, value in told.items()
        ]
        if left < 0:
            reason = f"Rate limit exceeded ({limit} req/min). Try again in {wait} s."
            raise ApiError(429, reason, {"Retry-After": str(wait)})

    def _bounded(
        self, scope: Scope, headers: Headers, receive: Receive, *, guarded: bool
    ) -> Receive:
        """Return a `receive` that bounds the size and the time of the body.

        Nothing is received before the endpoint asks for it. At the end the key is checked again,
        since it may have been revoked meanwhile.
        """
        most, seconds = self._settings.max_body_bytes, self._settings.body_timeout_seconds
        announced = headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > most:
            raise _too_large(most)
        size, more, started = 0, True, time.monotonic()

        async def bounded() -> Message:
            nonlocal size, more
            if not more:
                return await receive()
            try:
                with fail_after(started + seconds - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                reason = f"The body did not arrive within {seconds:g} seconds."
                raise ApiError(408, reason, {"Connection": "close"}) from None
            size += len(message.get("body", b""))
            if size > most:
                raise _too_large(most)
            more = message.get("more_body", False)
            is_slow = time.monotonic() - started > _SLOW_SECONDS
            if guarded and not more and (self._keys.is_fast or is_slow):
                await self._authenticate(scope, headers)
            return message

        return bounded


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"The request is too large: at most {most} bytes are allowed.")


def _is_local_page(origin: str) -> bool:
    """Return whether a web page comes from this machine; sandboxed ones say "null"."""
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def is_local(scope: Scope) -> bool:
    """Return whether the caller is on this machine; Unix sockets and tests have no address."""
    client = scope.get("client")
    return client is None or client[0] == "testclient" or is_loopback(client[0])


def _inner_path(scope: Scope) -> str:
    """Return the path inside the app, wherever the app is mounted, as the router does."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    inside = path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] == "/"
    return path[len(prefix) :] if inside else path


def _check_path(scope: Scope) -> None:
    """Reject a path with an empty part, or with a slash or control character within a part.

    Endpoints are chosen by the decoded path. An encoded slash or line break in an id could turn
    the request for one memory into the request for all of them. Only the id of a user may hold
    these characters.
    """
    path, inner = scope["path"], _inner_path(scope)
    sent = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
    if unquote(sent) != path:  # another middleware has changed the path
        sent = quote(path)
    parts = [unquote(part) for part in sent.split("/")]
    del parts[1 : 1 + path.count("/") - inner.count("/")]  # where the app is mounted
    is_empty = "" in parts[1:]
    if [*parts[:4], *parts[5:_USER_PART]] == _USER_PATH:
        del parts[_USER_PART : _USER_PART + 1]
    if is_empty or any(map(_ODD.search, parts)):
        raise ApiError(404, "Not Found")
