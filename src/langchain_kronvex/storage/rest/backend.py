"""The backend for a Kronvex REST API: any server that speaks one of its dialects.

The server is not trusted. What it returns is opened, checked against the scope that was asked for,
and put right by our own envelope (`rest/envelope.py`, `rest/versions.py`); what is written goes
through the outbox (`rest/outbox.py`, `rest/courier.py`). The server embeds, finds, and counts
accesses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from langchain_kronvex.core.background import OnError
from langchain_kronvex.core.effects import Plan, arun, call, run
from langchain_kronvex.core.errors import NotSupported, ServiceError, described
from langchain_kronvex.core.types import MemoryStats, Scope, SessionSummary
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import Match, Page, Record, Selection, Unembedded
from langchain_kronvex.storage.rest.envelope import Stored, one_session
from langchain_kronvex.storage.rest.erasing import Erasing
from langchain_kronvex.storage.rest.http.transport import Transport
from langchain_kronvex.storage.rest.outbox.outbox import Outbox
from langchain_kronvex.storage.rest.outbox.sender import Courier
from langchain_kronvex.storage.rest.recall import RemoteRecall
from langchain_kronvex.storage.rest.remote_agent import ServerAgent
from langchain_kronvex.storage.rest.transfer import RemoteTransfer
from langchain_kronvex.storage.rest.versions import Ticks, is_selected, on_page, present, summaries
from langchain_kronvex.storage.rest.writing import RemoteWriting

_PATIENCE_SECONDS = 1.0  # for what was just written to arrive before it is asked for


class KronvexBackend(RemoteTransfer):
    """Records of one agent on a Kronvex server.

    Args:
        transport: To the server.
        agent_id: The agent's id, or its name where the server gives ids of its own.
        outbox: What is to be sent.
        timeout: Seconds to wait for other processes that share the outbox.
    """

    is_remote = True

    def __init__(
        self, transport: Transport, agent_id: str, outbox: Outbox, *, timeout: float
    ) -> None:
        self.location = transport.base_url.removesuffix("/api/v1")
        self._transport, self._outbox, self._timeout = transport, outbox, timeout
        self._ticks = Ticks()
        self._report: OnError = lambda error: None
        self._agent = ServerAgent(
            transport, agent_id, outbox, self._ticks, lambda error: self._report(error)
        )
        self._courier = Courier(self._agent, outbox, lambda error: self._report(error))
        self._recall = RemoteRecall(self._agent, lambda error: self._report(error))
        self._erasing = Erasing(self._agent, self._courier, timeout)
        self._writing = RemoteWriting(self._agent, self._outbox, self._courier, self._ticks)

    def start(self, report: OnError) -> None:
        """See `MemoryBackend.start`: send what an earlier process left behind."""
        self._report = report
        if self._outbox.unsent():
            self._courier.wake()

    # -- writing -------------------------------------------------------------------------------

    def add(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """See `MemoryBackend.add`: when this returns, the records are in the outbox."""
        return run(self._writing.add(records, now))

    async def aadd(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """Twin of `add`."""
        return await arun(self._writing.add(records, now))

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        model: str | None = None,
        *,
        expected: Sequence[str | None] | None = None,
        deleted: Sequence[Selection] = (),
    ) -> bool:
        """See `MemoryBackend.put`.

        Raises:
            NotSupported: something is `expected`; the API cannot compare and store in one step.
            ServiceError: something is to be deleted, and the server cannot be asked.
        """
        return run(self._put(records, now, expected, deleted))

    async def aput(
        self,
        records: Sequence[Record],
        now: datetime,
        model: str | None = None,
        *,
        expected: Sequence[str | None] | None = None,
        deleted: Sequence[Selection] = (),
    ) -> bool:
        """Twin of `put`."""
        return await arun(self._put(records, now, expected, deleted))

    def _put(
        self,
        records: Sequence[Record],
        now: datetime,
        expected: Sequence[str | None] | None,
        deleted: Sequence[Selection],
    ) -> Plan[bool]:
        if records or expected is not None:
            return (yield from self._writing.put(records, now, expected, deleted))
        for selection in deleted:
            yield from self._delete(selection, now)
        return True

    def change(self, record: Record, now: datetime) -> None:
        """See `MemoryBackend.change`: a new version takes the place of the older one."""
        run(self._writing.change(record, now))

    async def achange(self, record: Record, now: datetime) -> None:
        """Twin of `change`."""
        await arun(self._writing.change(record, now))

    def count_accesses(self, counts: Mapping[str, int]) -> None:
        """See `MemoryBackend.count_accesses`: the server has counted them."""

    # -- erasing -------------------------------------------------------------------------------

    def delete(self, selection: Selection, now: datetime) -> int:
        """See `MemoryBackend.delete`; how far the bytes go is up to the server."""
        return run(self._delete(selection, now))

    async def adelete(self, selection: Selection, now: datetime) -> int:
        """Twin of `delete`."""
        return await arun(self._delete(selection, now))

    def _delete(self, selection: Selection, now: datetime) -> Plan[int]:
        self._writing.forget_texts()
        return (yield from self._erasing.erase(selection, now))

    def finish_erasing(self, now: datetime) -> None:
        """See `MemoryBackend.finish_erasing`: of what was sent, the outbox keeps nothing."""
        self._courier.withdraw(lambda stored: False, self._timeout)

    def purge(self, now: datetime) -> int:
        """See `MemoryBackend.purge`: the server removes what expires."""
        return 0

    # -- reading -------------------------------------------------------------------------------

    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """See `MemoryBackend.find`: everything of the scope is listed."""
        return run(self._find(selection, page, now))

    async def afind(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """Twin of `find`."""
        return await arun(self._find(selection, page, now))

    def _find(self, selection: Selection, page: Page, now: datetime) -> Plan[list[Record]]:
        # The outbox first: what is sent while the server is being listed is then seen twice,
        # which does no harm, and not missed.
        waiting = [entry.stored for entry in self._outbox.waiting(_owners(selection))]
        chosen = [s for s in present(waiting, now) if is_selected(s.record, selection)]
        if selection.ids and {s.record.id for s in chosen} == set(selection.ids):
            return on_page(chosen, page)  # also while the server is away
        found = yield from self._held(selection)
        everything = present([*found, *waiting], now)
        return on_page([s for s in everything if is_selected(s.record, selection)], page)

    def _held(self, selection: Selection) -> Plan[list[Stored]]:
        """Return what the server holds of a selection, and more."""
        known = [self._agent.known(id_) for id_ in selection.ids or ()]
        if known and all(known):
            sessions = {standing.session for standing in known if standing}
            found = []
            for session in sorted(s for s in sessions if s is not None):
                found += yield from self._agent.stored(session)
            if {s.record.id for s in found} >= set(selection.ids or ()):
                return found
        return (yield from self._agent.stored(one_session(selection)))

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`: the server's best, and what it has not got yet."""
        return run(self._recalled(request))

    async def arecall(self, request: RecallRequest) -> list[Match]:
        """Twin of `recall`."""
        return await arun(self._recalled(request))

    def _recalled(self, asked: RecallRequest) -> Plan[list[Match]]:
        owners = [asked.scope.owner]
        if asked.include_shared and asked.scope:
            owners.append("")
        yield call(self._courier, "settle", owners, _PATIENCE_SECONDS)
        waiting = [entry.stored for entry in self._outbox.waiting(owners)]
        matches: list[Match] = []
        for owner in owners:
            matches += yield from self._recall.of(owner, asked, waiting)
        matches.sort(key=lambda match: -match.similarity)
        return matches[: asked.top_k]

    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """See `MemoryBackend.sessions`."""
        return run(self._sessions(scope, now))

    async def asessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """Twin of `sessions`."""
        return await arun(self._sessions(scope, now))

    def _sessions(self, scope: Scope | None, now: datetime) -> Plan[list[SessionSummary]]:
        chosen = Selection(kind=None, scope=scope)
        waiting = [entry.stored for entry in self._outbox.waiting()]
        found = yield from self._agent.stored(None)
        everything = present([*found, *waiting], now)
        shown = (stored for stored in everything if stored.record.kind != "item")
        return summaries(stored for stored in shown if is_selected(stored.record, chosen))

    def stats(self, now: datetime) -> MemoryStats:
        """See `MemoryBackend.stats`; while the server is away, of the outbox alone."""
        return run(self._stats(now))

    async def astats(self, now: datetime) -> MemoryStats:
        """Twin of `stats`."""
        return await arun(self._stats(now))

    def _stats(self, now: datetime) -> Plan[MemoryStats]:
        yield call(self._courier, "settle", None, _PATIENCE_SECONDS)
        everything = [entry.stored for entry in self._outbox.waiting()]
        problem = self._courier.outage
        try:
            everything += yield from self._agent.stored(None)
        except ServiceError as error:
            problem = described(error)
        records = (stored.record for stored in present(everything, now))
        visible = [record for record in records if record.kind != "item"]
        messages = sum(record.kind == "message" for record in visible)
        return MemoryStats(
            location=self.location,
            memories=len(visible) - messages,
            messages=messages,
            users=len({record.scope.owner for record in visible}),
            unembedded=0,
            pending=self._outbox.unsent(),
            failed=self._outbox.set_aside(),
            last_error=problem,
        )

    def flush(self, timeout: float | None = None) -> bool:
        """See `MemoryBackend.flush`."""
        return self._courier.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> bool:
        """Twin of `flush`."""
        return await self._courier.aflush(timeout)

    def close(self) -> None:
        """See `MemoryBackend.close`."""
        self._courier.close()
        self._transport.close()
        self._outbox.close()

    # -- what the server does for itself -------------------------------------------------------

    def settle_embeddings(self, model: str, width: int | None) -> int | None:
        """See `MemoryBackend.settle_embeddings`."""
        raise _embeds_itself()

    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """See `MemoryBackend.unembedded`."""
        return []

    def embed(self, vectors: Mapping[str, Floats], model: str, *, upcoming: bool = False) -> None:
        """See `MemoryBackend.embed`."""
        raise _embeds_itself()

    def prepare_reindex(self, model: str, width: int) -> int:
        """See `MemoryBackend.prepare_reindex`."""
        raise _embeds_itself()

    def finish_reindex(self, model: str) -> int:
        """See `MemoryBackend.finish_reindex`."""
        raise _embeds_itself()


def _owners(selection: Selection) -> list[str] | None:
    if selection.scope is None:
        return None
    return [selection.scope.owner, *([""] if selection.include_shared else [])]


def _embeds_itself() -> NotSupported:
    return NotSupported(
        "A Kronvex server embeds the memories itself; embeddings and reindex() are for stores "
        "of this package: sqlite:///path.db"
    )
