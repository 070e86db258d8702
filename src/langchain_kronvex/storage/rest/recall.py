"""Recall on a server: its best memories, filtered again, and completed if there are too few.

A server returns at most 20, may return memories of other users, and may waste places on memories
that are filtered out. If too few are left, the owner's memories are listed and the best of the rest
are found here by their words. Memories that are still in the outbox are found the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_kronvex.core.errors import ServerMisbehaved
from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import Match, Selection
from langchain_kronvex.storage.client_envelope import (
    AGENT_SESSION,
    VersionedRecord,
    wire_session,
)
from langchain_kronvex.storage.indexes import recall_owners
from langchain_kronvex.storage.record import Place, place_of
from langchain_kronvex.storage.rest.http import answers, requests
from langchain_kronvex.storage.rest.http.answers import WireMemory
from langchain_kronvex.storage.rest.reading import read, stored_records
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent
from langchain_kronvex.storage.rest.versions import is_selected, ranked, visible_latest

_Found = list[tuple[VersionedRecord, WireMemory]]


def recall(agent: RemoteAgent, request: RecallRequest) -> list[Match]:
    """Return the best matches on the server and in the outbox, most similar first."""
    return recall_owners(request, lambda each: _recall_owner(agent, each))


def _recall_owner(agent: RemoteAgent, request: RecallRequest) -> list[Match]:
    owner = request.scope.owner
    chosen = Selection(kind="memory", scope=request.scope, type=request.memory_type)
    # The outbox first: an entry that is sent meanwhile is then seen twice, which does no harm.
    unsent = agent.outbox.records([owner])
    found, full = _ask_server(agent, request, chosen)
    matches = _merged(agent, found, unsent, request, chosen)
    if full and len(matches) < request.top_k:
        session = wire_session("memory", Scope(owner)) if owner else None
        rest = [*unsent, *stored_records(agent, session)]
        matches = _merged(agent, found, rest, request, chosen)
    return matches


def _ask_server(
    agent: RemoteAgent, request: RecallRequest, chosen: Selection
) -> tuple[_Found, bool]:
    """Return what the server finds, and whether it may hold more."""
    owner = request.scope.owner
    exact = owner and request.scope.only_session is None
    first = min(request.top_k, requests.MAX_TOP_K) if exact else requests.MAX_TOP_K
    # The type "episodic" is not sent: a server may have given such memories another type.
    wire_type = None if request.memory_type == "episodic" else request.memory_type
    sessions = (wire_session("memory", Scope(owner or None)), *(() if owner else (None,)))
    found: dict[str, tuple[VersionedRecord, WireMemory]] = {}
    full = False
    for top_k in dict.fromkeys((first, requests.MAX_TOP_K)):
        full = False
        for session in sessions:
            answer = agent.ask(
                requests.recall_request(
                    query=request.query, top_k=top_k, session=session, memory_type=wire_type
                )
            )
            raws = answers.read_recall(answer)
            full |= len(raws) >= top_k
            for raw in _own(agent, raws, session):
                for stored in read(agent, [raw]):
                    found[raw.id] = (stored, raw)
        fitting = visible_latest([stored for stored, _ in found.values()], request.now)
        if not full or sum(is_selected(s.record, chosen) for s in fitting) >= request.top_k:
            break
    return list(found.values()), full


def _own(agent: RemoteAgent, raws: Sequence[WireMemory], session: str | None) -> list[WireMemory]:
    """Drop memories of another session than the requested one, and report them."""
    if session is None:  # all sessions were searched; only agent-level memories are wanted
        return [raw for raw in raws if raw.session in (None, AGENT_SESSION)]
    own = [raw for raw in raws if raw.session == session]
    if len(own) < len(raws):
        agent.report(
            ServerMisbehaved(
                f"The server returned {len(raws) - len(own)} memories of others to a recall that "
                "named its user; they were dropped. Use one agent for each user, or a server that "
                "separates users."
            )
        )
    return own


def _merged(
    agent: RemoteAgent,
    found: _Found,
    rest: Sequence[VersionedRecord],
    request: RecallRequest,
    chosen: Selection,
) -> list[Match]:
    """Join the server's matches with memories that the server has not scored."""
    scores: dict[Place, tuple[float, float]] = {}
    for stored, raw in found:
        place = place_of(stored.record)
        old = scores.get(place, (0.0, 0.0))
        scores[place] = (max(old[0], raw.similarity), max(old[1], raw.probability))
    everything = visible_latest([*(stored for stored, _ in found), *rest], request.now)
    fitting = [
        stored
        for stored in everything
        if agent.known.is_current(stored) and is_selected(stored.record, chosen)
    ]
    matches = [
        Match(stored.record, *scores[place])
        for stored in fitting
        if (place := place_of(stored.record)) in scores and scores[place][0] >= request.threshold
    ]
    matches += ranked([s for s in fitting if place_of(s.record) not in scores], request)
    matches.sort(key=lambda match: -match.similarity)
    return matches[: request.top_k]
