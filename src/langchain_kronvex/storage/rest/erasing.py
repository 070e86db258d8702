"""Erasing on a server, and making sure: what is erased is looked for again.

Whole users go by the API's own endpoint for that, which a compatible server makes final; the rest
goes one by one. Servers that only mark memories as deleted cannot be made to forget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from langchain_kronvex.core.errors import (
    MemoryNotFound,
    RateLimited,
    ServerMisbehaved,
    ServerUnavailable,
    ServiceError,
)
from langchain_kronvex.core.types import Scope
from langchain_kronvex.storage.backend import Selection
from langchain_kronvex.storage.rest.envelope import Stored, belongs_to, one_session, opened
from langchain_kronvex.storage.rest.http import api as wire
from langchain_kronvex.storage.rest.http.api import Request, WireMemory
from langchain_kronvex.storage.rest.outbox.sender import Courier
from langchain_kronvex.storage.rest.remote_agent import ServerAgent
from langchain_kronvex.storage.rest.versions import is_selected, place_of, present

_ROUNDS = 3
_PLAIN_SESSION = re.compile(r"[\w@:+-][\w@:+.-]*", re.ASCII)  # what no server reads as a path


class Erasing:
    """Erases records of an agent.

    Args:
        agent: Whose.
        courier: What waits to be sent is taken back first.
        timeout: Seconds to wait for other processes that are sending.
    """

    def __init__(self, agent: ServerAgent, courier: Courier, timeout: float) -> None:
        self._agent, self._courier, self._timeout = agent, courier, timeout

    def erase(self, selection: Selection, now: datetime) -> int:
        """Erase the selected records; return how many of them were visible.

        Of whole users, all; else those that were not erased by others at the same time: where a
        server tells who was first, of two who erase one record one counts it.

        Raises:
            ServerMisbehaved: the server still lists some of them afterwards.
        """
        withdrawn: list[Stored] = self._courier.withdraw(
            lambda s: is_selected(s.record, selection), self._timeout
        )
        session = one_session(selection)
        raws = self._agent.listing(session)
        held = self._agent.read(_of(raws, session))
        everything = present([*held, *withdrawn], now)
        visible = [s.record.id for s in everything if is_selected(s.record, selection)]
        erased: list[Stored] = []
        for attempt in range(_ROUNDS):
            targets = _targets(_of(raws, session), selection)
            if not targets:
                break
            if attempt == 0 and _is_whole(selection):
                self._at_once(targets, selection.scope)
                raws = self._agent.listing(session)
                targets = _targets(_of(raws, session), selection)
            for raw in targets:
                stored = opened(raw)
                if self._was_first(raw.id) and stored:
                    erased.append(stored)
            self._agent.forget(_ids(targets))
            raws = self._agent.listing(session)
        if _targets(_of(raws, session), selection):
            raise ServerMisbehaved("The server still lists memories that it was told to delete.")
        if _is_whole(selection):
            return len(visible)
        return _count(visible, _latest(held), _latest(erased))

    def _was_first(self, server_id: str) -> bool:
        """Delete a memory; False when others had deleted it.

        When an answer was lost, and the memory is gone, it was this call that deleted it, as far
        as anybody can tell.
        """

        def build(agent: str) -> Request:
            return wire.delete_request(agent, server_id)

        try:
            self._agent.ask(lambda agent: replace(build(agent), repeatable=False))
        except MemoryNotFound:
            return False
        except (ServerUnavailable, RateLimited) as error:
            if error.retry_after_seconds == 0:  # it has hung once: do not wait as long again
                raise
            self._agent.delete(server_id)
        return True

    def _at_once(self, targets: Sequence[WireMemory], scope: Scope | None) -> None:
        """Erase whole users, or everything, with one request where that can go."""
        if scope is None:
            self._try(wire.clear_request)
        elif scope.only_session is None:
            for session in sorted({raw.session for raw in targets if raw.session}):
                if _PLAIN_SESSION.fullmatch(session):
                    self._try_session(session)
        self._agent.forget(_ids(targets))

    def _try_session(self, session: str) -> None:
        def build(agent: str) -> Request:
            return wire.erase_user_request(agent, session)

        self._try(build)

    def _try(self, build: Callable[[str], Request]) -> None:
        try:
            self._agent.ask(build)
        except (ServiceError, MemoryNotFound):
            return  # then one by one, which says what is wrong


def _of(raws: Sequence[WireMemory], session: str | None) -> list[WireMemory]:
    return [raw for raw in raws if session is None or raw.session == session]


def _targets(raws: Sequence[WireMemory], selection: Selection) -> list[WireMemory]:
    """Return what is to be deleted: all versions and copies of the selected records.

    Of whole users also what cannot be read as a record any more.
    """
    scope = selection.scope
    records = [(raw, opened(raw)) for raw in raws]
    places = {place_of(s.record) for _, s in records if s and is_selected(s.record, selection)}
    ids = {s.record.id for _, s in records if s and is_selected(s.record, selection)}
    whole = _is_whole(selection)
    return [
        raw
        for raw, stored in records
        if (stored and (place_of(stored.record) in places or stored.record.id in ids))
        or (whole and _is_of_whole(raw, scope))
    ]


def _latest(found: Iterable[Stored]) -> dict[str, int]:
    """Return the last version of each record, by id."""
    versions: dict[str, int] = {}
    for stored in found:
        id_ = stored.record.id
        versions[id_] = max(versions.get(id_, 0), stored.version)
    return versions


def _count(visible: Sequence[str], held: Mapping[str, int], erased: Mapping[str, int]) -> int:
    """Return how many visible records went by this call: the last version that a server held.

    What it held no version of was in the outbox, from which only one takes it back.
    """
    return sum(id_ not in held or erased.get(id_, -1) >= held[id_] for id_ in visible)


def _is_whole(selection: Selection) -> bool:
    """Tell whether a selection names a scope and nothing else."""
    return selection == Selection(kind=None, scope=selection.scope)


def _is_of_whole(raw: WireMemory, scope: Scope | None) -> bool:
    if scope is None:
        return True
    return bool(scope) and scope.only_session is None and belongs_to(raw.session, scope.owner)


def _ids(raws: Sequence[WireMemory]) -> list[str]:
    return [stored.record.id for stored in map(opened, raws) if stored]
