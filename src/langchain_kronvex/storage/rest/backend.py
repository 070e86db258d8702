"""The backend for a Kronvex REST API: any server that speaks one of its dialects.

The server is not trusted. Everything it returns is read through our own envelope, checked against
the requested scope, and merged (`envelope.py`, `versions.py`). Everything that is written goes
through the outbox (`outbox/`). The server embeds, searches, and counts accesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

from langchain_kronvex.core.background import OnError
from langchain_kronvex.core.errors import NotSupported
from langchain_kronvex.core.records import (
    Match,
    Page,
    Record,
    Records,
    Replacement,
    Scope,
    Selection,
    Unembedded,
)
from langchain_kronvex.core.types import MemoryStats, SessionSummary
from langchain_kronvex.recall.explanation import Weighed
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.indexes import recall_owners
from langchain_kronvex.storage.rest import erasing, reading, writing
from langchain_kronvex.storage.rest.http.api import MAX_TOP_K
from langchain_kronvex.storage.rest.outbox.sender import OutboxSender
from langchain_kronvex.storage.rest.recall import recall_owner
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent
from langchain_kronvex.storage.rest.versions import is_selected
from langchain_kronvex.storage.rest.weighing import weigh


class KronvexBackend(MemoryBackend):
    """Records of one agent on a Kronvex server.

    Args:
        agent: The agent, with its outbox.
    """

    is_remote = True
    max_top_k = MAX_TOP_K

    def __init__(self, agent: RemoteAgent) -> None:
        self.location = agent.location
        self.agent = agent
        self.sender = OutboxSender(agent)
        agent.wake = self.sender.wake

    def start(self, report: OnError, on_unembedded: Callable[[], None]) -> None:
        """See `MemoryBackend.start`: send what an earlier process left in the outbox."""
        self.agent.report = report
        if self.agent.outbox.unsent():
            self.sender.wake()

    # -- writing -------------------------------------------------------------------------------

    def add(self, records: Records, now: datetime, model: str | None = None) -> list[Record]:
        """See `MemoryBackend.add`: when this returns, the records are in the outbox."""
        return writing.add(self.agent, records, now)

    def put(self, wanted: Replacement, now: datetime) -> bool:
        """See `MemoryBackend.put`.

        Raises:
            NotSupported: something is `expected`; the API cannot compare and store in one step.
            ServiceError: something is to be deleted, and the server cannot be asked.
        """
        if wanted.expected is not None:
            raise NotSupported(
                "A Kronvex server cannot store a record on the condition that another one is still "
                "there; use a store of this package: sqlite:///path.db"
            )
        if wanted.records:
            writing.put(self.agent, wanted, now)
        else:
            for selection in wanted.deleted:
                self.delete(selection, now)
        return True

    def change(self, record: Record, now: datetime, model: str | None = None) -> None:
        """See `MemoryBackend.change`: a new version replaces the older one."""
        new = writing.change(self.agent, record, now)
        if record.base is not None and record.base.content != record.content:
            id_ = record.id  # the former text leaves the outbox too, also one that was refused
            self.sender.withdraw(lambda each: each.record.id == id_ and each.version < new.version)
            self.agent.outbox.finish_erasing()

    def count_accesses(self, counts: Mapping[str, int], now: datetime) -> None:
        """See `MemoryBackend.count_accesses`: the server has counted them."""

    # -- erasing -------------------------------------------------------------------------------

    def delete(self, selection: Selection, now: datetime) -> int:
        """See `MemoryBackend.delete`; the server decides how thoroughly."""
        self.agent.known.forget_places()
        withdrawn = self.sender.withdraw(lambda stored: is_selected(stored.record, selection))
        count = erasing.erase(self.agent, selection, withdrawn, now)
        self.agent.outbox.finish_erasing()
        return count

    def finish_erasing(self, now: datetime) -> None:
        """See `MemoryBackend.finish_erasing`: the outbox keeps nothing of what was sent."""
        self.sender.withdraw(lambda stored: False)
        self.agent.outbox.finish_erasing()

    def purge(self, now: datetime) -> int:
        """See `MemoryBackend.purge`: the server removes expired memories."""
        return 0

    # -- reading -------------------------------------------------------------------------------

    def find(self, selection: Selection, page: Page, now: datetime) -> list[Record]:
        """See `MemoryBackend.find`: everything of the scope is listed."""
        return reading.find(self.agent, selection, page, now)

    def recall(self, request: RecallRequest) -> list[Match]:
        """See `MemoryBackend.recall`: the server's best matches, and those in the outbox."""
        self.sender.settle([each.scope.owner for each in request.by_owner()])
        return recall_owners(request, partial(recall_owner, self.agent))

    def weigh(self, request: RecallRequest, record: Record) -> Weighed | None:
        """See `MemoryBackend.weigh`: as the server explains it, if it can."""
        return weigh(self.agent, request, record)

    def sessions(self, scope: Scope | None, now: datetime) -> list[SessionSummary]:
        """See `MemoryBackend.sessions`."""
        return reading.sessions(self.agent, scope, now)

    def stats(self, now: datetime) -> MemoryStats:
        """See `MemoryBackend.stats`; while the server is away, of the outbox alone."""
        self.sender.settle(None)
        return reading.stats(self.agent, now)

    # -- transfer ------------------------------------------------------------------------------

    def export_page(
        self, owner: str | None, limit: int, now: datetime, *, after: int, model: str | None
    ) -> list[tuple[int, Record]]:
        """See `MemoryBackend.export_page`: one page, since a server lists everything."""
        if after:
            return []
        scope = None if owner is None else Scope(owner or None)
        return list(enumerate(self.find(Selection(kind=None, scope=scope), Page(), now), 1))

    def restore(self, records: Records, now: datetime, model: str | None = None) -> int:
        """See `MemoryBackend.restore`; no other client must write the same records meanwhile."""
        return writing.restore(self.agent, records, now)

    # -- background work and the end -----------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """See `MemoryBackend.flush`."""
        return self.sender.flush(timeout)

    def close(self) -> None:
        """See `MemoryBackend.close`."""
        self.sender.close()
        self.agent.transport.close()
        self.agent.outbox.close()

    # -- embeddings, which are the server's ----------------------------------------------------

    def _server_embeds(self, *_: Any, **__: Any) -> NoReturn:
        raise NotSupported(
            "A Kronvex server embeds the memories itself; embeddings and reindex() are for stores "
            "of this package: sqlite:///path.db"
        )

    settle_embeddings = embed = prepare_reindex = finish_reindex = _server_embeds

    def unembedded(
        self, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
    ) -> list[Unembedded]:
        """See `MemoryBackend.unembedded`."""
        return []
