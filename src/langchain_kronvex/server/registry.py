"""The server's own tables, its agents and API keys, in the store of the memories.

Items are records of a kind of their own. Their agent id holds a slash, so no request can name it:
the id of an agent is one segment of a path. Several servers may share a store: each sees what the
others have added at once, and what they have changed or removed after a second at the latest.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.config.settings import Settings
from langchain_kronvex.core.config.urls import resolve_agent_id
from langchain_kronvex.core.errors import ConfigurationError, InvalidInput
from langchain_kronvex.core.records import Page, Record, Replacement, Scope, Selection
from langchain_kronvex.core.validation import check_id
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.opening import open_backend
from langchain_kronvex.storage.record import is_uuid

SERVER_AGENT = "langchain-kronvex/server"
NO_KEY = ""  # owns the agents made before there was a key
_CACHED = 1000  # lookups
_CACHED_SECONDS = 1.0  # where asking whether anything has changed is a lookup itself
_LEAVING = "leaving:"  # begins the content of an agent that is being deleted
LEAVING_SECONDS = 10.0  # after that, its deletion was interrupted
_LOOK_SECONDS = 0.02
_PREFIX_CHARS = 8  # of a key, shown in lists
_Cache = tuple[object, dict[tuple[str, ...] | None, list[Record]]]


class ItemTable:
    """Items of one type, each found by a key that is unique in the table.

    Args:
        backend: Of the agent `SERVER_AGENT`.
        name: Of the table.
        clock: Returns the time.

    Attributes:
        is_fast: A lookup takes less time than changing to another thread, and is always current.
    """

    def __init__(self, backend: MemoryBackend, name: str, clock: Callable[[], datetime]) -> None:
        self._backend, self._name, self._clock = backend, name, clock
        self._place = Scope(name, name)  # with both ids a key is looked up in the store's index
        self._cache: _Cache = (None, {})
        self.is_fast = backend.version() is not None

    def put(self, key: str, content: str, metadata: Mapping[str, Any]) -> Record:
        """Add an item; if the key is taken, return the existing item unchanged."""
        now = self._clock()
        place: Any = {"kind": "item", "scope": self._place, "type": self._name, "key": key}
        texts: Any = {"content": content, "metadata": metadata}
        item = Record(id=uuid.uuid4().hex, created_at=now, **place, **texts)
        with self._changing() as backend:
            return backend.add([item], now)[0]

    def find(self, key: str, *, current: bool = False) -> Record | None:
        """Return the item with this key; with `current`, as it is in the store at this moment."""
        return next(iter(self._read((key,), current=current)), None)

    def find_cached(self, key: str) -> Record | None:
        """Return an item that was looked up within the last second, without asking the store."""
        version, found = self._cache
        is_known = not self.is_fast and version == _second()
        return next(iter(found.get((key,), ())), None) if is_known else None

    def all(self, *, current: bool = False) -> Sequence[Record]:
        """Return every item, newest first."""
        return self._read(current=current)

    def change(self, item: Record) -> None:
        """Write the metadata of an item."""
        with self._changing() as backend:
            backend.add([replace(item, completes=True)], self._clock())

    def swap(self, item: Record, content: str, metadata: Mapping[str, Any]) -> bool:
        """Put another item under the same key, unless one with another content is there now."""
        new = replace(item, id=uuid.uuid4().hex, content=content, metadata=metadata)
        with self._changing() as backend:
            return backend.put(Replacement([new], expected=[item.content]), self._clock())

    def remove(self, key: str) -> None:
        """Erase an item."""
        chosen = Selection(kind="item", scope=self._place, keys=(key,))
        with self._changing() as backend:
            backend.delete(chosen, self._clock())

    @contextmanager
    def _changing(self) -> Iterator[MemoryBackend]:
        try:
            yield self._backend
        finally:  # also after a failure, which may have written
            self._cache = (None, {})

    def _read(self, keys: tuple[str, ...] | None = None, *, current: bool = False) -> list[Record]:
        """Return the items with some keys, or all of them, newest first.

        Every request needs items, so they are cached: until anything is written to the store, if
        asking whether any process has written is much faster than reading them, or else for a
        second at most. What is missing is then looked for each time.
        """
        version = self._backend.version() if self.is_fast else _second()
        if self._cache[0] != version or len(self._cache[1]) > _CACHED:
            self._cache = version, {}
        found = self._cache[1]
        if keys in found and (self.is_fast or not current):
            return found[keys]
        chosen = Selection(kind="item", scope=self._place, keys=keys)
        read = self._backend.find(chosen, Page(newest_first=True), self._clock())
        if read or self.is_fast:
            found[keys] = read
        return read


def _second() -> float:
    """Return the number of the present second: what was read in an earlier one is read anew."""
    return time.monotonic() // _CACHED_SECONDS


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent; its id is also the `agent_id` of its memory.

    Attributes:
        is_leaving: It is being deleted: nothing may be read from it or written to it.
    """

    id: str
    key_id: str
    name: str
    description: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    is_leaving: bool


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
        with self._registering:  # of two processes that do this at once, the first one's stays
            found, about = self._table.find(agent_id, current=True), _about(agent_id, None, {})
            return _agent(found or self._table.put(agent_id, key_id, about))

    def find(self, agent_id: str, *, current: bool = False) -> Agent | None:
        """Return a registered agent, of any key."""
        item = self._table.find(agent_id, current=current)
        return None if item is None else _agent(item)

    def find_settled(self, agent_id: str) -> Agent | None:
        """Return a registered agent, as it is now; wait while another process deletes it.

        It is still leaving if its deletion was interrupted.
        """
        end = time.monotonic() + LEAVING_SECONDS
        while (found := self.find(agent_id, current=True)) and found.is_leaving:
            if time.monotonic() > end:
                break
            time.sleep(_LOOK_SECONDS)
        return found

    def all(self, key_id: str) -> Sequence[Agent]:
        """Return the agents of this key, newest first."""
        return [_agent(item) for item in self._table.all() if item.content == key_id]

    def change(self, agent: Agent) -> bool:
        """Write name, description and metadata; return False if the agent is gone."""
        item = self._table.find(agent.id, current=True)
        if item is None or item.content != agent.key_id:
            return False
        about = _about(agent.name, agent.description, agent.metadata)
        return self._table.swap(item, item.content, about)

    def leave(self, agent: Agent) -> bool:
        """Begin to delete an agent: no process serves it any more; return False if it is gone."""
        item = self._table.find(agent.id, current=True)
        if item is None or _agent(item).key_id != agent.key_id:
            return False
        return self._table.swap(item, _LEAVING + agent.key_id, item.metadata)

    def remove(self, agent: Agent) -> None:
        """Remove an agent after its memories were erased."""
        self._table.remove(agent.id)

    def give(self, key_id: str, agent_id: str) -> bool:
        """Give a key an agent that is new or has no key; return False if another key owns it."""
        found = self.register(key_id, agent_id)
        if found.key_id == NO_KEY:
            self.hand_over(key_id, agent_id)
        return found.key_id in (NO_KEY, key_id)

    def hand_over(self, key_id: str, agent_id: str | None = None) -> None:
        """Give the agents without a key to a key, or only one of them."""
        for item in self._table.all(current=True):
            if item.content == NO_KEY and agent_id in (None, item.key):
                self._table.swap(item, key_id, item.metadata)


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


