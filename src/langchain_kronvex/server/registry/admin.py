"""Management of the keys and agents of a store, without a running server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.server.registry.agents import Agents, check_agent_id
from langchain_kronvex.server.registry.api_keys import ApiKey, ApiKeys
from langchain_kronvex.server.registry.item_table import SERVER_AGENT
from langchain_kronvex.storage.options import Settings
from langchain_kronvex.storage.urls import open_backend


@contextmanager
def open_registry(url: str) -> Iterator[tuple[ApiKeys, Agents]]:
    """Open the keys and agents of a store."""
    with closing(open_backend(url, SERVER_AGENT, Settings(cache_megabytes=0))) as backend:
        yield ApiKeys(backend, _now), Agents(backend, _now)


def create_key(url: str, name: str, agent_ids: Sequence[str] = ()) -> tuple[ApiKey, str]:
    """Create a key and give it the agents named; return the key and its secret.

    The first key also gets the agents that were made while the server had no keys.

    Raises:
        ConfigurationError: one of the agents belongs to another key.
    """
    wanted = [check_agent_id(agent_id) for agent_id in agent_ids]
    with open_registry(url) as (keys, agents):
        is_first = keys.none_made()
        key, secret = keys.create(name)
        if is_first:
            agents.hand_over(key.id)
        taken = [each for each in wanted if not agents.give(key.id, each)]
        if taken:
            keys.revoke(key.id)
            raise ConfigurationError(
                f"{', '.join(taken)} belongs to another key; the new one was revoked."
            )
    return key, secret


def _now() -> datetime:
    return datetime.now(timezone.utc)
