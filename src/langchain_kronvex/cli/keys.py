"""The commands of `keys`: create, list and revoke API keys."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_kronvex.cli.opening import Parents, add_command
from langchain_kronvex.cli.terminal import note, say, say_json
from langchain_kronvex.core.config.urls import resolve_url
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.opening import require_store

if TYPE_CHECKING:
    from langchain_kronvex.server.registry import ApiKey, ApiKeys

_FIELDS = ("id", "prefix", "name", "created_at", "is_active", "user_id", "agent_id")


def add_key_commands(keys: argparse.ArgumentParser, parents: Parents) -> None:
    """Add `create`, `list` and `revoke`; `parents` have the options of a store."""
    add = keys.add_subparsers(required=True, metavar="COMMAND").add_parser
    told = f"one object: {', '.join(_FIELDS)}"
    purpose = "create a key, and print it this once"
    option = add_command(add, "create", _create, purpose, parents, f"{told}, key")
    option("--name", required=True, help="what the key is for")
    user = "for MCP alone: the user whose memories it opens, of one agent (default)"
    option("--user", help=user)
    agent = "an agent in the store to give it; repeatable"
    option("--agent", action="append", default=[], help=agent)
    add_command(add, "list", _list, "list the keys", parents, f"for each key {told}")
    option = add_command(add, "revoke", _revoke, "revoke a key for good", parents, told)
    option("key", help="its id or prefix, as `keys list` shows them")


def _create(asked: argparse.Namespace) -> None:
    from langchain_kronvex.server.registry import create_key

    url = resolve_url(asked.url, None)
    key, secret = create_key(url, asked.name, asked.agent, asked.user)
    if asked.json:
        say_json({**_fields(key), "key": secret})
        return
    note(f"{key.name} ({key.id}). The key is shown this once; keep it safe:")
    say(secret)


def _fields(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in _FIELDS}


@contextmanager
def _keys(asked: argparse.Namespace) -> Iterator[ApiKeys]:
    """Open the keys of a store that exists."""
    from langchain_kronvex.server.registry import open_registry

    url = resolve_url(asked.url, None)
    require_store(url)
    with open_registry(url) as (keys, _):
        yield keys


def _list(asked: argparse.Namespace) -> None:
    with _keys(asked) as keys:
        found = keys.all()
    for key in found:
        if asked.json:
            say_json(_fields(key))
            continue
        state = "active" if key.is_active else "revoked"
        made = key.created_at.date().isoformat()
        whose = "" if key.user_id is None else f"  (user {key.user_id}, agent {key.agent_id})"
        say(f"{key.id}  {key.prefix}…  {made}  {state:7}  {key.name}{whose}")
    if not found and not asked.json:
        note("There are no keys in this store.")


def _revoke(asked: argparse.Namespace) -> None:
    with _keys(asked) as keys:
        revoked = keys.revoke(asked.key)
    if revoked is None:
        raise ConfigurationError(
            f"No single key has the id or prefix {asked.key!r}; see `keys list`."
        )
    if asked.json:
        say_json(_fields(revoked))
    else:
        say(f"revoked {revoked.id}  {revoked.name}")
