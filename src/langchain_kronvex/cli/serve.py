"""The command `serve`: the REST API from a store, and MCP beside it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_kronvex.cli.workers import run_workers, shared_figures
from langchain_kronvex.core.config.urls import is_loopback, resolve_url
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.options import needing
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.spans import enable_tracing

if TYPE_CHECKING:
    from fastapi import FastAPI

    from langchain_kronvex.server import ServerSettings

logger = logging.getLogger("langchain_kronvex.server")

_DEFAULT_PER_MINUTE = 600  # for each key, when other machines can reach the server
_UVICORN: Any = {
    "timeout_graceful_shutdown": 30,
    "timeout_keep_alive": 75,  # longer than clients do, so that the client closes a connection
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "ws": "none",
}


def add_serve_command(serve: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    option = serve.add_argument
    option("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    option("--port", type=int, default=8400, help="0 takes any free one (%(default)s)")
    option("--max-body-bytes", type=int, default=16 << 20, help="largest request (%(default)s)")
    arrival = "longest time for the body of a request to arrive (%(default)s)"
    option("--body-timeout-seconds", type=float, default=60.0, help=arrival)
    option("--workers", type=int, default=1, help="processes that serve the store (%(default)s)")
    limit = (
        f"for each key and process; 0 for no limit (none on loopback, else {_DEFAULT_PER_MINUTE})"
    )
    option("--requests-per-minute", type=int, help=limit)
    option("--cors-origin", action="append", default=[], help="a page that may call; repeatable")
    every = "a recall without session_id sees every session of the agent"
    option("--all-sessions", action="store_true", help=every)
    option("--mcp", action="store_true", help="also serve MCP at /mcp, to keys with a user")
    figures = (
        "also answer Prometheus at /metrics, to those who send KRONVEX_METRICS_TOKEN if it is set"
    )
    option("--metrics", action="store_true", help=figures)
    spans = "record OpenTelemetry spans; run it under opentelemetry-instrument, which sends them"
    option("--tracing", action="store_true", help=spans)
    model = "provider:model that derives what is known of users, such as openai:gpt-4o-mini"
    option("--consolidate", metavar="MODEL", help=model)
    page = "also serve the page to see and correct memories at /inspector; 'read-only' to see only"
    only: Any = {"nargs": "?", "const": True, "default": False, "choices": ["read-only"]}
    option("--inspector", metavar="read-only", help=page, **only)
    serve.set_defaults(command=_serve)


def _serve(asked: argparse.Namespace) -> int | None:
    with needing("The server needs FastAPI and Uvicorn", extra="server"):
        import uvicorn  # noqa: F401 - before anything is opened

        import langchain_kronvex.server  # noqa: F401

    log_to_stderr(logging.INFO)
    url = resolve_url(asked.url, None)
    if asked.workers < 1 or (asked.workers > 1 and url == "sqlite://"):
        raise ConfigurationError(
            "--workers needs at least one process, and a store they can share."
        )
    same = ("max_body_bytes", "body_timeout_seconds", "all_sessions", "requests_per_minute")
    options: Any = {name: getattr(asked, name) for name in same}
    options["metrics_token"] = os.environ.get("KRONVEX_METRICS_TOKEN") or None
    settings = settings_for(url, asked.host, **options, cors_origins=tuple(asked.cors_origin))
    if asked.workers == 1:
        with _app(asked, url, settings) as app:
            listen(app, asked.host, asked.port)
        return None
    with _app(asked, url, settings):  # what cannot be opened is reported once
        pass
    with shared_figures() if asked.metrics else nullcontext():
        return run_workers(
            asked.workers, partial(_work, asked, url, settings), asked.host, asked.port
        )


@contextmanager
def _app(asked: argparse.Namespace, url: str, settings: ServerSettings) -> Iterator[FastAPI]:
    from langchain_kronvex.server import create_app

    if asked.tracing:
        enable_tracing()
    with KronvexMemory(url, embeddings=asked.embeddings) as memory:
        offers: Any = {
            name: getattr(asked, name) for name in ("consolidate", "metrics", "inspector")
        }
        app = create_app(memory, settings, **offers)
        if asked.mcp:
            from langchain_kronvex.mcp.http import McpEndpoint

            McpEndpoint(memory, max_body_bytes=asked.max_body_bytes).add_to(app)
        try:
            yield app
        finally:
            app.state.service.close()


def _work(
    asked: argparse.Namespace, url: str, settings: ServerSettings, listening: socket.socket
) -> None:
    """Serve in one of several processes."""
    log_to_stderr(logging.INFO)
    with _app(asked, url, settings) as app:
        listen_at(app, listening)


def log_to_stderr(level: int) -> None:
    """Log to stderr, without the MCP SDK, which quotes what it is sent in warnings."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda entry: entry.name != "root" and not entry.name.startswith("mcp."))
    logging.basicConfig(level=level, handlers=[handler], format="%(asctime)s %(name)s %(message)s")


def listen(app: Any, host: str, port: int) -> None:
    """Serve an ASGI app at an address until a signal ends the process."""
    import uvicorn

    # So that the store is closed; Uvicorn repeats the signal after its own shutdown.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(app, host=host, port=port, **_UVICORN)


def listen_at(app: Any, listening: socket.socket) -> None:
    """Serve an ASGI app at a socket that listens already."""
    import uvicorn

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.Server(uvicorn.Config(app, **_UVICORN)).run([listening])


def settings_for(
    url: str, host: str, *, requests_per_minute: int | None = None, **options: Any
) -> ServerSettings:
    """Return the settings of a server; without a key only programs on this machine may use it.

    Raises:
        ConfigurationError: it would listen to other machines without a key.
    """
    from langchain_kronvex.server import ServerSettings
    from langchain_kronvex.server.registry import open_registry
    from langchain_kronvex.server.settings import LOCAL_HOSTS

    local = is_loopback(host)
    with open_registry(url) as (keys, _):
        unlocked = keys.none_made()
    if unlocked and not local:
        shown = url if url.startswith("sqlite:") else "URL"  # others may hold a password
        raise ConfigurationError(
            f"Without an API key the server listens on this machine only, not on {host}. "
            f"Create a key first: langchain-kronvex keys create --url {shown} --name NAME"
        )
    if unlocked:
        logger.warning(
            "no API key exists: programs on this machine need none, other machines are rejected"
        )
    if requests_per_minute is None:
        requests_per_minute = 0 if local else _DEFAULT_PER_MINUTE
    hosts = LOCAL_HOSTS if unlocked else None
    return ServerSettings(
        **options, requests_per_minute=requests_per_minute or None, allowed_hosts=hosts
    )
