"""One agent on a server: its id there, requests about it, and what is known of its memories."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from langchain_kronvex.core import errors
from langchain_kronvex.core.background import OnError
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.records import Place
from langchain_kronvex.storage.client_envelope import VersionedRecord
from langchain_kronvex.storage.record import is_uuid
from langchain_kronvex.storage.rest.envelope import record_from_wire
from langchain_kronvex.storage.rest.http import api
from langchain_kronvex.storage.rest.http.transport import Transport
from langchain_kronvex.storage.rest.outbox.outbox import Outbox

_MAX_POSITIONS = 100_000
_MAX_PLACES = 200_000
_MAX_AHEAD_MICROSECONDS = 86_400_000_000  # by which the clock of another process may be ahead
_UNREADABLE = (
    "The server returned a memory that cannot be read: it holds characters that are not text, or "
    "is nested too deeply. It was left out; forgetting its user erases it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteLimits:
    """How long things may take, in seconds.

    Attributes:
        check: How long to wait for the server's answer before a memory is stored without it.
        outage_pause: The longest pause of the outbox, however long the server asks to wait.
        quota_pause: The pause of the outbox after a quota was reached.
        closing: How long closing waits for entries that can still be sent.
    """

    check: float = 3.0
    outage_pause: float = 300.0
    quota_pause: float = 900.0
    closing: float = 10.0


class RemotePosition(NamedTuple):
    """Where the last version of a record is on the server, as far as this process knows."""

    server_id: str
    session: str | None
    written: int
    version: int


class Numbering(ForkAware):
    """Numbers versions, in one order for all memories of this process.

    Attributes:
        lock: Held while the records of one write get their versions, so that no other write comes
            between them.
        last: The last version that was given or seen.
    """

    def __init__(self) -> None:
        self.last = 0
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self.lock = threading.RLock()

    def next(self) -> int:
        """Return the microseconds since 1970, but more than any version that was given or seen."""
        with self.lock:
            self.last = max(self.last + 1, time.time_ns() // 1000)
            return self.last

    def see(self, version: int) -> None:
        """Note a version that another process gave, unless its clock is far ahead."""
        if version < time.time_ns() // 1000 + _MAX_AHEAD_MICROSECONDS:
            with self.lock:
                self.last = max(self.last, version)


NUMBERING = Numbering()


class KnownRecords:
    """What this process knows of the records on the server; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: dict[str, RemotePosition] = {}
        self._listed: set[str] = set()  # the server's sessions of which all places are known
        self._places: set[Place] = set()

    def note(self, stored: VersionedRecord, session: str | None) -> None:
        """Note where a record is on the server."""
        assert stored.server_id is not None  # noqa: S101 - it was read from a server
        version = max(stored.written, stored.version)
        NUMBERING.see(version)
        with self._lock:
            if len(self._positions) > _MAX_POSITIONS:
                self._positions = {}
            known = self._positions.get(stored.record.id)
            if known is None or known.version <= stored.version:
                position = (stored.server_id, session, stored.written, stored.version)
                self._positions[stored.record.id] = RemotePosition(*position)

    def position(self, record_id: str) -> RemotePosition | None:
        """Return where a record was last seen."""
        return self._positions.get(record_id)

    def forget(self, record_ids: Iterable[str]) -> None:
        """Forget the positions of records."""
        with self._lock:
            for id_ in record_ids:
                self._positions.pop(id_, None)

    def is_current(self, stored: VersionedRecord) -> bool:
        """Return whether a version is the last one that this process knows of."""
        known = self.position(stored.record.id)
        return known is None or stored.version >= known.version

    def add_place(self, place: Place) -> None:
        """Note that a record takes a place, or is about to."""
        with self._lock:
            self._places.add(place)

    def add_session(self, session: str, found: Iterable[VersionedRecord]) -> None:
        """Note everything in one of the server's sessions."""
        with self._lock:
            if len(self._places) > _MAX_PLACES:
                self._listed, self._places = set(), set()
            self._places.update(stored.record.place for stored in found)
            self._listed.add(session)

    def is_free(self, session: str, place: Place) -> bool:
        """Return whether a session certainly holds no record in a place."""
        with self._lock:
            return session in self._listed and place not in self._places

    def forget_places(self, session: str | None = None) -> None:
        """Forget which places a session takes, or all sessions."""
        with self._lock:
            self._listed = set() if session is None else self._listed - {session}


