"""The verbs that look after what is stored: list, get, update, forget, count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.effects import Plan, both, call
from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound
from langchain_kronvex.core.types import (
    UNCHANGED,
    Memory,
    MemoryStats,
    Scope,
    SessionSummary,
    Unchanged,
)
from langchain_kronvex.memory.conversions import changed_record, to_memory
from langchain_kronvex.memory.engine import OpenMemory
from langchain_kronvex.storage.backend import Page, Record, Selection


class MemoryUpkeep(OpenMemory):
    """Looks after the memories of an open memory.

    Attributes:
        erasures: How often something was forgotten through this object; what was recalled before
            may hold it.
    """

    erasures: int = 0

    def _memories(
        self,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        memory_type: str | None = None,
        limit: int = 50,
        offset: int = 0,
        include_shared: bool = False,
    ) -> Plan[list[Memory]]:
        """List the memories of one scope, newest first; with neither id the agent-level ones."""
        chosen = Selection(
            kind="memory",
            scope=Scope.of(user_id, session_id),
            include_shared=include_shared,
            type=None if memory_type is None else checks.check_type(memory_type),
        )
        page = Page(
            by="created",
            newest_first=True,
            limit=checks.check_count(limit, "limit", least=1),
            offset=checks.check_count(offset, "offset", least=0),
        )
        found: list[Record] = yield call(self._backend, "find", chosen, page, self._clock())
        return [to_memory(record) for record in found]

    def _find(self, id_: str) -> Plan[Record | None]:
        chosen = Selection(kind="memory", scope=None, ids=(checks.check_id(id_, "id"),))
        found: list[Record] = yield call(self._backend, "find", chosen, Page(), self._clock())
        return found[0] if found else None

    def _get(self, id: str) -> Plan[Memory | None]:
        """Return one memory by its id; None when there is none, or no longer."""
        record = yield from self._find(id)
        return None if record is None else to_memory(record)

    def _update(
        self,
        id: str,
        *,
        pinned: bool | Unchanged = UNCHANGED,
        memory_type: str | Unchanged = UNCHANGED,
        metadata: Mapping[str, Any] | Unchanged = UNCHANGED,
        ttl_days: float | Unchanged | None = UNCHANGED,
    ) -> Plan[Memory]:
        """Change what is known about a memory; its text never changes.

        Args:
            id: Of the memory.
            pinned: Whether it never expires.
            memory_type: Its new type.
            metadata: Replaces the metadata.
            ttl_days: Days from its `created_at`; None for no expiry.

        Raises:
            MemoryNotFound: there is no such memory.
            InvalidInput: a value does not fit; nothing was changed.
        """
        record = yield from self._find(id)
        if record is None:
            raise MemoryNotFound()
        changed = changed_record(
            record, pinned=pinned, memory_type=memory_type, metadata=metadata, ttl_days=ttl_days
        )
        changed = replace(changed, base=record)
        yield call(self._backend, "change", changed, self._clock())
        return to_memory(changed)

    def _forget(
        self,
        *,
        id: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
    ) -> Plan[int]:
        """Erase for good: one memory, one session of a user, or everything of a user.

        Messages of chat histories are erased with their user or session. When this returns, no
        byte of them is left in the store's files. It rewrites the file, so it takes time.

        Returns:
            How many memories and messages were erased.

        Raises:
            InvalidInput: nothing was named; `clear` erases everything of the agent.
        """
        scope = Scope.of(user_id, session_id)
        if id is None and not scope:
            raise InvalidInput(
                "Say what to forget: id, user_id or session_id. clear() erases everything."
            )
        ids = None if id is None else (checks.check_id(id, "id"),)
        return (yield from self._erase(Selection(kind=None, scope=scope or None, ids=ids)))

    def _clear(self) -> Plan[int]:
        """Erase everything of this agent for good; return how many memories and messages."""
        return (yield from self._erase(Selection(kind=None, scope=None)))

    def _erase(self, chosen: Selection) -> Plan[int]:
        if chosen.ids is None:
            # What still waits to be saved for them must not come back afterwards.
            scope = chosen.scope
            yield call(self.writer, "discard", lambda lane: _is_within(lane, scope))
        self._model.forget_queries()
        count: int = yield call(self._backend, "delete", chosen, self._clock())
        self.erasures += 1
        return count

    def _sessions(self, *, user_id: str | None = None) -> Plan[list[SessionSummary]]:
        """List the sessions of one user, or of all, the last written to first."""
        scope = Scope.of(user_id, None) or None
        found: list[SessionSummary] = yield call(self._backend, "sessions", scope, self._clock())
        return found

    def _stats(self) -> Plan[MemoryStats]:
        """Tell what is stored and how the background work stands."""
        writers = (self.writer, self._embedding_writer)
        stored: MemoryStats = yield call(self._backend, "stats", self._clock())
        errors = [*(w.last_error for w in writers), stored.last_error, self._last_degraded]
        return replace(
            stored,
            unembedded=stored.unembedded if self._model.current else 0,
            pending=stored.pending + sum(writer.pending for writer in writers),
            failed=stored.failed + sum(writer.failed for writer in writers),
            degraded=self._degraded,
            last_error=next((e for e in errors if e), None),
        )

    memories, amemories = both(_memories)
    get, aget = both(_get)
    update, aupdate = both(_update)
    forget, aforget = both(_forget)
    clear, aclear = both(_clear)
    sessions, asessions = both(_sessions)
    stats, astats = both(_stats)


def _is_within(lane: object, scope: Scope | None) -> bool:
    """Tell whether background work is for a scope; None stands for everybody's."""
    if not isinstance(lane, Scope):
        return False
    return scope is None or (
        lane.owner == scope.owner and scope.only_session in (None, lane.session_id)
    )
