"""Writing to a server: each change goes into the outbox as a new version of its record.

Nothing on a server is changed in place. Before a record is stored, the server is asked whether one
with its key exists, unless that is known. If the server cannot be asked, copies may arise, which
reading merges (`versions.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound, ServiceError
from langchain_kronvex.storage.backend import Record, Selection, renewed
from langchain_kronvex.storage.client_envelope import VersionedRecord, wire_session
from langchain_kronvex.storage.record import Place, place_of
from langchain_kronvex.storage.rest.envelope import check_sizes, one_session, wire_ttl
from langchain_kronvex.storage.rest.reading import stored_records
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent
from langchain_kronvex.storage.rest.versions import is_selected, latest, visible_latest

_PAUSE_AFTER_FAILED_CHECK_SECONDS = 30.0
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


def add(agent: RemoteAgent, records: Sequence[Record], now: datetime) -> list[Record]:
    """Store records; one whose key exists renews the older record."""
    check_sizes(records)
    held = _held(agent, records, now)
    written = _written(agent, records, held)
    taken: list[VersionedRecord] = []
    retired: list[VersionedRecord] = []
    stored_as: list[Record] = []
    for record in records:
        if record.completes and record.id in written and written[record.id] is None:
            stored_as.append(record)  # the record that it completes is erased
            continue
        stored = _new_version(agent, record, held, written, now)
        stored_as.append(stored.record)
        taken.append(_noted(agent, stored, held))
        if record.completes and stored.record.id != record.id:
            retired.append(_retired(agent, record, written.get(record.id)))
    agent.outbox.put([*taken, *retired])
    return stored_as


def put(
    agent: RemoteAgent, records: Sequence[Record], now: datetime, deleted: Sequence[Selection]
) -> None:
    """Store records in place of those with their keys; of several the latest stays.

    Deletions go through the outbox too, behind the records: the server may hold both for a
    moment, also after a crash, but never neither.
    """
    check_sizes(records)
    leaving = _leaving(agent, deleted)
    held = _held(agent, records, now)
    taken: list[VersionedRecord] = []
    retired = [
        _retired(agent, replace(s.record, content="-", search_text=None, metadata={}), s.written)
        for s in leaving
    ]
    for stored in leaving:
        held.pop(place_of(stored.record), None)
    for record in records:
        older = held.get(place_of(record))
        version = agent.clock.next()
        said = older.record.said_at if older else record.said_at
        record = replace(record, said_at=said or record.created_at, vector=None)
        new = VersionedRecord(record, version, version, ttl_days=wire_ttl(record, now))
        taken.append(_noted(agent, new, held))
        if older is not None:
            retired.append(_retired(agent, older.record, older.written))
    agent.outbox.put([*taken, *retired])


def change(agent: RemoteAgent, record: Record, now: datetime) -> None:
    """Write a new version of an existing record.

    Raises:
        MemoryNotFound: the record is gone.
        InvalidInput: another visible record of the same scope has its key.
    """
    check_sizes([record])
    session = wire_session(record.kind, record.scope)
    waiting = agent.outbox.records([record.scope.owner])
    found = visible_latest([*stored_records(agent, session), *waiting], now)
    before = {stored.record.id: stored for stored in found}
    if record.id not in before:
        raise MemoryNotFound()
    place = place_of(record)
    if any(place_of(s.record) == place and id_ != record.id for id_, s in before.items()):
        raise InvalidInput(
            "A memory with this text and type exists in the same scope already; "
            "forget one of the two."
        )
    version = agent.clock.next()
    ttl = wire_ttl(record, now)
    new = VersionedRecord(record, before[record.id].written, version, ttl_days=ttl)
    agent.outbox.put([new])
    agent.known.forget_places(session)


def _leaving(agent: RemoteAgent, deleted: Sequence[Selection]) -> list[VersionedRecord]:
    """Return the selected records, including copies.

    Raises:
        ServiceError: the server cannot be asked.
    """
    owners = {selection.scope.owner for selection in deleted if selection.scope is not None}
    found = agent.outbox.records(sorted(owners))
    for session in dict.fromkeys(map(one_session, deleted)):
        found += stored_records(agent, session)
        agent.known.forget_places(session)
    return [s for s in latest(found) if any(is_selected(s.record, d) for d in deleted)]


def _noted(
    agent: RemoteAgent, stored: VersionedRecord, held: dict[Place, VersionedRecord]
) -> VersionedRecord:
    """Note the place of a record that is about to be stored."""
    held[place_of(stored.record)] = stored
    agent.known.add_place(place_of(stored.record))
    return stored


def _new_version(
    agent: RemoteAgent,
    record: Record,
    held: Mapping[Place, VersionedRecord],
    written_at: Mapping[str, int | None],
    now: datetime,
) -> VersionedRecord:
    version = agent.clock.next()
    older = held.get(place_of(record))
    written = version
    if older is not None and older.record.id != record.id:
        record, written = renewed(older.record, record), older.written
    elif record.completes:
        written = written_at.get(record.id) or version
        record = replace(record, completes=False)
    said = record.said_at or record.created_at
    record = replace(record, vector=None, said_at=said)
    return VersionedRecord(record, written, version, ttl_days=wire_ttl(record, now))


def _written(
    agent: RemoteAgent, records: Sequence[Record], held: Mapping[Place, VersionedRecord]
) -> dict[str, int | None]:
    """Return when the records that are to be completed were first written, by id.

    None stands for a record that does not exist. A record that may be on a server that cannot
    be asked is left out.
    """
    completing = [record for record in records if record.completes]
    written: dict[str, int | None] = {s.record.id: s.written for s in held.values()}
    # The outbox first: an entry that is sent while it is being read is known from then on.
    waiting = agent.outbox.records(sorted({record.scope.owner for record in completing}))
    written |= {stored.record.id: stored.written for stored in waiting}
    for record in completing:
        known = agent.known.position(record.id)
        if record.id not in written and known:
            written[record.id] = known.written
    unknown = [record for record in completing if record.id not in written]
    for session in sorted({wire_session(r.kind, r.scope) for r in unknown}):
        found = _asked(agent, session)
        if found is not None:
            there = {stored.record.id: stored.written for stored in found}
            of_session = [r for r in unknown if wire_session(r.kind, r.scope) == session]
            written |= {record.id: there.get(record.id) for record in of_session}
    return written


def _retired(agent: RemoteAgent, record: Record, written: int | None) -> VersionedRecord:
    """Return the last version of a record that another record replaces."""
    over = replace(record, key=record.id, expires_at=_LONG_AGO, pinned=False, completes=False)
    version = agent.clock.next()
    return VersionedRecord(over, written or version - 1, version, gone=True)


def _held(
    agent: RemoteAgent, records: Sequence[Record], now: datetime
) -> dict[Place, VersionedRecord]:
    """Return the visible records that the new ones may meet, by place.

    The server is asked once for each of its sessions, and again when a text is repeated.
    """
    meeting = [record for record in records if record.key != record.id]
    found = agent.outbox.records(sorted({record.scope.owner for record in meeting}))
    places: dict[str, list[Place]] = {}
    for record in meeting:
        session = wire_session(record.kind, record.scope)
        places.setdefault(session, []).append(place_of(record))
    for session in sorted(places):
        if not agent.known.is_free(session, places[session]):
            found += _asked(agent, session) or []
    visible = visible_latest(found, now) if found else ()
    return {place_of(stored.record): stored for stored in visible}


def _asked(agent: RemoteAgent, session: str) -> list[VersionedRecord] | None:
    """Return the server's records of a session; None if it cannot be asked."""
    if agent.outage is not None or time.monotonic() < agent.no_checks_before:
        return None
    try:
        found = stored_records(agent, session, agent.check_seconds)
    except ServiceError:
        agent.no_checks_before = time.monotonic() + _PAUSE_AFTER_FAILED_CHECK_SECONDS
        return None
    agent.known.add_session(session, found)
    return found
