"""Recall on a server: its best memories, filtered again, and completed if there are too few.

A server returns at most 20 memories, some of which may be filtered out here, for example those of
other users. If too few are left, the owner's memories are listed, and the best of the rest are
found here by their words. Memories that are still in the outbox are found the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_kronvex.core.errors import ServerMisbehaved
from langchain_kronvex.core.records import Match, Place, Scope, Selection
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.client_envelope import AGENT_SESSION, VersionedRecord, wire_session
from langchain_kronvex.storage.rest.http import api
from langchain_kronvex.storage.rest.http.api import WireMemory
from langchain_kronvex.storage.rest.reading import stored_records
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent
from langchain_kronvex.storage.rest.versions import is_selected, ranked, visible_latest

_OTHERS = (
    "The server returned {} memories of others to a recall that named its user; they were dropped. "
    "Use one agent for each user, or a server that separates users."
)
_Scores = dict[Place, tuple[float, float]]  # similarity and probability


def recall_owner(agent: RemoteAgent, request: RecallRequest) -> list[Match]:
    """Return the best matches on the server and in the outbox, most similar first."""
    owner = request.scope.owner
    # The outbox first: an entry that is sent meanwhile is then seen twice, which does no harm.
    known = agent.outbox.records([owner])
    found, scores, full = _ask_server(agent, request)
    known += found
    matches = _matches(agent, known, scores, request)
    if full and len(matches) < request.top_k:
        known += stored_records(agent, wire_session("memory", Scope(owner)) if owner else None)
        matches = _matches(agent, known, scores, request)
    return matches


def _ask_server(
    agent: RemoteAgent, request: RecallRequest
) -> tuple[list[VersionedRecord], _Scores, bool]:
    """Return what the server finds, its scores, and whether the server may hold more."""
    owner = request.scope.owner
    exact = owner and request.scope.only_session is None
    first = min(request.top_k, api.MAX_TOP_K) if exact else api.MAX_TOP_K
    # The type "episodic" is not sent: a server may have given such memories another type.
    types = request.memory_types or ()
    wire_type = types[0] if len(types) == 1 and types != ("episodic",) else None
    is_current = not request.include_superseded
    sessions = (wire_session("memory", Scope(owner or None)), *(() if owner else (None,)))
    found: list[VersionedRecord] = []
    scores: _Scores = {}
    full = False
    for top_k in dict.fromkeys((first, api.MAX_TOP_K)):
        full = False
        for session in sessions:
            asked = api.recall_request(request.query, top_k, session, wire_type, is_current)
            answer = agent.ask(asked)
            raws = api.read_recall(answer)
            full |= len(raws) >= top_k
            for raw in _own(agent, raws, session):
                for stored in agent.read([raw]):
                    found.append(stored)
                    place = stored.record.place
                    told = (raw.similarity, raw.probability)
                    scores[place] = max(scores.get(place, told), told)
        if not full or len(_wanted(found, request)) >= request.top_k:
            break
    return found, scores, full


def _own(agent: RemoteAgent, raws: Sequence[WireMemory], session: str | None) -> list[WireMemory]:
    """Drop memories of another session than the requested one, and report them."""
    if session is None:  # all sessions were searched; only agent-level memories are wanted
        return [raw for raw in raws if raw.session in (None, AGENT_SESSION)]
    own = [raw for raw in raws if raw.session == session]
    if len(own) < len(raws):
        agent.report(ServerMisbehaved(_OTHERS.format(len(raws) - len(own))))
    return own


def _wanted(found: Sequence[VersionedRecord], request: RecallRequest) -> list[VersionedRecord]:
    """Return the visible memories that the request is about."""
    chosen = Selection(
        kind="memory", scope=request.scope, types=request.memory_types, since=request.since,
        until=request.until, as_of=request.as_of, is_current=not request.include_superseded,
    )  # fmt: skip
    return [
        s
        for s in visible_latest(found, request.now)
        if is_selected(s.record, chosen)
        and (request.filter is None or request.filter.accepts(s.record.metadata))
    ]


def _matches(
    agent: RemoteAgent, known: Sequence[VersionedRecord], scores: _Scores, request: RecallRequest
) -> list[Match]:
    """Return the best of the known memories; those without a score of the server by their words."""
    matches: list[Match] = []
    unscored: list[VersionedRecord] = []
    for stored in filter(agent.known.is_current, _wanted(known, request)):
        similarity, probability = scores.get(stored.record.place, (None, 0.0))
        if similarity is None:
            unscored.append(stored)
        elif similarity >= request.threshold:
            matches.append(Match(stored.record, similarity, probability))
    matches += ranked(unscored, request)
    matches.sort(key=lambda match: -match.similarity)
    return matches[: request.top_k]
