"""What every request passes before it reaches an endpoint: who asks, how often, and how much.

Whether the key is good is asked before anything else, so that a stranger learns nothing from how
the rest of a request is answered.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langchain_kronvex.server.http.errors import (
    INVALID_KEY,
    MISSING_KEY,
    NOT_FOUND,
    Refused,
    problem,
)
from langchain_kronvex.server.http.paths import inner_path, is_misleading
from langchain_kronvex.server.http.rate_limit import RateLimiter
from langchain_kronvex.server.registry.agents import NOBODY
from langchain_kronvex.server.registry.api_keys import ApiKeys
from langchain_kronvex.server.settings import ServerSettings

_GUARDED = ("/api/v1", "/auth")
_LONG_SECONDS = 1.0  # of sending a body
_LOCAL_NAMES = ("localhost", "testclient")
T = TypeVar("T")


class Gate:
    """Lets requests through that bring a good key, ask not too often, and are not too large."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, settings: ServerSettings) -> None:
        self._app = app
        self._keys = keys
        self._settings = settings
        per_minute = settings.requests_per_minute
        self._limiter = None if per_minute is None else RateLimiter(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told: dict[str, str] = {}
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            guarded = inner_path(scope).startswith(_GUARDED)
            if guarded:
                scope.setdefault("state", {})["owner"] = owner = await self._owner(scope)
                told = self._ration(owner)
            _check_path(scope)
            asked_at = time.monotonic()
            receive = await self._whole_body(headers, receive)
            if guarded and (self._keys.are_at_hand or time.monotonic() - asked_at > _LONG_SECONDS):
                await self._owner(scope)  # it may have been revoked since
        except Refused as refused:
            await problem(refused.status, refused.detail, refused.headers)(scope, receive, send)
            return
        await self._app(scope, receive, _telling(send, told))

    def _check_host(self, headers: Headers) -> None:
        """Refuse a name that is not ours: a page may point its own name at this machine."""
        known = self._settings.allowed_hosts
        name, _, port = headers.get("host", "").rpartition(":")
        if not port.isdigit():
            name = headers.get("host", "")
        if known is not None and name.lower() not in known:
            raise Refused(400, "Invalid host header")

    async def _owner(self, scope: Scope) -> str:
        """Return the id of the key, or `NOBODY` while there is none and the caller is local."""
        secrets = Headers(scope=scope).getlist("x-api-key")
        if len(secrets) == 1 and secrets[0]:
            key = await self._asked(lambda: self._keys.recognise(secrets[0]))
            if key:
                return key.id
        if _is_local(scope) and await self._asked(self._keys.none_made):
            return NOBODY
        raise Refused(401, INVALID_KEY if any(secrets) else MISSING_KEY)

    async def _asked(self, question: Callable[[], T]) -> T:
        """Ask for a key: at once where that takes less than changing to another thread."""
        return question() if self._keys.are_at_hand else await asyncio.to_thread(question)

    def _ration(self, owner: str) -> dict[str, str]:
        if self._limiter is None:
            return {}
        allowance = self._limiter.ask(owner)
        if allowance.allowed:
            return allowance.headers()
        wait = allowance.retry_after
        detail = f"Rate limit exceeded ({allowance.limit} req/min). Try again in {wait} s."
        raise Refused(429, detail, allowance.headers())

    async def _whole_body(self, headers: Headers, receive: Receive) -> Receive:
        """Read the body up to the limit, and return what hands it on."""
        most = self._settings.max_body_bytes
        announced = headers.get("content-length", "0")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return replayed(message, receive)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise _too_large(most)
            more = message.get("more_body", False)
        return replayed({"type": "http.request", "body": b"".join(parts)}, receive)


def _check_path(scope: Scope) -> None:
    """Refuse a path that may be taken for another one."""
    if is_misleading(scope):
        raise Refused(404, NOT_FOUND)


def _is_local(scope: Scope) -> bool:
    """Tell whether the caller is on this machine; a Unix socket or a test names no address."""
    client = scope.get("client")
    if client is None or client[0] in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _too_large(most: int) -> Refused:
    return Refused(413, f"The request is too large: at most {most} bytes are allowed.")


def replayed(first: Message, receive: Receive) -> Receive:
    """Return what hands on a message that was received already, and then what follows."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _telling(send: Send, headers: Mapping[str, str]) -> Send:
    if not headers:
        return send
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *raw]}
        await send(message)

    return telling
