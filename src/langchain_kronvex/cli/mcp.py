"""The command `mcp`: the memories of one user for a desktop assistant, an editor or an agent."""

from __future__ import annotations

import argparse
import logging
from typing import Any
from urllib.parse import urlsplit

from langchain_kronvex.cli.opening import opened
from langchain_kronvex.cli.serve import listen, log_to_stderr, settings_for
from langchain_kronvex.core.config.urls import is_remote, resolve_url
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.options import needing


def add_mcp_command(mcp: argparse.ArgumentParser) -> None:
    """Add the options of `mcp`."""
    option = mcp.add_argument
    option("--user-id", "--user", help="the user; over HTTP, while the store has no API key")
    option("--session-id", help="the session that is written to; all of the user's are read")
    option("--agent", help="the agent in the store (KRONVEX_AGENT_ID)")
    option("--read-only", action="store_true", help="offer only the tools that read")
    http = "listen there instead of on stdin; the user is the one of the API key"
    option("--http", type=_address, metavar="HOST:PORT", help=http)
    mcp.set_defaults(command=lambda asked: (_over_http if asked.http else _over_stdio)(asked))


def _address(text: str) -> tuple[str, int]:
    """Read an address; the host of an IPv6 one is in brackets."""
    address = urlsplit(f"//{text}")
    if not address.hostname or address.port is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8000")
    return address.hostname, address.port


def _over_stdio(asked: argparse.Namespace) -> None:
    from langchain_kronvex.mcp import create_mcp_server
    from langchain_kronvex.mcp.stdio import run_stdio, stdout_of_the_protocol

    log_to_stderr(logging.WARNING)
    if asked.user_id is None and asked.session_id is None:
        raise ConfigurationError("Name the user: --user-id.")
    writes = not asked.read_only
    with (
        stdout_of_the_protocol() as stdout,
        opened(asked, write=writes, vectors=True, create=writes) as memory,
    ):
        ids = {"user_id": asked.user_id, "session_id": asked.session_id}
        server = create_mcp_server(memory, **ids, read_only=asked.read_only)
        run_stdio(server, stdout, memory.close)


def _over_http(asked: argparse.Namespace) -> None:
    with needing("MCP over HTTP needs the server", extra="mcp,server"):
        from starlette.applications import Starlette

        from langchain_kronvex.mcp.http import McpEndpoint
        from langchain_kronvex.server.http.middleware import AccessLog, AuthMiddleware
        from langchain_kronvex.server.registry import open_registry

    log_to_stderr(logging.INFO)
    (host, port), url = asked.http, resolve_url(asked.url, None)
    if is_remote(url):
        raise ConfigurationError(
            "Over HTTP the users have API keys, which need a store of your own: use sqlite:/// or "
            "postgresql://. Over stdio, any store will do."
        )
    settings, writes = settings_for(url, host), not asked.read_only
    with (
        open_registry(url) as (keys, _),
        opened(asked, write=writes, vectors=True, create=writes) as memory,
    ):
        if keys.none_made() and asked.user_id is None:
            raise ConfigurationError(
                "Pass --user-id, or create a key: langchain-kronvex keys create --user ID --name X"
            )
        if asked.user_id is not None and not keys.none_made():
            raise ConfigurationError("The store has API keys, which name users: no --user-id.")
        ids = {"user_id": asked.user_id, "session_id": asked.session_id}
        most: Any = {"max_body_bytes": settings.max_body_bytes, "read_only": asked.read_only}
        app: Any = Starlette()
        McpEndpoint(memory, **ids, **most).add_to(app)
        app.add_middleware(AuthMiddleware, keys=keys, settings=settings)
        app.add_middleware(AccessLog)
        listen(app, host, port)
