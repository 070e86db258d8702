"""Writing to a server: each change goes into the outbox as a new version of its record.

Nothing on a server is changed in place. Before a record is stored, the server is asked whether one
with its key exists, unless that is known. If the server cannot be asked, copies may arise, which
reading merges (`versions.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import TypeVar

from langchain_kronvex.core import errors
from langchain_kronvex.core.records import Page, Place, Record, Replacement, Selection
from langchain_kronvex.storage.client_envelope import VersionedRecord, wire_session
from langchain_kronvex.storage.record import (
    key_taken,
    last_of_chain,
    moved_id,
    moved_ids,
    pointing_to,
    related_ids,
    renewed,
    superseded,
)
from langchain_kronvex.storage.rest.envelope import check_sizes, one_session, wire_ttl
from langchain_kronvex.storage.rest.reading import find, stored_records
from langchain_kronvex.storage.rest.remote_agent import NUMBERING, RemoteAgent
from langchain_kronvex.storage.rest.versions import is_selected, latest, visible_latest

_PAUSE_AFTER_FAILED_CHECK_SECONDS = 30.0
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)

T = TypeVar("T")
_Held = dict[Place, VersionedRecord]


def add(agent: RemoteAgent, records: Sequence[Record], now: datetime) -> list[Record]:
    """Store records; one whose key exists renews the older record."""
    check_sizes(records)
    held = _held(agent, records, now)
    written = _written(agent, records, held)
    taken: list[VersionedRecord] = []
    retired: list[VersionedRecord] = []
    stored_as: list[Record] = []
    superseding: list[tuple[str, Record]] = []
    with NUMBERING.lock:  # no other write comes between the records of this one
        for record in records:
            if record.completes and record.id in written and written[record.id] is None:
                stored_as.append(record)  # the record that it completes is erased
                continue
            older = held.get(record.place)
            if older is None or older.record.id == record.id:
                kept = replace(record, completes=False)
                stored = _next_version(agent, kept, now, written.get(record.id))
            else:
                stored = _next_version(agent, renewed(older.record, record), now, older.written)
                if record.completes:
                    retired.append(_retired(agent, record, written.get(record.id)))
            stored_as.append(stored.record)
            taken.append(_noted(agent, stored, held))
            superseding += [(id_, stored.record) for id_ in record.supersedes]
    _queue(agent, [*taken, *_superseded(agent, superseding, now), *retired])
    return stored_as


def _superseded(
    agent: RemoteAgent, superseding: Sequence[tuple[str, Record]], now: datetime
) -> list[VersionedRecord]:
    """Return new versions of memories that others supersede: of each chain the last one.

    Raises:
        MemoryNotFound: the owner has no memory with one of the ids.
        ServiceError: the server cannot be asked.
    """
    changed: list[VersionedRecord] = []
    for session in {wire_session("memory", newer.scope): None for _, newer in superseding}:
        newer_of = [p for p in superseding if wire_session("memory", p[1].scope) == session]
        waiting = agent.outbox.records([newer_of[0][1].scope.owner])
        found = visible_latest([*stored_records(agent, session), *waiting], now)
        written = {s.record.id: s.written for s in found}
        known = {s.record.id: s.record for s in found} | {newer.id: newer for _, newer in newer_of}
        for id_, newer in newer_of:
            last = last_of_chain(id_, known.get)
            if last.id != newer.id:
                known[last.id] = superseded(last, newer)
                changed.append(_next_version(agent, known[last.id], now, written.get(last.id)))
        agent.known.forget_places(session)
    return changed


def put(agent: RemoteAgent, wanted: Replacement, now: datetime) -> None:
    """Store records in place of those with their keys; of several the latest stays.

    Deletions go through the outbox too, behind the records: for a moment, or after a crash, the
    server may hold both, but it always holds one of them.

    Raises:
        ServiceError: something is to be deleted, and the server cannot be asked.
    """
    check_sizes(wanted.records)
    leaving = _leaving(agent, wanted.deleted)
    held = _held(agent, wanted.records, now)
    taken: list[VersionedRecord] = []
    retired: list[VersionedRecord] = []
    for stored in leaving:
        held.pop(stored.record.place, None)
        emptied = replace(stored.record, content="-", search_text=None, metadata={})
        retired.append(_retired(agent, emptied, stored.written))
    for record in wanted.records:
        older = held.get(record.place)
        if older is not None:
            record = replace(record, said_at=older.record.said_at)
            retired.append(_retired(agent, older.record, older.written))
        taken.append(_noted(agent, _next_version(agent, record, now), held))
    _queue(agent, [*taken, *retired])


def change(agent: RemoteAgent, record: Record, now: datetime) -> VersionedRecord:
    """Write a new version of an existing record, and return it.

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
        raise errors.MemoryNotFound()
    place = record.place
    if any(s.record.place == place and id_ != record.id for id_, s in before.items()):
        raise key_taken()
    new = _next_version(agent, record, now, before[record.id].written)
    _queue(agent, [new])
    agent.known.forget_places(session)
    return new


