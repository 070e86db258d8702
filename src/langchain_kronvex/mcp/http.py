"""MCP over streamable HTTP, for many users: the user of a request is the user of its API key.

Every request is answered on its own, as JSON: there are no sessions to keep, to steal or to lose
when the server restarts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from langchain_kronvex.core import records
from langchain_kronvex.mcp.server import serve_scope
from langchain_kronvex.memory.memory import KronvexMemory

_SCOPE = "langchain_kronvex.scope"  # in the ASGI scope


class McpEndpoint:
    """The ASGI app of /mcp, behind the server's check of API keys, which notes the key found.

    Args:
        memory: The memory of one agent; a key of another agent is rejected.
        user_id: The user while there is no key at all.
        session_id: The session that `remember` writes to.
        read_only: Offer only the tools that read.
        max_body_bytes: The largest request.
    """

    def __init__(
        self,
        memory: KronvexMemory,
        *,
        max_body_bytes: int,
        user_id: str | None = None,
        session_id: str | None = None,
        read_only: bool = False,
    ) -> None:
        self._memory, self._user_id, self._session_id = memory, user_id, session_id
        server = serve_scope(memory, lambda of: of.request.scope[_SCOPE], read_only=read_only)
        self._manager = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=max_body_bytes
        )

    def add_to(self, app: Starlette) -> None:
        """Serve it by an app, from its start to its end."""
        app.router.routes[:0] = [Route("/mcp", self), Route("/mcp/", self)]
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            async with inner(app) as state, self._manager.run():
                yield state

        app.router.lifespan_context = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            user = self._checked(scope)
        except HTTPException as error:
            refusal = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
            await refusal(scope, receive, send)
            return
        whose = records.Scope.of(user, self._session_id)
        await self._manager.handle_request({**scope, _SCOPE: whose}, receive, send)

    def _checked(self, scope: Scope) -> str:
        """Return the user of the request's key; while there is no key, the fixed one."""
        if scope["method"] != "POST":  # nothing is sent unasked, and there are no sessions
            raise HTTPException(405, "Method Not Allowed", {"Allow": "POST"})
        key = scope["state"].get("key")
        if key is not None and key.agent_id != self._memory.agent_id:
            raise HTTPException(403, "This API key is for another agent.")
        user: str | None = self._user_id if key is None else key.user_id
        if user is None:
            raise HTTPException(401, "Create a key first: langchain-kronvex keys create --user ID")
        return user
