"""One agent on a server: its id there, its listings, and what is known of its memories."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from langchain_kronvex.core.background import OnError
from langchain_kronvex.core.errors import AgentNotFound, MemoryNotFound, ServerMisbehaved
from langchain_kronvex.storage.rest.envelope import Stored, opened
from langchain_kronvex.storage.rest.http import api as wire
from langchain_kronvex.storage.rest.http.api import Request, WireMemory
from langchain_kronvex.storage.rest.http.errors import refusal, wants_other_agent_id
from langchain_kronvex.storage.rest.http.transport import AnswerTooLarge, Reply, Transport
from langchain_kronvex.storage.rest.outbox.outbox import Outbox
from langchain_kronvex.storage.rest.versions import Ticks

_MOST_PAGES = 20_000
_KNOWN_MEMORIES = 100_000
_MOST_UNREADABLE = 1000  # that are told of
_NOTHING = b'{"memories": []}'


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the last version of a record stands, as far as this process knows."""

    server_id: str
    session: str | None
    written: int
    version: int


class ServerAgent:
    """An agent of a server, by id or by name.

    Args:
        transport: To the server.
        name: The agent's id; where the server wants ids of its own, the agent's name.
        outbox: Remembers the server's id.
        ticks: Told of the numbers that are read.
        report: Told when a memory cannot be read.
    """

    def __init__(
        self, transport: Transport, name: str, outbox: Outbox, ticks: Ticks, report: OnError
    ) -> None:
        self.transport = transport
        self._name, self._outbox, self._ticks, self._report = name, outbox, ticks, report
        self._id = outbox.setting("agent") or name
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Standing] = OrderedDict()
        self._unreadable: set[str] = set()  # ids that were reported

    # -- asking --------------------------------------------------------------------------------

    def ask(self, build: Callable[[str], Request]) -> bytes:
        """Send a request about the agent; find it by name when the server knows no such id.

        An agent that is nowhere is made when something is to be stored; to all others it is an
        agent without memories.

        Raises:
            ServiceError: the server refused, or cannot be reached.
            MemoryNotFound: the request names a memory that is not there.
        """
        used = self._id
        request = build(used)
        reply: Reply = self.transport.exchange(request)
        if self._is_unknown(reply):
            if not self._resolve(used, make=request.path.endswith("/remember")):
                return _NOTHING
            reply = self.transport.exchange(build(self._id))
        if not reply.succeeded:
            raise refusal(reply.status, reply.headers, reply.body)
        return reply.body

    def _is_unknown(self, reply: Reply) -> bool:
        if _is_uuid(self._name):
            return False
        if wants_other_agent_id(reply.status, reply.body):
            return True
        return reply.status == 404 and isinstance(
            refusal(reply.status, reply.headers, reply.body), AgentNotFound
        )

    def _resolve(self, wrong: str, *, make: bool) -> bool:
        """Find the agent by its name; of several the oldest, so that all processes agree."""
        if self._id != wrong:
            return True  # somebody else has found it meanwhile
        found = self._named()
        if not found and not make:
            return False
        if not found:
            body = self.transport.succeed(wire.create_agent_request(self._name))
            made = wire.read_agent(wire.read_json(body))
            found = self._named() or ([made] if made else [])
        if not found:
            raise AgentNotFound()
        self._id = min(found, key=lambda agent: (agent[2], agent[0]))[0]
        self._outbox.note("agent", self._id)
        return True

    def _named(self) -> list[tuple[str, str, str]]:
        body = self.transport.succeed(wire.list_agents_request())
        return [a for a in wire.read_agents(wire.read_json(body)) if a[1] == self._name]

    def delete(self, server_id: str) -> bool:
        """Delete a memory; False when it was gone already."""
        try:
            self.ask(lambda agent: wire.delete_request(agent, server_id))
        except MemoryNotFound:
            return False
        return True

    # -- listing -------------------------------------------------------------------------------

    def listing(self, session: str | None, within_seconds: float | None = None) -> list[WireMemory]:
        """List all of a session, or of the agent. What the server adds of others is among it.

        A listing that is shorter than the server says is made once more: others were writing.

        Raises:
            ServerUnavailable: it took longer than `within_seconds`.
        """
        found: dict[str, WireMemory] = {}
        deadline = None if within_seconds is None else time.monotonic() + within_seconds
        for _ in range(2):
            total = self._pages(session, found, deadline)
            if total is None or total <= len(found):
                break
        return list(found.values())

    def _pages(
        self, session: str | None, found: dict[str, WireMemory], deadline: float | None
    ) -> int | None:
        """Read page after page until one brings nothing new, or the server says it is the last."""
        size, number = wire.PAGE_ITEMS, 1
        seen: set[str] = set()
        while number <= _MOST_PAGES:

            def asked(agent: str, number: int = number, size: int = size) -> Request:
                request = wire.list_request(agent, session, number, size)
                return replace(request, deadline=deadline)

            try:
                body = self.ask(asked)
            except AnswerTooLarge:
                if size == 1:
                    raise
                number, size = 2 * number - 1, size // 2
                continue
            page = wire.read_page(wire.read_json(body), size)
            fresh = {memory.id: memory for memory in page.memories if memory.id not in seen}
            seen.update(fresh)
            found.update(fresh)
            told = page.page_items
            if page.last or not fresh or (told == size and page.received < size):
                return page.total
            size = told or size
            number += 1
        raise ServerMisbehaved("The server's listing does not end.")

    def stored(self, session: str | None, within_seconds: float | None = None) -> list[Stored]:
        """Return the records of a wire session, or of the whole agent."""
        found = self.listing(session, within_seconds)
        return self.read(raw for raw in found if session is None or raw.session == session)

    def read(self, found: Iterable[WireMemory]) -> list[Stored]:
        """Return the records of memories, and take note of where they stand."""
        records = []
        for raw in found:
            stored = opened(raw)
            if stored is not None:
                self.note(stored, raw.session)
                records.append(stored)
            elif raw.unreadable:
                self._tell_of(raw.id)
        return records

    def _tell_of(self, server_id: str) -> None:
        """Report a memory that cannot be read, once."""
        if server_id in self._unreadable or len(self._unreadable) >= _MOST_UNREADABLE:
            return
        self._unreadable.add(server_id)
        self._report(
            ServerMisbehaved(
                "The server returned a memory that cannot be read: it holds characters that are "
                "no text, or is nested too deeply. It was left out; forgetting its user erases it."
            )
        )

    # -- what is known -------------------------------------------------------------------------

    def note(self, stored: Stored, session: str | None) -> None:
        """Take note of where a record stands."""
        assert stored.server_id is not None  # noqa: S101 - only what a server holds is noted
        self._ticks.saw(max(stored.written, stored.version))
        with self._lock:
            known = self._known.get(stored.record.id)
            if known is None or known.version <= stored.version:
                self._known[stored.record.id] = Standing(
                    stored.server_id, session, stored.written, stored.version
                )
                self._known.move_to_end(stored.record.id)
            if len(self._known) > _KNOWN_MEMORIES:
                self._known.popitem(last=False)

    def known(self, record_id: str) -> Standing | None:
        """Return where a record was last seen."""
        return self._known.get(record_id)

    def forget(self, record_ids: Iterable[str] | None) -> None:
        """Know no longer of records; None for all."""
        with self._lock:
            for id_ in list(self._known) if record_ids is None else record_ids:
                self._known.pop(id_, None)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