def restore(agent: RemoteAgent, records: Sequence[Record], now: datetime) -> int:
    """Store exported records, as `MemoryBackend.restore` says; return how many count as new.

    Access counts and vectors are not restored: the API has no fields for them.
    """
    held = find(agent, Selection(kind=None, scope=None), Page(), now)
    by_id = {record.id: record for record in held}
    by_place = {record.place: record for record in held}
    chosen, fresh, moved = [], 0, dict[str, str]()
    for given in records:
        record = given
        while record.id in by_id and by_id[record.id].place[:3] != record.place[:3]:
            record = replace(record, id=moved_id(record, agent.location))
        related = {id_: by_id[id_].scope.owner for id_ in related_ids(record) if id_ in by_id}
        taken = {id_ for id_, owner in related.items() if owner != record.scope.owner}
        record = pointing_to(record, moved_ids(record, taken, agent.location))
        if record.id in by_id:
            continue
        older = by_place.get(record.place)
        if older is not None and older.content != record.content:
            if older.created_at >= record.created_at:
                continue
            record = replace(record, id=older.id, completes=True)
        if older is not None and older.id != record.id:  # it takes the place of this one
            moved[record.id] = older.id
        fresh += older is None or record.completes
        by_id[record.id] = by_place[record.place] = record
        chosen.append(record)
    add(agent, [pointing_to(record, moved) for record in chosen], now)
    return fresh


def _leaving(agent: RemoteAgent, deleted: Sequence[Selection]) -> list[VersionedRecord]:
    """Return the selected records, including copies."""
    owners = {selection.scope.owner for selection in deleted if selection.scope is not None}
    found = agent.outbox.records(sorted(owners)) if owners else []
    for session in dict.fromkeys(map(one_session, deleted)):
        found += stored_records(agent, session)
        agent.known.forget_places(session)
    return [s for s in latest(found) if any(is_selected(s.record, d) for d in deleted)]


def _noted(agent: RemoteAgent, stored: VersionedRecord, held: _Held) -> VersionedRecord:
    """Note the place of a record that is about to be stored."""
    held[stored.record.place] = stored
    agent.known.add_place(stored.record.place)
    return stored


def _next_version(
    agent: RemoteAgent, record: Record, now: datetime, written: int | None = None
) -> VersionedRecord:
    """Return a version of a record; without `written`, the first one."""
    version = NUMBERING.next()
    record = replace(record, vector=None, said_at=record.said_at or record.created_at)
    return VersionedRecord(record, written or version, version, ttl_days=wire_ttl(record, now))


def _retired(agent: RemoteAgent, record: Record, written: int | None) -> VersionedRecord:
    """Return the last version of a record that another record replaces."""
    over = replace(record, key=record.id, expires_at=_LONG_AGO, pinned=False, completes=False)
    version = NUMBERING.next()
    return VersionedRecord(over, written or version - 1, version, gone=True)


def _written(
    agent: RemoteAgent, records: Sequence[Record], held: Mapping[Place, VersionedRecord]
) -> dict[str, int | None]:
    """Return when the records that are to be completed were first written, by id.

    None stands for a record that does not exist. A record that may be on a server that cannot
    be asked is left out.
    """
    completing = [record for record in records if record.completes]
    if not completing:
        return {}
    # The outbox first: an entry that is sent while it is being read is known from then on.
    waiting = agent.outbox.records(sorted({record.scope.owner for record in completing}))
    written: dict[str, int | None] = {s.record.id: s.written for s in [*held.values(), *waiting]}
    for record in completing:
        if known := agent.known.position(record.id):
            written.setdefault(record.id, known.written)
    unknown = {r.id: wire_session(r.kind, r.scope) for r in completing if r.id not in written}
    for session in sorted(set(unknown.values())):
        found = _asked(agent, session)
        if found is not None:
            there = {stored.record.id: stored.written for stored in found}
            written |= {id_: there.get(id_) for id_, s in unknown.items() if s == session}
    return written


def _held(agent: RemoteAgent, records: Sequence[Record], now: datetime) -> _Held:
    """Return the visible records that the new ones may meet, by place.

    The server is asked once for each of its sessions, and again when a text is repeated.
    """
    meeting = [record for record in records if record.key != record.id]
    if not meeting:
        return {}
    found = agent.outbox.records(sorted({record.scope.owner for record in meeting}))
    sessions = {(wire_session(r.kind, r.scope), r.place) for r in meeting}
    for session in sorted({s for s, place in sessions if not agent.known.is_free(s, place)}):
        found += _asked(agent, session) or []
    visible = visible_latest(found, now) if found else ()
    return {stored.record.place: stored for stored in visible}


def _queue(agent: RemoteAgent, versions: Sequence[VersionedRecord]) -> None:
    """Put versions into the outbox, to be sent in the background.

    Raises:
        Unauthorized: the server rejects the API key; nothing was stored.
    """
    if not agent.transport.is_admitted or isinstance(agent.outage, errors.Unauthorized):
        _ask(agent, agent.check_key)
    agent.outbox.put(versions)
    agent.wake()


def _asked(agent: RemoteAgent, session: str) -> list[VersionedRecord] | None:
    """Return the server's records of a session; None if it cannot be asked."""
    found = _ask(agent, lambda deadline: stored_records(agent, session, deadline))
    if found is not None:
        agent.known.add_session(session, found)
    return found


def _ask(agent: RemoteAgent, question: Callable[[float], T]) -> T | None:
    """Return the server's answer to a question with a deadline; None if it cannot be asked.

    Raises:
        Unauthorized: the server rejects the API key.
    """
    is_away = not isinstance(agent.outage, errors.Unauthorized | None)
    if is_away or time.monotonic() < agent.no_checks_before:
        return None
    try:
        return question(time.monotonic() + agent.limits.check)
    except errors.Unauthorized:
        raise
    except errors.ServiceError:
        agent.no_checks_before = time.monotonic() + _PAUSE_AFTER_FAILED_CHECK_SECONDS
        return None