def _about(name: str, description: str | None, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "metadata": dict(metadata)}


def _agent(item: Record) -> Agent:
    about = item.metadata
    name, description = str(about.get("name", item.key)), about.get("description")
    metadata = about.get("metadata") or {}
    key_id, is_leaving = item.content.removeprefix(_LEAVING), item.content.startswith(_LEAVING)
    return Agent(item.key, key_id, name, description, metadata, item.created_at, is_leaving)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key; the secret itself is stored nowhere.

    Attributes:
        user_id: The one user whose memories the key opens, over MCP only; None for a key of the
            REST API.
        agent_id: The agent of that user.
    """

    id: str
    name: str
    prefix: str
    created_at: datetime
    is_active: bool
    user_id: str | None = None
    agent_id: str | None = None


class ApiKeys:
    """The keys of one store.

    Attributes:
        is_fast: A lookup takes less time than changing to another thread.
    """

    def __init__(self, backend: MemoryBackend, clock: Callable[[], datetime]) -> None:
        self._table = ItemTable(backend, "keys", clock)
        self._clock = clock
        self.is_fast = self._table.is_fast

    def create(
        self, name: str, user_id: str | None = None, agent_id: str | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key; return it and its secret, which cannot be shown again.

        Raises:
            InvalidInput: the name or the user is blank, too long, or not text.
        """
        secret = f"kv-{secrets.token_urlsafe(32)}"
        about = {"prefix": secret[:_PREFIX_CHARS], "revoked_at": None}
        if user_id is not None:
            about |= {"user_id": check_id(user_id, "user_id"), "agent_id": agent_id}
        return _key(self._table.put(_digest(secret), check_id(name, "name"), about)), secret

    def all(self) -> Sequence[ApiKey]:
        """Return every key, revoked ones included, the newest first."""
        return [_key(item) for item in self._table.all()]

    def none_made(self) -> bool:
        """Return whether no key was ever created; a revoked one still keeps the server locked."""
        return not self._table.all()

    def revoke(self, id_or_prefix: str) -> ApiKey | None:
        """Revoke the key with this id or prefix; return None when there is not exactly one."""
        every = self._table.all(current=True)
        found = [each for each in every if id_or_prefix in (each.id, each.metadata.get("prefix"))]
        if len(found) != 1:
            return None
        revoked_at = self._clock().isoformat()
        about = {**found[0].metadata, "revoked_at": revoked_at}
        item = replace(found[0], metadata=about)
        self._table.change(item)
        return _key(item)

    def recognise(self, secret: str, *, cached: bool = False) -> ApiKey | None:
        """Return the active key with this secret; None for any other text.

        With `cached`, the store is not asked: None may also mean that it has to be.
        """
        find = self._table.find_cached if cached else self._table.find
        item = find(_digest(secret))
        return _key(item) if item and _key(item).is_active else None


