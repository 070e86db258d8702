"""Sends the entries of the outbox in the background: in order, and until the server has them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.errors import (
    BadRequest,
    MemoryClosed,
    QuotaExceeded,
    RateLimited,
    ServerMisbehaved,
    ServerUnavailable,
    ServiceError,
    StoreBusy,
    WriteLost,
    described,
)
from langchain_kronvex.storage.client_envelope import VersionedRecord
from langchain_kronvex.storage.rest.options import RemoteLimits
from langchain_kronvex.storage.rest.outbox.delivery import deliver
from langchain_kronvex.storage.rest.outbox.outbox import Entry
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent

logger = logging.getLogger("langchain_kronvex")
_ENDLESS = 10**9  # attempts; an entry is on disk and waits for its server
_PERMANENT = (400, 409, 413, 414, 415, 422, 431)
_BATCH = 50  # entries, before another process may send
_MAX_FAULTS = 8  # of the server, on one entry while others go through


@dataclass(slots=True)
class _Fault:
    """Why the entries of a session wait: the server failed on its first entry.

    Attributes:
        count: How often in a row.
        sent_before: How many entries had been sent in all when it failed first.
        until: When the session is tried again, as `time.monotonic()`.
    """

    count: int
    sent_before: int
    until: float


class OutboxSender:
    """Sends the entries of an agent's outbox in a thread of its own.

    Args:
        agent: The agent, with its outbox; its `outage` and `report` are kept up to date.
        limits: How long the pauses are.
    """

    def __init__(self, agent: RemoteAgent, limits: RemoteLimits) -> None:
        self._agent, self._outbox, self._limits = agent, agent.outbox, limits
        self._writer = BackgroundWriter(attempts=_ENDLESS)
        self._closing = False
        self._not_before = 0.0
        self._sent = 0
        self._faults: dict[str, _Fault] = {}  # by session

    def wake(self) -> None:
        """Send everything in the outbox, in the background."""
        self._writer.submit("outbox", self._drain, once=True)

    def settle(self, owners: Sequence[str] | None, seconds: float) -> None:
        """Wait until no entry of these owners is unsent, unless the server is away."""
        deadline, pause = time.monotonic() + seconds, 0.001
        while self._agent.outage is None and self._outbox.unsent(owners):
            if time.monotonic() >= deadline:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def withdraw(
        self, chosen: Callable[[VersionedRecord], bool], timeout: float
    ) -> list[VersionedRecord]:
        """Remove entries so that they are never sent; wait for a request that is under way.

        Raises:
            StoreBusy: another process went on sending for `timeout` seconds.
        """
        with self._outbox.sending(timeout) as alone:
            _check(alone)
            entries = [entry for entry in self._outbox.waiting() if chosen(entry.stored)]
            self._outbox.erase([entry.place for entry in entries])
        return [entry.stored for entry in entries]

    def flush(self, timeout: float | None) -> bool:
        """Wait until every entry is sent or refused; return False after `timeout` seconds."""
        return self._writer.flush(timeout)

    def stop(self) -> None:
        """Send nothing more, apart from a request that is under way."""
        self._closing = True

    def close(self) -> None:
        """Send what can be sent soon; the rest stays on disk until the memory is opened again.

        A request that hangs is abandoned.
        """
        deadline = time.monotonic() + self._limits.closing
        while self._agent.outage is None and time.monotonic() < deadline:
            if self._writer.flush(0.05):
                break
        self.stop()
        self._writer.discard(lambda lane: True, max(deadline - time.monotonic(), 0.0))
        self._writer.close(0.0)
        left = self._outbox.unsent()
        if left:
            logger.warning(
                "%d entries wait in the outbox; they are sent when the memory is opened again", left
            )

    # -- the background ------------------------------------------------------------------------

    def _drain(self) -> None:
        """Send everything; after an error from here the writer tries again."""
        while not self._closing and self._outbox.unsent():
            if time.monotonic() < self._not_before:
                raise StoreBusy("The server asked to wait.")
            with self._outbox.sending() as alone:
                _check(alone)
                more = self._send_batch()
            if not more:
                return
            time.sleep(0.03)  # so that other processes get their turn

    def _send_batch(self) -> bool:
        """Send the first entries; return whether there are more."""
        after, now = 0, time.monotonic()
        skipped = [session for session, fault in self._faults.items() if fault.until > now]
        for _ in range(_BATCH):
            if self._closing:
                return False
            entry = self._outbox.next(after, skipped)
            if entry is None:
                if skipped:
                    raise StoreBusy("Some entries are tried again later.")
                return False
            after = entry.place
            if not self._send(entry):
                skipped.append(entry.session)
        return True

    def _send(self, entry: Entry) -> bool:
        """Send one entry, or refuse it; return False if its session has to wait.

        Raises:
            ServiceError: nothing can be sent at the moment.
        """
        if not self._outbox.begin(entry):
            return True
        try:
            deliver(self._agent, entry)
        except MemoryClosed:
            self._closing = True
            return True
        except (ServiceError, ValueError) as error:
            return self._failed(entry, error)
        self._outbox.sent(entry)
        self._sent += 1
        self._faults.pop(entry.session, None)
        self._agent.outage = None
        return True

    def _failed(self, entry: Entry, error: Exception) -> bool:
        status = getattr(error, "status", None)
        permanent = isinstance(error, BadRequest) and status in _PERMANENT
        if permanent or isinstance(error, WriteLost | ValueError):
            self._refuse(entry, error)
            return True
        if isinstance(error, ServerMisbehaved) or status == 500:
            return self._try_later(entry, error)
        self._note_outage(error)
        raise error

    def _try_later(self, entry: Entry, error: Exception) -> bool:
        """Let a session wait after a fault; refuse its first entry if only that one keeps failing.

        Returns:
            Whether the entry was refused.
        """
        fault = self._faults.setdefault(entry.session, _Fault(0, self._sent, 0.0))
        fault.count += 1
        if fault.count >= _MAX_FAULTS and self._sent > fault.sent_before:
            self._refuse(entry, error)
            return True
        if fault.count == 1:
            self._agent.report(error)
        pause = min(0.1 * 2 ** min(fault.count - 1, 20), self._limits.session_pause)
        fault.until = time.monotonic() + pause
        self._agent.outage = self._agent.outage or described(error)
        return False

    def _refuse(self, entry: Entry, error: Exception) -> None:
        self._outbox.refuse(entry, described(error))
        self._faults.pop(entry.session, None)
        logger.error("the server refused an entry of the outbox: %s", described(error))
        self._agent.report(error)

    def _note_outage(self, error: Exception) -> None:
        wait = min(getattr(error, "retry_after_seconds", None) or 0.0, self._limits.outage_pause)
        if isinstance(error, QuotaExceeded):
            wait = self._limits.quota_pause
        if isinstance(error, RateLimited | QuotaExceeded | ServerUnavailable) and wait:
            self._not_before = time.monotonic() + wait
        if self._agent.outage is None:
            self._agent.report(error)
        self._agent.outage = described(error)


def _check(alone: bool) -> None:
    if not alone:
        raise StoreBusy("Another process is sending what is in the outbox; try again.")
