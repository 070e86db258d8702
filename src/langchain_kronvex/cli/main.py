"""The command line: look into a store, change it, examine it, consolidate, serve or move it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_kronvex.cli.changing import add_changing_commands
from langchain_kronvex.cli.consolidate import add_consolidate_command
from langchain_kronvex.cli.doctor.command import add_doctor_command
from langchain_kronvex.cli.evaluating import add_eval_command
from langchain_kronvex.cli.mcp import add_mcp_command
from langchain_kronvex.cli.opening import agent_options
from langchain_kronvex.cli.outbox import add_outbox_commands
from langchain_kronvex.cli.reading import add_reading_commands
from langchain_kronvex.cli.serve import add_serve_command
from langchain_kronvex.cli.terminal import note, say
from langchain_kronvex.cli.transfer import add_transfer_commands
from langchain_kronvex.core import __version__
from langchain_kronvex.core.errors import (
    ConfigurationError,
    InvalidInput,
    KronvexError,
    NotSupported,
)
from langchain_kronvex.storage.urls import require_store, resolve_url

if TYPE_CHECKING:
    from langchain_kronvex.server.registry import ApiKeys

_INTERRUPTED = 130  # as shells have it
_WRONG_USE = (ConfigurationError, InvalidInput, NotSupported)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    It is 0 if all is done, 1 if something failed or was not found, and 2 for wrong use.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is shown as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    asked = parser().parse_args(arguments)
    try:
        return asked.command(asked) or 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except UnicodeDecodeError:
        note("langchain-kronvex: what was to be read is not text in UTF-8.")
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KronvexError, OSError) as error:
        note(f"langchain-kronvex: {error}")
        return 2 if isinstance(error, _WRONG_USE) else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="langchain-kronvex", description=__doc__)
    shown = f"langchain-kronvex {__version__}"
    parser.add_argument("--version", action="version", version=shown)
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument("--url", help="the store, such as sqlite:///memory.db (KRONVEX_URL)")
    memory = argparse.ArgumentParser(add_help=False, parents=[store])
    model = "provider:model the store is indexed with, such as openai:text-embedding-3-small, "
    model += "or 'none' for words alone (the bundled table)"
    memory.add_argument("--embeddings", type=lambda name: name != "none" and name, help=model)
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser
    of_agent = [memory, agent_options()]
    add_doctor_command(add, of_agent)
    add_reading_commands(add, of_agent)
    add_changing_commands(add, of_agent)
    add_eval_command(add, of_agent)
    add_serve_command(add("serve", help="serve the REST API from a store", parents=[memory]))
    add_mcp_command(add("mcp", help="serve one user's memories to an MCP client", parents=[memory]))
    _add_key_commands(add("keys", help="manage API keys"), [store])
    add_transfer_commands(add, [memory])
    add_consolidate_command(add, [memory])
    add_outbox_commands(add("outbox", help="manage entries that a Kronvex API rejected"))
    return parser


def _add_key_commands(
    keys: argparse.ArgumentParser, parents: list[argparse.ArgumentParser]
) -> None:
    add = keys.add_subparsers(required=True, metavar="COMMAND").add_parser
    create = add("create", help="create a key, and print it this once", parents=parents)
    create.add_argument("--name", required=True, help="what the key is for")
    user = "for MCP alone: the user whose memories it opens, of one agent (default)"
    create.add_argument("--user", help=user)
    agent = "an agent in the store to give it; repeatable"
    create.add_argument("--agent", action="append", default=[], help=agent)
    create.set_defaults(command=_create_key)
    add("list", help="list the keys", parents=parents).set_defaults(command=_list_keys)
    revoke = add("revoke", help="revoke a key for good", parents=parents)
    revoke.add_argument("key", help="its id or prefix, as `keys list` shows them")
    revoke.set_defaults(command=_revoke_key)


def _create_key(asked: argparse.Namespace) -> None:
    from langchain_kronvex.server.registry import create_key, create_user_key

    url = resolve_url(asked.url, None)
    if asked.user is None:
        key, secret = create_key(url, asked.name, asked.agent)
    else:
        key, secret = create_user_key(url, asked.name, asked.user, asked.agent)
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
        whose = "" if key.user_id is None else f"  (user {key.user_id}, agent {key.agent_id})"
        say(f"{key.id}  {key.prefix}…  {made}  {state:7}  {key.name}{whose}")
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
