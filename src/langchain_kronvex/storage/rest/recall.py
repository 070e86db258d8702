"""Recall on a server: its best memories, filtered again, and completed where it falls short.

A server returns at most 20, may return those of other users, and may fill the places with what is
filtered out. When that leaves too few, the owner's memories are listed and the best of the rest are
found here, by their words. What the server has not got yet is found the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from langchain_kronvex.core.background import OnError
from langchain_kronvex.core.effects import Plan
from langchain_kronvex.core.errors import ServerMisbehaved
from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import Match, Selection
from langchain_kronvex.storage.rest.envelope import AGENT_SESSION, Stored, wire_session
from langchain_kronvex.storage.rest.http import api as wire
from langchain_kronvex.storage.rest.http.api import WireMemory
from langchain_kronvex.storage.rest.remote_agent import ServerAgent
from langchain_kronvex.storage.rest.versions import Place, is_selected, place_of, present, ranked


class RemoteRecall:
    """Finds memories of one owner.

    Args:
        agent: Whom to ask.
        report: Told when the server returns memories of others.
    """

    def __init__(self, agent: ServerAgent, report: OnError) -> None:
        self._agent, self._report = agent, report

    def of(self, owner: str, asked: RecallRequest, waiting: Sequence[Stored]) -> Plan[list[Match]]:
        """Return the best matches of an owner, most similar first; `waiting` is in the outbox."""
        scope = asked.scope if owner == asked.scope.owner else Scope()
        chosen = Selection(kind="memory", scope=scope, type=asked.memory_type)
        found, full = yield from self._asked(owner, asked, chosen)
        raws = [stored for stored, _ in found]
        rest = list(waiting)
        kept = self._merged(found, rest, asked, chosen)
        if full and len(kept) < asked.top_k:
            session = wire_session("memory", Scope(owner)) if owner else None
            rest += yield from self._agent.stored(session)
            kept = self._merged(found, [*raws, *rest], asked, chosen)
        return kept

    def _asked(
        self, owner: str, asked: RecallRequest, chosen: Selection
    ) -> Plan[tuple[list[tuple[Stored, WireMemory]], bool]]:
        """Ask the server; return what it found, and whether it may hold more."""
        sure = owner and chosen.scope and chosen.scope.only_session is None
        first = min(asked.top_k, wire.MAX_TOP_K) if sure else wire.MAX_TOP_K
        # The type "episodic" is not sent: a server may have given such memories another one.
        wire_type = None if asked.memory_type == "episodic" else asked.memory_type
        found: dict[str, tuple[Stored, WireMemory]] = {}
        full = False
        for top_k in dict.fromkeys((first, wire.MAX_TOP_K)):
            full = False
            sessions = (wire_session("memory", Scope(owner or None)), *(() if owner else (None,)))
            for session in sessions:
                raws = yield from self._once(asked.query, top_k, session, wire_type)
                full |= len(raws) >= top_k
                own = self._own(raws, session)
                for raw in own:
                    for stored in self._agent.read([raw]):
                        found[raw.id] = (stored, raw)
            fitting = present([stored for stored, _ in found.values()], asked.now)
            if not full or sum(is_selected(s.record, chosen) for s in fitting) >= asked.top_k:
                break
        return list(found.values()), full

    def _once(
        self, query: str, top_k: int, session: str | None, memory_type: str | None
    ) -> Plan[list[WireMemory]]:
        body = yield from self._agent.ask(
            lambda agent: wire.recall_request(
                agent, query=query, top_k=top_k, session=session, memory_type=memory_type
            )
        )
        return wire.read_recall(wire.read_json(body))

    def _own(self, raws: Sequence[WireMemory], session: str | None) -> list[WireMemory]:
        """Drop what is of another session than the one asked for, and tell of it."""
        if session is None:  # asked of all; only what is nobody's is wanted
            return [raw for raw in raws if raw.session in (None, AGENT_SESSION)]
        own = [raw for raw in raws if raw.session == session]
        if len(own) < len(raws):
            self._report(
                ServerMisbehaved(
                    f"The server returned {len(raws) - len(own)} memories of others to a recall "
                    "that named its user; they were dropped. Use one agent for each user, or a "
                    "server that keeps users apart."
                )
            )
        return own

    def _merged(
        self,
        found: Sequence[tuple[Stored, WireMemory]],
        rest: Sequence[Stored],
        asked: RecallRequest,
        chosen: Selection,
    ) -> list[Match]:
        """Join the server's matches with memories that it has not scored."""
        scores: dict[Place, tuple[float, float]] = {}
        for stored, raw in found:
            place = place_of(stored.record)
            old = scores.get(place, (0.0, 0.0))
            scores[place] = (max(old[0], raw.similarity), max(old[1], raw.probability))
        everything = present([*(stored for stored, _ in found), *rest], asked.now)
        current = [stored for stored in everything if self._is_current(stored)]
        fitting = [stored for stored in current if is_selected(stored.record, chosen)]
        matches = [
            Match(stored.record, *scores[place])
            for stored in fitting
            if (place := place_of(stored.record)) in scores and scores[place][0] >= asked.threshold
        ]
        unscored = [stored for stored in fitting if place_of(stored.record) not in scores]
        matches += ranked(unscored, replace(asked, top_k=max(asked.top_k, 1)))
        matches.sort(key=lambda match: -match.similarity)
        return matches[: asked.top_k]

    def _is_current(self, stored: Stored) -> bool:
        """Tell whether a version is the last one that this process knows of."""
        known = self._agent.known(stored.record.id)
        return known is None or stored.version >= known.version
