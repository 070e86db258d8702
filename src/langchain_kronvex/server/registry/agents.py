"""Agents: the key and the name of each, and which ids are allowed."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import check_id
from langchain_kronvex.server.registry.item_table import ItemTable
from langchain_kronvex.storage.backend import MemoryBackend, Record

NO_KEY = ""  # owns the agents made before there was a key


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent; its id is also the `agent_id` of its memory."""

    id: str
    key_id: str
    name: str
    description: str | None
    metadata: Mapping[str, Any]
    created_at: datetime


class Agents:
    """The agents of one store. Each belongs to an API key, or to `NO_KEY`."""

    def __init__(self, backend: MemoryBackend, clock: Callable[[], datetime]) -> None:
        self._table = ItemTable(backend, "agents", clock)
        self._registering = threading.Lock()

    def create(
        self, key_id: str, name: str, description: str | None, metadata: Mapping[str, Any]
    ) -> Agent:
        """Register a new agent under an id of its own."""
        about = _about(name, description, metadata)
        return _agent(self._table.put(str(uuid.uuid4()), key_id, about))

    def register(self, key_id: str, agent_id: str) -> Agent:
        """Return the agent of this name, made for the key if new; another key may own it."""
        with self._registering:
            item = self._table.find(agent_id)
            if item is None:  # if two processes do this at once, the first one's content stays
                item = self._table.put(agent_id, key_id, _about(agent_id, None, {}))
        return _agent(item)

    def find(self, agent_id: str) -> Agent | None:
        """Return a registered agent, of any key."""
        item = self._table.find(agent_id)
        return None if item is None else _agent(item)

    def all(self, key_id: str) -> Sequence[Agent]:
        """Return the agents of this key, newest first."""
        return [_agent(item) for item in self._table.all() if item.content == key_id]

    def change(self, agent: Agent) -> None:
        """Write name, description and metadata."""
        item = self._table.find(agent.id)
        if item is not None:
            about = _about(agent.name, agent.description, agent.metadata)
            self._table.change(replace(item, metadata=about))

    def remove(self, agent: Agent) -> None:
        """Remove an agent after its memories were erased."""
        self._table.remove(agent.id)

    def give(self, key_id: str, agent_id: str) -> bool:
        """Give a key an agent that is new or has no key; return False if another key owns it."""
        item = self._table.find(agent_id)
        if item is not None and item.content == NO_KEY:
            self._table.change(replace(item, content=key_id))
            return True
        return self.register(key_id, agent_id).key_id == key_id

    def hand_over(self, key_id: str) -> None:
        """Give the agents without a key to a key."""
        for item in self._table.all():
            if item.content == NO_KEY:
                self._table.change(replace(item, content=key_id))


def check_agent_id(value: str) -> str:
    """Return an agent id as it is stored: a UUID in lower case, any other readable name as it is.

    Raises:
        InvalidInput: it is blank, too long, or not a single segment of a path.
    """
    checked = check_id(value, "agent_id")
    broken = "\ufffd" in checked  # stands for bytes that are not UTF-8
    if broken or "/" in checked or checked in (".", "..") or not checked.isprintable():
        raise InvalidInput("agent_id must be printable, without a slash.")
    return checked.lower() if is_uuid(checked) else checked


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID, in either of its usual forms."""
    if len(text) not in (32, 36):
        return False
    try:
        return str(uuid.UUID(text)).replace("-", "") == text.lower().replace("-", "")
    except ValueError:
        return False


def _about(name: str, description: str | None, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "metadata": dict(metadata)}


def _agent(item: Record) -> Agent:
    about = item.metadata
    return Agent(
        id=item.key,
        key_id=item.content,
        name=str(about.get("name", item.key)),
        description=about.get("description"),
        metadata=about.get("metadata") or {},
        created_at=item.created_at,
    )