def _key(item: Record) -> ApiKey:
    about = item.metadata
    return ApiKey(
        item.id, item.content, str(about.get("prefix", "")), item.created_at,
        is_active=about.get("revoked_at") is None,
        user_id=about.get("user_id"), agent_id=about.get("agent_id"),
    )  # fmt: skip


def _digest(secret: str) -> str:
    """Return the hash that is stored instead of a secret.

    One round of SHA-256 is enough: a secret has 256 random bits, so it cannot be guessed as
    passwords can. The lookup is by this hash, so its timing reveals nothing about any secret:
    callers cannot choose a text whose hash begins as they like.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def open_registry(url: str) -> Iterator[tuple[ApiKeys, Agents]]:
    """Open the keys and agents of a store."""
    with closing(open_backend(url, SERVER_AGENT, Settings(cache_megabytes=0))) as backend:
        yield ApiKeys(backend, backend.clock), Agents(backend, backend.clock)


def create_key(
    url: str, name: str, agent_ids: Sequence[str] = (), user_id: str | None = None
) -> tuple[ApiKey, str]:
    """Create a key; return it and its secret.

    A key of the REST API gets the agents named. The first such key also gets the agents that were
    made while the server had no keys. A key with a user opens that user's memories of one agent,
    over MCP only.

    Raises:
        InvalidInput: a value does not fit.
        ConfigurationError: one of the agents belongs to another key; or there are several of a key
            with a user.
    """
    if user_id is not None:
        if len(agent_ids) > 1:
            raise ConfigurationError("A key with a user is for one agent; create a key for each.")
        agent_id = resolve_agent_id(next(iter(agent_ids), None))
        with open_registry(url) as (keys, _):
            return keys.create(name, user_id, agent_id)
    wanted = [check_agent_id(agent_id) for agent_id in agent_ids]
    with open_registry(url) as (keys, agents):
        is_first = all(key.user_id is not None for key in keys.all())
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