class RemoteAgent:
    """An agent of a server, named by its id or its name.

    Args:
        transport: Connects to the server.
        name: The agent's id; if the server wants ids of its own, the agent's name.
        outbox: Remembers the server's id of the agent.

    Attributes:
        location: The URL of the server, without `/api/v1`.
        limits: How long things may take.
        known: What is known of the records on the server.
        report: Called with each failure that no caller waits for.
        wake: Called when there is something to send.
        outage: Why nothing can be sent at the moment; None if all is well.
    """

    def __init__(self, transport: Transport, name: str, outbox: Outbox) -> None:
        self.transport, self.outbox, self.limits = transport, outbox, RemoteLimits()
        self.location = transport.base_url.removesuffix("/api/v1")
        self.known = KnownRecords()
        self.report: OnError = lambda error: None
        self.wake: Callable[[], None] = lambda: None
        self.outage: Exception | None = None
        self.no_checks_before = 0.0  # a moment of time.monotonic(), after a check that failed
        self._unreadable: set[str] = set()  # server ids that were reported
        self._name = name
        self._id = outbox.setting("agent") or name

    def ask(self, request: api.Request) -> Any:
        """Send a request about the agent; find the agent by name if the server has no such id.

        A missing agent is created when something is to be stored; for other requests it is an agent
        without memories.

        Returns:
            The JSON answer; see `Transport.exchange`.

        Raises:
            ServiceError: the server refused, or cannot be reached.
            MemoryNotFound: the request names a memory that does not exist.
        """
        used = self._id
        try:
            return self.transport.exchange(api.of_agent(request, used))
        except errors.AgentNotFound:
            if is_uuid(self._name):
                raise
        if not self._resolve(used, create=request.path == "/remember"):
            return api.NOTHING
        return self.transport.exchange(api.of_agent(request, self._id))

    def check_key(self, deadline: float) -> None:
        """Ask the server whether it accepts the API key.

        Raises:
            Unauthorized: it does not.
            ServiceError: it cannot be reached until `deadline`, a moment of `time.monotonic()`.
        """
        self.transport.exchange(replace(api.LIST_AGENTS, deadline=deadline))

    def delete(self, server_id: str) -> bool:
        """Delete a memory; return False if another client had deleted it.

        If the answer was lost and the memory is gone, this call counts as the one that deleted it.
        """
        try:
            self.ask(api.delete_request(server_id, repeatable=False))
        except errors.MemoryNotFound:
            return False
        except (errors.ServerUnavailable, errors.RateLimited) as error:
            if error.retry_after_seconds == 0:  # a timeout: the caller would wait as long once more
                raise
            with contextlib.suppress(errors.MemoryNotFound):
                self.ask(api.delete_request(server_id))
        return True

    def read(self, memories: Iterable[api.WireMemory]) -> list[VersionedRecord]:
        """Return the records of memories, and note where they are on the server.

        A memory that cannot be read is reported once.
        """
        records = []
        for raw in memories:
            stored = record_from_wire(raw)
            if stored is not None:
                self.known.note(stored, raw.session)
                records.append(stored)
            elif raw.unreadable and raw.id not in self._unreadable:
                self._unreadable.add(raw.id)
                self.report(errors.ServerMisbehaved(_UNREADABLE))
        return records

    def _resolve(self, wrong: str, *, create: bool) -> bool:
        """Find the agent by its name; of several the oldest, so that all processes agree."""
        if self._id != wrong:
            return True  # another thread has found it
        found = self._named()
        if not found and create:
            answer = self.transport.exchange(api.create_agent_request(self._name))
            created = api.read_agent(answer)
            found = self._named() or ([created] if created else [])
            if not found:
                raise errors.AgentNotFound()
        if not found:
            return False
        self._id = min(found, key=lambda agent: (agent[2], agent[0]))[0]
        self.outbox.note("agent", self._id)
        return True

    def _named(self) -> list[tuple[str, str, str]]:
        found = api.read_agents(self.transport.exchange(api.LIST_AGENTS))
        return [agent for agent in found if agent[1] == self._name]
