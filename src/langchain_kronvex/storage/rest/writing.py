"""Writing to a server: what is to be stored goes into the outbox, as a new version of its record.

Nothing on a server is changed in place. Before a record is stored, the server is asked whether one
with its key is there, unless that is known; where it cannot be asked, copies may come to be, and
reading makes one of them (`versions.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound, NotSupported, ServiceError
from langchain_kronvex.storage.backend import Record, Selection, renewed
from langchain_kronvex.storage.rest.envelope import Stored, one_session, wire_session, wire_ttl
from langchain_kronvex.storage.rest.envelope_size import check_sizes
from langchain_kronvex.storage.rest.outbox.outbox import Outbox
from langchain_kronvex.storage.rest.outbox.sender import Courier
from langchain_kronvex.storage.rest.remote_agent import ServerAgent
from langchain_kronvex.storage.rest.versions import (
    Place,
    Ticks,
    is_selected,
    newest,
    place_of,
    present,
)

_CHECK_SECONDS = 3.0  # for an answer without which a memory is stored as well
_PAUSE_AFTER_FAILED_CHECK_SECONDS = 30.0
_MOST_PLACES = 200_000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


class RemoteWriting:
    """Stores and changes records of one agent.

    Args:
        agent: Whose.
        outbox: Where they are put.
        courier: Told of them.
        ticks: Numbers the versions.
    """

    def __init__(self, agent: ServerAgent, outbox: Outbox, courier: Courier, ticks: Ticks) -> None:
        self._agent, self._outbox, self._courier, self._ticks = agent, outbox, courier, ticks
        self._listed: set[str] = set()  # wire sessions of which all places are known
        self._places: set[Place] = set()
        self._no_checks_before = 0.0

    def forget_places(self) -> None:
        """Forget which records the server holds."""
        self._listed.clear()
        self._places.clear()

    def add(self, records: Sequence[Record], now: datetime) -> list[Record]:
        """Store records; one whose key is there renews that one."""
        check_sizes(records)
        there = self._there(records, now)
        written = self._written(records, there)
        taken: list[Stored] = []
        retired: list[Stored] = []
        answers: list[Record] = []
        for record in records:
            if record.completes and record.id in written and written[record.id] is None:
                answers.append(record)  # what it was to complete is erased
                continue
            stored = self._new_version(record, there, written, now)
            answers.append(stored.record)
            taken.append(self._noted(stored, there))
            if record.completes and stored.record.id != record.id:
                retired.append(self._retired(record, written.get(record.id)))
        self._outbox.put([*taken, *retired])
        self._courier.wake()
        return answers

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        expected: Sequence[str | None] | None,
        deleted: Sequence[Selection],
    ) -> bool:
        """Store records in the place of those with their keys; the latest of several stays.

        What is deleted with them goes through the outbox too, behind them: on the server both may
        stand for a moment, also after a crash, but never neither.
        """
        if expected is not None:
            raise NotSupported(
                "A Kronvex server cannot store a record on the condition that another one is there "
                "still; use a store of this package: sqlite:///path.db"
            )
        check_sizes(records)
        leaving = self._leaving(deleted)
        there = self._there(records, now)
        taken: list[Stored] = []
        retired = [self._retired(_emptied(s.record), s.written) for s in leaving]
        for stored in leaving:
            there.pop(place_of(stored.record), None)
        for record in records:
            older = there.get(place_of(record))
            version = self._ticks.next()
            said = older.record.said_at if older else record.said_at
            record = replace(record, said_at=said or record.created_at, vector=None)
            new = Stored(record, version, version, ttl_days=wire_ttl(record, now))
            taken.append(self._noted(new, there))
            if older is not None:
                retired.append(self._retired(older.record, older.written))
        self._outbox.put([*taken, *retired])
        self._courier.wake()
        return True

    def _leaving(self, deleted: Sequence[Selection]) -> list[Stored]:
        """Return the selected records, copies too.

        Raises:
            ServiceError: the server cannot be asked.
        """
        owners = {selection.scope.owner for selection in deleted if selection.scope is not None}
        found = [e.stored for e in self._outbox.waiting(sorted(owners))] if owners else []
        for session in dict.fromkeys(map(one_session, deleted)):
            found += self._agent.stored(session)
            self._listed.discard(session or "")
        return [s for s in newest(found) if any(is_selected(s.record, d) for d in deleted)]

    def _noted(self, stored: Stored, there: dict[Place, Stored]) -> Stored:
        """Take note of a record that is about to be stored."""
        there[place_of(stored.record)] = stored
        self._places.add(place_of(stored.record))
        return stored

    def _new_version(
        self,
        record: Record,
        there: Mapping[Place, Stored],
        places: Mapping[str, int | None],
        now: datetime,
    ) -> Stored:
        version = self._ticks.next()
        older = there.get(place_of(record))
        written = version
        if older is not None and older.record.id != record.id:
            record, written = renewed(older.record, record), older.written
        elif record.completes:
            written = places.get(record.id) or version
            record = replace(record, completes=False)
        said = record.said_at or record.created_at
        record = replace(record, vector=None, said_at=said)
        return Stored(record, written, version, ttl_days=wire_ttl(record, now))

    def _written(
        self, records: Sequence[Record], there: Mapping[Place, Stored]
    ) -> dict[str, int | None]:
        """Return when the records that are to be completed were first written, by id.

        None is for one that is nowhere. One that may be on a server that cannot be asked is
        left out.
        """
        completing = [record for record in records if record.completes]
        places: dict[str, int | None] = {s.record.id: s.written for s in there.values()}
        # The outbox first: what is sent while it is being read, is known from then on.
        owners = sorted({record.scope.owner for record in completing})
        for entry in self._outbox.waiting(owners) if owners else []:
            places[entry.stored.record.id] = entry.stored.written
        for record in completing:
            known = self._agent.known(record.id)
            if record.id not in places and known:
                places[record.id] = known.written
        unknown = [record for record in completing if record.id not in places]
        for session in sorted({wire_session(r.kind, r.scope) for r in unknown}):
            found = self._asked(session)
            if found is not None:
                held = {stored.record.id: stored.written for stored in found}
                of_session = [r for r in unknown if wire_session(r.kind, r.scope) == session]
                places |= {record.id: held.get(record.id) for record in of_session}
        return places

    def _retired(self, record: Record, written: int | None) -> Stored:
        """Return the last version of a record that gives way to another one."""
        over = replace(record, key=record.id, expires_at=_LONG_AGO, pinned=False, completes=False)
        version = self._ticks.next()
        return Stored(over, written or version - 1, version, gone=True)

    def _there(self, records: Sequence[Record], now: datetime) -> dict[Place, Stored]:
        """Return the visible records that the new ones may meet, by place.

        The server is asked once for each of its sessions, and again when a text is told again.
        When it cannot be asked, copies may come to be; reading makes one of them.
        """
        meeting = [record for record in records if record.key != record.id]
        owners = sorted({record.scope.owner for record in meeting})
        found = [entry.stored for entry in self._outbox.waiting(owners)] if owners else []
        for session in sorted({wire_session(record.kind, record.scope) for record in meeting}):
            of_session = [r for r in meeting if wire_session(r.kind, r.scope) == session]
            if session not in self._listed or not self._places.isdisjoint(
                map(place_of, of_session)
            ):
                found += self._asked(session) or []
        return {place_of(stored.record): stored for stored in present(found, now)}

    def _asked(self, session: str) -> list[Stored] | None:
        """Return what the server holds of a session; None when it cannot be asked."""
        if self._courier.outage is not None or time.monotonic() < self._no_checks_before:
            return None
        try:
            found = self._agent.stored(session, _CHECK_SECONDS)
        except ServiceError:
            self._no_checks_before = time.monotonic() + _PAUSE_AFTER_FAILED_CHECK_SECONDS
            return None
        if len(self._places) > _MOST_PLACES:
            self.forget_places()
        self._places.update(place_of(stored.record) for stored in found)
        self._listed.add(session)
        return found

    def change(self, record: Record, now: datetime) -> None:
        """Write a new version of a record that is there.

        Raises:
            MemoryNotFound: it is gone.
            InvalidInput: another visible record of the same scope has its key.
        """
        check_sizes([record])
        session = wire_session(record.kind, record.scope)
        waiting = [entry.stored for entry in self._outbox.waiting([record.scope.owner])]
        found = self._agent.stored(session)
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
        new = Stored(record, before[record.id].written, version, ttl_days=wire_ttl(record, now))
        self._outbox.put([new])
        self._listed.discard(session)
        self._courier.wake()


def _emptied(record: Record) -> Record:
    """Return a record without what it says."""
    return replace(record, content="-", search_text=None, metadata={})
