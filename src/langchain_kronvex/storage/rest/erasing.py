"""Erasing on a server, and checking afterwards that it no longer lists the memories.

Whole users are erased by the API's own endpoint, which a compatible server makes final; everything
else is deleted one by one. Servers that only mark memories as deleted cannot be made to forget.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from datetime import datetime

from langchain_kronvex.core.errors import MemoryNotFound, ServerMisbehaved, ServiceError
from langchain_kronvex.core.records import Scope, Selection
from langchain_kronvex.storage.client_envelope import VersionedRecord, belongs_to
from langchain_kronvex.storage.rest.envelope import one_session, record_from_wire
from langchain_kronvex.storage.rest.http import api
from langchain_kronvex.storage.rest.http.api import WireMemory
from langchain_kronvex.storage.rest.reading import listing
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent
from langchain_kronvex.storage.rest.versions import is_selected, latest, visible_latest

_ROUNDS = 4
_PLAIN_SESSION = re.compile(r"[\w@:+-][\w@:+.-]*", re.ASCII)  # no server reads these as a path


def erase(
    agent: RemoteAgent, selection: Selection, withdrawn: Sequence[VersionedRecord], now: datetime
) -> int:
    """Erase the selected records; return how many of them were visible.

    For whole users all are counted. Otherwise a record that another client erased first is not
    counted, if the server says so.

    Args:
        agent: The agent whose records they are.
        selection: Which records.
        withdrawn: The selected records that were taken out of the outbox.
        now: The moment of erasing.

    Raises:
        ServerMisbehaved: the server still lists some of them afterwards.
    """
    session, whole = one_session(selection), _is_whole(selection)
    raws = listing(agent, session)
    held = agent.read(raws)
    everything = visible_latest([*held, *withdrawn], now)
    visible = [s.record.id for s in everything if is_selected(s.record, selection)]
    if whole and (targets := _targets(raws, selection)):
        _erase_users(agent, targets, selection.scope)
        raws = listing(agent, session)
    taken: set[str | None] = set()  # server ids that another client deleted first
    for _ in range(_ROUNDS):
        targets = _targets(raws, selection)
        if not targets:
            break
        agent.known.forget(s.record.id for s in map(record_from_wire, targets) if s)
        taken |= {raw.id for raw in targets if not agent.delete(raw.id)}
        raws = listing(agent, session)
    else:
        raise ServerMisbehaved("The server still lists memories that it was told to delete.")
    last = {stored.record.id: stored.server_id for stored in latest(held)}
    return len(visible) if whole else sum(last.get(id_) not in taken for id_ in visible)


def _erase_users(agent: RemoteAgent, targets: Sequence[WireMemory], scope: Scope | None) -> None:
    """Erase whole users, or everything, with one request each where the API allows it."""
    if scope and scope.only_session:
        return
    sessions = sorted({raw.session for raw in targets if raw.session})
    plain = filter(_PLAIN_SESSION.fullmatch, sessions)
    erasures = [api.CLEAR] if scope is None else map(api.erase_user_request, plain)
    for request in erasures:
        with contextlib.suppress(ServiceError, MemoryNotFound):  # they are deleted one by one next
            agent.ask(request)


def _targets(raws: Sequence[WireMemory], selection: Selection) -> list[WireMemory]:
    """Return the memories to delete: all versions and copies of the selected records.

    For whole users also those that cannot be read as a record.
    """
    records = [(raw, record_from_wire(raw)) for raw in raws]
    selected = [s.record for _, s in records if s and is_selected(s.record, selection)]
    places, ids = {record.place for record in selected}, {record.id for record in selected}

    def is_target(raw: WireMemory, stored: VersionedRecord | None) -> bool:
        if stored and (stored.record.place in places or stored.record.id in ids):
            return True
        scope = selection.scope if _is_whole(selection) else Scope()
        if not scope or scope.only_session is not None:
            return scope is None
        return belongs_to(raw.session, scope.owner)

    return [raw for raw, stored in records if is_target(raw, stored)]


def _is_whole(selection: Selection) -> bool:
    """Return whether a selection names a scope and nothing else."""
    return selection == Selection(kind=None, scope=selection.scope)
