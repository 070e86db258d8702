"""Agents: who owns each, what it is called, and which ids are allowed."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import check_id
from langchain_kronvex.server.registry.shelf import Shelf
from langchain_kronvex.storage.backend import MemoryBackend, Record

NOBODY = ""  # owns the agents that were made before there was a key


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as it is registered; its id is also the `agent_id` of its memory."""

    id: str
    owner: str
    name: str
    description: str | None
    metadata: Mapping[str, Any]
    created_at: datetime


class Agents:
    """The agents of one store. `owner` is the id of an API key, or `NOBODY` without keys."""

    def __init__(self, backend: MemoryBackend, clock: Callable[[], datetime]) -> None:
        self._shelf = Shelf(backend, "agents", clock)
        self._registering = threading.Lock()

    def create(
        self, owner: str, name: str, description: str | None, metadata: Mapping[str, Any]
    ) -> Agent:
        """Register a new agent under an id of its own."""
        about: dict[str, Any] = {
            "name": name,
            "description": description,
            "metadata": dict(metadata),
        }
        return _agent(self._shelf.put(str(uuid.uuid4()), owner, about))

    def register(self, owner: str, agent_id: str) -> Agent | None:
        """Return the owner's agent of this name, made if it is new; None if it is another's."""
        with self._registering:
            item = self._shelf.find(agent_id)
            if item is None:  # the content stays the first one's, should two processes be at it
                item = self._shelf.put(agent_id, owner, _about(agent_id, None, {}))
        return _agent(item) if item.content == owner else None

    def find(self, owner: str, agent_id: str) -> Agent | None:
        """Return an agent of this owner."""
        item = self._item(owner, agent_id)
        return None if item is None else _agent(item)

    def is_registered(self, agent_id: str) -> bool:
        """Tell whether an agent is anybody's."""
        return self._shelf.find(agent_id) is not None

    def all(self, owner: str) -> Sequence[Agent]:
        """Return the agents of this owner, newest first."""
        return [_agent(item) for item in self._shelf.all() if item.content == owner]

    def change(self, agent: Agent) -> None:
        """Write name, description and metadata."""
        item = self._item(agent.owner, agent.id)
        if item is not None:
            about = _about(agent.name, agent.description, agent.metadata)
            self._shelf.change(replace(item, metadata=about))

    def remove(self, agent: Agent) -> None:
        """Forget an agent; its memories are erased elsewhere, before."""
        item = self._item(agent.owner, agent.id)
        if item is not None:
            self._shelf.remove(item)

    def give(self, owner: str, agent_id: str) -> bool:
        """Let a key have an agent that is new or nobody's; False if it is another key's."""
        item = self._shelf.find(agent_id)
        if item is not None and item.content == NOBODY:
            self._shelf.rewrite(item, owner)
            return True
        return self.register(owner, agent_id) is not None

    def hand_over(self, new_owner: str) -> int:
        """Give the agents that nobody owns to a key; return how many."""
        items = [item for item in self._shelf.all() if item.content == NOBODY]
        for item in items:
            self._shelf.rewrite(item, new_owner)
        return len(items)

    def _item(self, owner: str, agent_id: str) -> Record | None:
        item = self._shelf.find(agent_id)
        return item if item is not None and item.content == owner else None


def check_agent_id(value: str) -> str:
    """Return an agent id as it is stored: a UUID in lower case, any other readable name as it is.

    Raises:
        InvalidInput: it is blank, too long, or no single segment of a path.
    """
    checked = check_id(value, "agent_id")
    broken = "\ufffd" in checked  # what any bytes that are no UTF-8 are read as
    if broken or "/" in checked or checked in (".", "..") or not checked.isprintable():
        raise InvalidInput("agent_id must be printable, without a slash.")
    return checked.lower() if is_uuid(checked) else checked


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID, in either of its usual forms."""
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
        owner=item.content,
        name=str(about.get("name", item.key)),
        description=about.get("description"),
        metadata=about.get("metadata") or {},
        created_at=item.created_at,
    )
