"""The command line: serve a store over HTTP, manage its API keys, move or consolidate memories."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_kronvex.cli.consolidate import add_consolidate_command
from langchain_kronvex.cli.outbox import add_outbox_commands
from langchain_kronvex.cli.terminal import note, say
from langchain_kronvex.cli.transfer import add_transfer_commands
from langchain_kronvex.core.errors import ConfigurationError, KronvexError
from langchain_kronvex.core.options import needing
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.urls import is_loopback, require_store, resolve_url

if TYPE_CHECKING:
    from langchain_kronvex.server import ServerSettings
    from langchain_kronvex.server.registry import ApiKeys

logger = logging.getLogger("langchain_kronvex.server")

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_DEFAULT_PER_MINUTE = 600  # for each key, when other machines can reach the server
_UVICORN: Any = {
    "timeout_graceful_shutdown": 30,
    "timeout_keep_alive": 75,  # longer than clients do, so that the client closes a connection
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "ws": "none",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        asked.command(asked)
    except (KronvexError, OSError) as error:
        note(f"langchain-kronvex: {error}")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="langchain-kronvex", description=__doc__)
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument("--url", help="the store, such as sqlite:///memory.db (KRONVEX_URL)")
    memory = argparse.ArgumentParser(add_help=False, parents=[store])
    model = "provider:model the store is indexed with, such as openai:text-embedding-3-small, "
    model += "or 'none' for words alone (the bundled table)"
    memory.add_argument("--embeddings", type=lambda name: name != "none" and name, help=model)
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser
    _add_serve(add("serve", help="serve the REST API from a store", parents=[memory]))
    _add_key_commands(add("keys", help="manage API keys"), [store])
    add_transfer_commands(add, [memory])
    add_consolidate_command(add, [memory])
    add_outbox_commands(add("outbox", help="manage entries that a Kronvex API rejected"))
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    option = serve.add_argument
    option("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    option("--port", type=int, default=8400, help="0 takes any free one (%(default)s)")
    option("--max-body-bytes", type=int, default=16 << 20, help="largest request (%(default)s)")
    arrival = "longest time for the body of a request to arrive (%(default)s)"
    option("--body-timeout-seconds", type=float, default=60.0, help=arrival)
    limit = f"for each key; 0 for no limit (none on loopback, else {_DEFAULT_PER_MINUTE})"
    option("--requests-per-minute", type=int, help=limit)
    option("--cors-origin", action="append", default=[], help="a page that may call; repeatable")
    every = "a recall without session_id sees every session of the agent"
    option("--all-sessions", action="store_true", help=every)
    model = "provider:model that derives what is known of users, such as openai:gpt-4o-mini"
    option("--consolidate", metavar="MODEL", help=model)
    serve.set_defaults(command=_serve)


def _add_key_commands(
    keys: argparse.ArgumentParser, parents: list[argparse.ArgumentParser]
) -> None:
    add = keys.add_subparsers(required=True, metavar="COMMAND").add_parser
    create = add("create", help="create a key, and print it this once", parents=parents)
    create.add_argument("--name", required=True, help="what the key is for")
    agent = "an agent in the store to give it; repeatable"
    create.add_argument("--agent", action="append", default=[], help=agent)
    create.set_defaults(command=_create_key)
    add("list", help="list the keys", parents=parents).set_defaults(command=_list_keys)
    revoke = add("revoke", help="revoke a key for good", parents=parents)
    revoke.add_argument("key", help="its id or prefix, as `keys list` shows them")
    revoke.set_defaults(command=_revoke_key)


def _serve(asked: argparse.Namespace) -> None:
    with needing("The server needs FastAPI and Uvicorn", extra="server"):
        import uvicorn

        from langchain_kronvex.server import create_app

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s"
    )
    # So that the store is closed; Uvicorn repeats the signal after its own shutdown.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    url = resolve_url(asked.url, None)
    with KronvexMemory(url, embeddings=asked.embeddings) as memory:
        app = create_app(memory, _settings(asked, url), consolidate=asked.consolidate)
        uvicorn.run(app, host=asked.host, port=asked.port, **_UVICORN)


def _settings(asked: argparse.Namespace, url: str) -> ServerSettings:
    """Return the settings of the server; without a key only programs on this machine may use it.

    Raises:
        ConfigurationError: it would listen to other machines without a key.
    """
    from langchain_kronvex.server import ServerSettings
    from langchain_kronvex.server.registry import open_registry

    local, per_minute = is_loopback(asked.host), asked.requests_per_minute
    with open_registry(url) as (keys, _):
        unlocked = keys.none_made()
    if unlocked and not local:
        shown = url if url.startswith("sqlite:") else "URL"  # others may hold a password
        raise ConfigurationError(
            f"Without an API key the server listens on this machine only, not on {asked.host}. "
            f"Create a key first: langchain-kronvex keys create --url {shown} --name NAME"
        )
    if unlocked:
        logger.warning(
            "no API key exists: programs on this machine need none, other machines are rejected"
        )
    if per_minute is None:
        per_minute = 0 if local else _DEFAULT_PER_MINUTE
    same = ("max_body_bytes", "body_timeout_seconds", "all_sessions")
    return ServerSettings(
        **{name: getattr(asked, name) for name in same},
        requests_per_minute=per_minute or None,
        cors_origins=tuple(asked.cors_origin),
        allowed_hosts=_LOCAL_HOSTS if unlocked else None,
    )


def _create_key(asked: argparse.Namespace) -> None:
    from langchain_kronvex.server.registry import create_key

    key, secret = create_key(resolve_url(asked.url, None), asked.name, asked.agent)
    note(f"{key.name} ({key.id}). The key is shown this once; keep it safe:")
    say(secret)


@contextmanager
def _keys(asked: argparse.Namespace) -> Iterator[ApiKeys]:
    """Open the keys of a store that exists."""
    from langchain_kronvex.server.registry import open_registry

    url = resolve_url(asked.url, None)
    require_store(url)
    with open_registry(url) as (keys, _):
        yield keys


def _list_keys(asked: argparse.Namespace) -> None:
    with _keys(asked) as keys:
        found = keys.all()
    for key in found:
        state = "active" if key.is_active else "revoked"
        made = key.created_at.date().isoformat()
        say(f"{key.id}  {key.prefix}…  {made}  {state:7}  {key.name}")
    if not found:
        note("There are no keys in this store.")


def _revoke_key(asked: argparse.Namespace) -> None:
    with _keys(asked) as keys:
        revoked = keys.revoke(asked.key)
    if revoked is None:
        raise ConfigurationError(
            f"No single key has the id or prefix {asked.key!r}; see `keys list`."
        )
    say(f"revoked {revoked.id}  {revoked.name}")
