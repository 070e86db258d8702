"""The backend for a Kronvex REST API: any server that speaks one of its dialects.

The server is not trusted. What it returns is opened, checked against the scope that was asked for,
and put right by our own envelope (`envelope.py`, `versions.py`); what is written goes through the
outbox (`outbox.py`, `courier.py`). The server embeds, finds, and counts accesses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from langchain_kronvex.backends.agent import ServerAgent
from langchain_kronvex.backends.base import (
    Match,
    Page,
    Record,
    Search,
    Selection,
    Unembedded,
    renewed,
)
from langchain_kronvex.backends.courier import Courier
from langchain_kronvex.backends.envelope import Stored, one_session, wire_session, wire_ttl
from langchain_kronvex.backends.erasing import Erasing
from langchain_kronvex.backends.known_texts import KnownTexts
from langchain_kronvex.backends.outbox import Outbox
from langchain_kronvex.backends.remote_recall import RemoteRecall
from langchain_kronvex.backends.remote_transfer import RemoteTransfer
from langchain_kronvex.backends.transport import Transport
from langchain_kronvex.backends.versions import (
    Place,
    Ticks,
    is_selected,
    on_page,
    place_of,
    present,
    summaries,
)
from langchain_kronvex.background import OnError
from langchain_kronvex.errors import (
    InvalidInput,
    MemoryNotFound,
    NotSupported,
    ServiceError,
    described,
)
from langchain_kronvex.plans import Plan, arun, call, run
from langchain_kronvex.ranking import Floats
from langchain_kronvex.types import MemoryStats, Scope, SessionSummary

_PATIENCE_SECONDS = 1.0  # for what was just written to arrive before it is asked for
_CHECK_SECONDS = 3.0  # for an answer without which a memory is stored as well
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)
_PAUSE_AFTER_FAILED_CHECK_SECONDS = 30.0


class KronvexBackend(RemoteTransfer):
    """Records of one agent on a Kronvex server.

    Args:
        transport: To the server.
        agent_id: The agent's id, or its name where the server gives ids of its own.
        outbox: What is to be sent.
        timeout: Seconds to wait for other processes that share the outbox.
    """

    is_service = True

    def __init__(
        self, transport: Transport, agent_id: str, outbox: Outbox, *, timeout: float
    ) -> None:
        self.location = transport.base_url.removesuffix("/api/v1")
        self._transport, self._outbox = transport, outbox
        self._ticks = Ticks()
        self._agent = ServerAgent(transport, agent_id, outbox, self._ticks)
        self._report: OnError = lambda error: None
        self._courier = Courier(self._agent, outbox, lambda error: self._report(error))
        self._recall = RemoteRecall(self._agent, lambda error: self._report(error))
        self._erasing = Erasing(self._agent, self._courier, timeout)
        self._texts = KnownTexts()
        self._no_checks_before = 0.0

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
        return run(self._add(records, now))

    async def aadd(
        self, records: Sequence[Record], now: datetime, model: str | None = None
    ) -> list[Record]:
        """Twin of `add`."""
        return await arun(self._add(records, now))

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        model: str | None = None,
        *,
        expected: Sequence[str | None] | None = None,
    ) -> bool:
        """See `MemoryBackend.put`."""
        raise NotSupported("put: a Kronvex server cannot replace a record by its key.")

    def _add(self, records: Sequence[Record], now: datetime) -> Plan[list[Record]]:
        there = yield from self._there(records, now)
        of_id = {stored.record.id: stored for stored in there.values()}
        taken: list[Stored] = []
        retired: list[Stored] = []
        for record in records:
            stored = self._new_version(record, there, of_id, now)
            there[place_of(stored.record)] = stored
            taken.append(replace(stored, apart=self._texts.is_elsewhere(stored.record)))
            self._texts.add([stored.record])
            if record.completes and stored.record.id != record.id:
                retired.append(self._retired(record, of_id))
        yield call(self._outbox, "put", [*taken, *retired])
        self._courier.wake()
        return [stored.record for stored in taken]

    def _new_version(
        self,
        record: Record,
        there: Mapping[Place, Stored],
        of_id: Mapping[str, Stored],
        now: datetime,
    ) -> Stored:
        version = self._ticks.next()
        older = there.get(place_of(record))
        written = version
        if older is not None and older.record.id != record.id:
            record, written = renewed(older.record, record), older.written
        elif record.completes:
            written = self._written(record, of_id) or version
            record = replace(record, completes=False)
        record = replace(record, vector=None)
        return Stored(record, written, version, ttl_days=wire_ttl(record, now))

    def _written(self, record: Record, of_id: Mapping[str, Stored]) -> int | None:
        """Return when a record was first written, as far as this process knows."""
        known, before = self._agent.known(record.id), of_id.get(record.id)
        return before.written if before else known.written if known else None

    def _retired(self, record: Record, of_id: Mapping[str, Stored]) -> Stored:
        """Return the last version of a record that gives way to an older one of the same text."""
        over = replace(record, key=record.id, expires_at=_LONG_AGO, pinned=False, completes=False)
        version = self._ticks.next()
        return Stored(over, self._written(record, of_id) or version - 1, version, gone=True)

    def _there(self, records: Sequence[Record], now: datetime) -> Plan[dict[Place, Stored]]:
        """Return the visible records that the new ones may meet, by place.

        The server is asked once for each of its sessions, and again when a text is told again.
        When it cannot be asked, copies may come to be; reading makes one of them.
        """
        meeting = [record for record in records if record.key != record.id]
        owners = sorted({record.scope.owner for record in meeting})
        found = [entry.stored for entry in self._outbox.waiting(owners)] if owners else []
        for session in sorted({wire_session(record.kind, record.scope) for record in meeting}):
            of_session = [r for r in meeting if wire_session(r.kind, r.scope) == session]
            if not all(map(self._texts.is_new, of_session)):
                found += yield from self._listed(session)
        return {place_of(stored.record): stored for stored in present(found, now)}

    def _listed(self, session: str) -> Plan[list[Stored]]:
        if self._courier.outage is not None or time.monotonic() < self._no_checks_before:
            return []
        try:
            found = yield from self._agent.stored(session, _CHECK_SECONDS)
        except ServiceError:
            self._no_checks_before = time.monotonic() + _PAUSE_AFTER_FAILED_CHECK_SECONDS
            return []
        self._texts.add(stored.record for stored in found)
        self._texts.listed(session)
        return found

    def change(self, record: Record, now: datetime) -> None:
        """See `MemoryBackend.change`: a new version takes the place of the older one."""
        run(self._change(record, now))

    async def achange(self, record: Record, now: datetime) -> None:
        """Twin of `change`."""
        await arun(self._change(record, now))

    def _change(self, record: Record, now: datetime) -> Plan[None]:
        session = wire_session(record.kind, record.scope)
        waiting = [entry.stored for entry in self._outbox.waiting([record.scope.owner])]
        found = yield from self._agent.stored(session)
        before = {stored.record.id: stored for stored in present([*found, *waiting], now)}
        if record.id not in before:
            raise MemoryNotFound()
        place = place_of(record)
        if any(place_of(s.record) == place and id_ != record.id for id_, s in before.items()):
            raise InvalidInput(
                "A memory with this text and type exists in the same scope already; "
                "forget one of the two."
            )
        version = self._ticks.next()
        self._texts.add(stored.record for stored in before.values())
        new = Stored(
            record,
            before[record.id].written,
            version,
            ttl_days=wire_ttl(record, now),
            apart=self._texts.is_elsewhere(record),
        )
        yield call(self._outbox, "put", [new])
        self._texts.forget(session)
        self._courier.wake()

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
        self._texts.forget()
        return (yield from self._erasing.erase(selection, now))

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

    def recall(self, search: Search) -> list[Match]:
        """See `MemoryBackend.recall`: the server's best, and what it has not got yet."""
        return run(self._recalled(search))

    async def arecall(self, search: Search) -> list[Match]:
        """Twin of `recall`."""
        return await arun(self._recalled(search))

    def _recalled(self, asked: Search) -> Plan[list[Match]]:
        owners = [asked.scope.owner]
        if asked.include_shared and asked.scope:
            owners.append("")
        yield call(self._courier, "settle", owners, _PATIENCE_SECONDS)
        waiting = [entry.stored for entry in self._outbox.waiting(owners)]
        matches: list[Match] = []
        for owner in owners:
            matches += yield from self._recall.of(owner, asked, waiting)
        matches.sort(key=lambda match: -match.similarity)
        return matches[: asked.limit]

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
