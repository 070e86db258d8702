"""Sends the entries of the outbox in the background: in order, until the server has them.

The server may hold an entry although its answer never arrived. So a later attempt first checks
whether an earlier one succeeded. After a success that does not show the memory, the server's
listing is searched for it, and it is not sent again. A server may also answer with another memory
because it merged the two. That write is lost on the server, so the entry is kept as refused and the
loss is reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from langchain_kronvex.core import errors
from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.storage.client_envelope import VersionedRecord
from langchain_kronvex.storage.rest.envelope import is_as_sent, says_too_little, store_request
from langchain_kronvex.storage.rest.http.api import Request, read_memory
from langchain_kronvex.storage.rest.outbox.outbox import Entry
from langchain_kronvex.storage.rest.reading import listing, stored_records
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent

logger = logging.getLogger("langchain_kronvex")
_SETTLING_SECONDS = 1.0  # for recent writes to arrive before the server is asked about them
_ENDLESS = 10**9  # attempts; an entry is on disk and waits for its server
_PERMANENT = (400, 409, 413, 414, 415, 422, 431)
_BATCH = 50  # entries, before another process may send
_LOOKING_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # the pauses until a memory may be listed
_HIDDEN = (
    "Storing a memory made the server hide {} similar ones of this agent, or merge it with one. "
    "Use one agent for each user, or a server that separates users."
)
_MAX_FAULTS = 10  # of the server, on one entry while others go through


class OutboxSender:
    """Sends the entries of an agent's outbox in a thread of its own.

    Args:
        agent: The agent, with its outbox; its `outage` is kept up to date.
    """

    def __init__(self, agent: RemoteAgent) -> None:
        self._agent, self._outbox = agent, agent.outbox
        self._writer = BackgroundWriter(attempts=_ENDLESS)
        self._closing, self._not_before, self._sent = False, 0.0, 0
        self._faults: dict[int, tuple[int, int]] = {}  # by place: how many, and sent at the first

    def wake(self) -> None:
        """Send everything in the outbox, in the background."""
        if self._outbox.is_read_only:
            return
        self._writer.submit("outbox", self._drain, once=True)

    def settle(self, owners: Sequence[str] | None) -> None:
        """Wait a moment until no entry of these owners is unsent, unless the server is away."""
        if self._outbox.is_read_only:
            return
        deadline, pause = time.monotonic() + _SETTLING_SECONDS, 0.001
        while self._agent.outage is None and self._outbox.unsent(owners):
            if time.monotonic() >= deadline:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def withdraw(self, chosen: Callable[[VersionedRecord], bool]) -> list[VersionedRecord]:
        """Remove entries so that they are never sent; wait for a request that is under way.

        Raises:
            StoreBusy: another process went on sending.
        """
        with self._outbox.sending(patiently=True):
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
        deadline = time.monotonic() + self._agent.limits.closing
        while self._agent.outage is None and time.monotonic() < deadline:
            if self._writer.flush(0.05):
                break
        self.stop()
        self._writer.discard(lambda lane: True, max(deadline - time.monotonic(), 0.0))
        self._writer.close(0.0)
        if left := self._outbox.unsent():
            logger.warning(
                "%d entries wait in the outbox; they are sent when the memory is opened again", left
            )

    # -- the background ------------------------------------------------------------------------

    def _drain(self) -> None:
        """Send everything; after an error from here the writer tries again."""
        skipped: list[str] = []
        while not self._closing and self._outbox.unsent():
            if time.monotonic() < self._not_before:
                raise errors.StoreBusy("The server asked to wait.")
            with self._outbox.sending():
                more = self._send_batch(skipped)
            if not more:
                return
            time.sleep(0.03)  # so that other processes get their turn

    def _send_batch(self, skipped: list[str]) -> bool:
        """Send the first entries, except those of skipped sessions; return whether to go on."""
        after = 0
        for _ in range(_BATCH):
            if self._closing:
                return False
            entry = self._outbox.next(after, skipped)
            if entry is None:
                if skipped:
                    raise errors.StoreBusy("Some entries are tried again later.")
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
        except errors.MemoryClosed:
            self._closing = True
            return True
        except (errors.ServiceError, ValueError) as error:
            return self._failed(entry, error)
        self._outbox.sent(entry)
        self._sent += 1
        self._faults.pop(entry.place, None)
        self._agent.outage = None
        return True

    def _failed(self, entry: Entry, error: Exception) -> bool:
        status = getattr(error, "status", None)
        permanent = isinstance(error, errors.BadRequest) and status in _PERMANENT
        if permanent or isinstance(error, errors.WriteLost | ValueError):
            self._refuse(entry, error)
            return True
        if isinstance(error, errors.ServerMisbehaved) or status == 500:
            return self._try_later(entry, error)
        self._note_outage(error)
        raise error

    def _try_later(self, entry: Entry, error: Exception) -> bool:
        """Let a session wait after a fault, or refuse its entry if only that one keeps failing.

        Returns:
            Whether the entry was refused.
        """
        count, sent_before = self._faults.get(entry.place, (0, self._sent))
        self._faults[entry.place] = (count + 1, sent_before)
        if count + 1 >= _MAX_FAULTS and self._sent > sent_before:
            self._refuse(entry, error)
            return True
        if count == 0:
            self._agent.report(error)
        self._agent.outage = self._agent.outage or error
        return False

    def _refuse(self, entry: Entry, error: Exception) -> None:
        self._outbox.refuse(entry, errors.described(error))
        self._faults.pop(entry.place, None)
        logger.error("the server refused an entry of the outbox: %s", errors.described(error))
        self._agent.report(error)

    def _note_outage(self, error: Exception) -> None:
        """Send nothing until the server wants to be asked again, and report the first failure."""
        limits = self._agent.limits
        wait = min(getattr(error, "retry_after_seconds", None) or 0.0, limits.outage_pause)
        is_quota = isinstance(error, errors.QuotaExceeded)
        self._not_before = time.monotonic() + (limits.quota_pause if is_quota else wait)
        if self._agent.outage is None:
            self._agent.report(error)
        self._agent.outage = error


# -- one entry -----------------------------------------------------------------------------------


def deliver(agent: RemoteAgent, entry: Entry) -> None:
    """Bring an entry to the server, in place of older versions of its record.

    Raises:
        ServiceError: the server refused, or cannot be reached.
        WriteLost: the server answered with another memory, or never shows this one.
    """
    older, arrived = _versions_on_server(agent, entry)
    for server_id in older:
        agent.delete(server_id)
    if arrived or entry.stored.gone:
        return
    sent = store_request(entry.stored)
    raw = read_memory(agent.ask(sent))
    if raw and is_as_sent(raw, sent, entry.stored):
        agent.read([raw])
        if raw.deduplicated or raw.hidden:
            agent.report(errors.ServerMisbehaved(_HIDDEN.format(raw.hidden)))
    elif (raw is not None and not says_too_little(raw, sent)) or not _appears(agent, entry, sent):
        raise errors.WriteLost()


def _versions_on_server(agent: RemoteAgent, entry: Entry) -> tuple[list[str], bool]:
    """Return the server's ids of older versions, and whether this version is there."""
    stored = entry.stored
    known = agent.known.position(stored.record.id)
    if entry.tries == 0 and (stored.version == stored.written or known):
        return ([known.server_id] if known and known.version < stored.version else []), False
    listed = stored_records(agent, entry.session)
    found = [s for s in listed if s.record.id == stored.record.id]
    older = [s.server_id for s in found if s.version < stored.version and s.server_id]
    return older, any(s.version >= stored.version for s in found)


def _appears(agent: RemoteAgent, entry: Entry, sent: Request) -> bool:
    """Return whether the server lists an entry that it accepted without showing it."""
    for pause in _LOOKING_SECONDS:
        time.sleep(pause)
        listed = listing(agent, entry.session)
        found = [raw for raw in listed if is_as_sent(raw, sent, entry.stored)]
        if agent.read(found[:1]):
            return True
    return False
