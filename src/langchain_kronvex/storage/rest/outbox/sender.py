"""Brings what is in the outbox to the server: in order, once, and whatever happens in between.

A server may hold an entry although its answer never came. So a second try first looks whether the
first one arrived; where the answer was a success that does not show the memory, it only looks. A
server may also answer with another memory than the one it was sent, because it takes the two for
the same. Then the entry is set aside and the loss reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from langchain_kronvex.core.background import BackgroundWriter, OnError
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
from langchain_kronvex.storage.rest.envelope import (
    Stored,
    is_as_sent,
    opened,
    says_too_little,
    storing,
    wire_session,
)
from langchain_kronvex.storage.rest.http import api as wire
from langchain_kronvex.storage.rest.http.api import WireMemory
from langchain_kronvex.storage.rest.outbox.outbox import Entry, Outbox
from langchain_kronvex.storage.rest.remote_agent import ServerAgent

logger = logging.getLogger("langchain_kronvex")
_FOR_EVER = 10**9  # tries; an entry is on disk and waits for its server
_NEVER_SUCCEED = (400, 409, 413, 414, 415, 422, 431)
_AT_ONCE = 50  # entries, before another process may send
_MOST_FAULTS = 8  # of the server, on one entry while others go through
_MOST_LOOKS = 6  # within three seconds, for what the server took without showing it
_CLOSING_SECONDS = 10.0
_QUOTA_PAUSE_SECONDS = 900.0
_LONGEST_SESSION_PAUSE_SECONDS = 300.0
_LONGEST_PAUSE_SECONDS = 300.0  # however long the server asks to wait


class Courier:
    """Sends the entries of an outbox in the background.

    Args:
        agent: To whom.
        outbox: What.
        report: Told of each failure that matters.

    Attributes:
        outage: Why nothing can be sent just now; None when all is well.
    """

    def __init__(self, agent: ServerAgent, outbox: Outbox, report: OnError) -> None:
        self._agent, self._outbox, self._report = agent, outbox, report
        self._writer = BackgroundWriter(attempts=_FOR_EVER)
        self._closing = False
        self._not_before = 0.0
        self._sent = 0
        self._faults: dict[int, tuple[int, int]] = {}  # by place: how many, and sent at the first
        self._resting: dict[str, float] = {}  # sessions, until when
        self._unseen: dict[int, int] = {}  # by place: how often looked for after a success
        self.outage: str | None = None

    def wake(self) -> None:
        """Send what there is, in the background."""
        self._writer.submit("outbox", self._drain, once=True)

    def settle(self, owners: Sequence[str] | None, seconds: float) -> None:
        """Wait until nothing of these owners is to be sent, unless the server is away."""
        deadline, pause = time.monotonic() + seconds, 0.001
        while self._is_worth_waiting(owners, deadline):
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def _is_worth_waiting(self, owners: Sequence[str] | None, deadline: float) -> bool:
        if self.outage is not None or time.monotonic() >= deadline:
            return False
        return self._outbox.unsent(owners) > 0

    def withdraw(self, chosen: Callable[[Stored], bool], timeout: float) -> list[Stored]:
        """Take entries back so that they are never sent; what is under way is waited for.

        Raises:
            StoreBusy: another process went on sending for `timeout` seconds.
        """
        if not any(chosen(entry.stored) for entry in self._outbox.waiting()):
            with self._outbox.sending(timeout) as alone:  # what was just sent has arrived
                _check(alone)
                self._outbox.erase([])
            return []
        with self._outbox.sending(timeout) as alone:
            _check(alone)
            entries = [e for e in self._outbox.waiting() if chosen(e.stored)]
            self._outbox.erase([entry.place for entry in entries])
        return [entry.stored for entry in entries]

    def flush(self, timeout: float | None) -> bool:
        """Wait until all is sent or set aside; False when the time ran out first."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Send what can be sent soon; the rest stays on disk and is sent when opened again.

        A request that hangs is not waited for any longer: it ends with the connections.
        """
        deadline = time.monotonic() + _CLOSING_SECONDS
        while self.outage is None and time.monotonic() < deadline:
            if self._writer.flush(0.05):
                break
        self._closing = True
        self._writer.discard(lambda lane: True, max(deadline - time.monotonic(), 0.0))
        self._writer.close(0.0)
        left = self._outbox.unsent()
        if left:
            logger.warning(
                "%d entries wait in the outbox; they are sent when the memory is opened again", left
            )

    # -- the background ------------------------------------------------------------------------

    def _drain(self) -> None:
        """Send all there is; what this raises is tried again after a pause."""
        while not self._closing and self._outbox.unsent():
            if time.monotonic() < self._not_before:
                raise StoreBusy("The server asked to wait.")
            with self._outbox.sending() as alone:
                _check(alone)
                done = self._send_some()
            if not done:
                return
            time.sleep(0.03)  # so that others get their turn

    def _send_some(self) -> bool:
        """Send the first entries; return whether there are more."""
        after, now = 0, time.monotonic()
        resting = [session for session, until in self._resting.items() if until > now]
        for _ in range(_AT_ONCE):
            if self._closing:
                return False
            entry = self._outbox.next(after, resting)
            if entry is None:
                if resting:
                    raise StoreBusy("Some entries are tried again later.")
                return False
            after = entry.place
            if not self._send(entry):
                resting.append(entry.session)
        return True

    def _send(self, entry: Entry) -> bool:
        """Send one entry, or set it aside; False when its session has to wait.

        Raises:
            ServiceError: it is not the entry: nothing can be sent just now.
        """
        if not self._outbox.begin(entry):
            return True
        try:
            self._deliver(entry)
        except MemoryClosed:
            self._closing = True
            return True
        except (ServiceError, ValueError) as error:
            return self._failed(entry, error)
        self._outbox.sent(entry)
        self._sent += 1
        self._faults.pop(entry.place, None)
        self._unseen.pop(entry.place, None)
        self._resting.pop(entry.session, None)
        self.outage = None
        return True

    def _failed(self, entry: Entry, error: Exception) -> bool:
        status = getattr(error, "status", None)
        hopeless = isinstance(error, BadRequest) and status in _NEVER_SUCCEED
        if hopeless or isinstance(error, WriteLost | ValueError):
            self._set_aside(entry, error)
            return True
        if isinstance(error, ServerMisbehaved) or status == 500:
            return self._try_later(entry, error)
        self._note_outage(error)
        raise error

    def _try_later(self, entry: Entry, error: Exception) -> bool:
        """Let a session wait after a fault; give the entry up when only it fails, and often."""
        count, sent_then = self._faults.get(entry.place, (0, self._sent))
        self._faults[entry.place] = (count + 1, sent_then)
        if count + 1 >= _MOST_FAULTS and self._sent > sent_then:
            self._set_aside(entry, error)
            return True
        if count == 0:
            self._report(error)
        pause = min(0.1 * 2**count, _LONGEST_SESSION_PAUSE_SECONDS)
        self._resting[entry.session] = time.monotonic() + pause
        if self.outage is None:
            self.outage = described(error)
        return False

    def _set_aside(self, entry: Entry, error: Exception) -> None:
        self._outbox.fail(entry, described(error))
        self._faults.pop(entry.place, None)
        self._unseen.pop(entry.place, None)
        logger.error("an entry of the outbox was set aside: %s", described(error))
        self._report(error)

    def _note_outage(self, error: Exception) -> None:
        wait = min(getattr(error, "retry_after_seconds", None) or 0.0, _LONGEST_PAUSE_SECONDS)
        if isinstance(error, QuotaExceeded):
            wait = _QUOTA_PAUSE_SECONDS
        if isinstance(error, RateLimited | QuotaExceeded | ServerUnavailable) and wait:
            self._not_before = time.monotonic() + wait
        if self.outage is None:
            self._report(error)
        self.outage = described(error)

    # -- one entry -----------------------------------------------------------------------------

    def _deliver(self, entry: Entry) -> None:
        stored = entry.stored
        if entry.place in self._unseen:
            self._look_for(entry)
            return
        older, arrived = self._standing(entry)
        for server_id in older:
            self._agent.delete(server_id)
        if arrived or stored.gone:
            return
        body = self._agent.ask(lambda agent: storing(agent, stored))
        raw = wire.read_memory(wire.read_json(body)) if body.strip() else None
        sent = storing("", stored)
        if raw is None or says_too_little(raw, sent):
            self._look_for(entry)
        elif is_as_sent(raw, sent, stored):
            self._look_at(stored, raw)
        else:
            raise WriteLost()

    def _standing(self, entry: Entry) -> tuple[list[str], bool]:
        """Return the ids of older versions on the server, and whether this one is there."""
        stored = entry.stored
        known = self._agent.known(stored.record.id)
        if entry.tries == 0 and (stored.version == stored.written or known):
            return ([known.server_id] if known and known.version < stored.version else []), False
        session = wire_session(stored.record.kind, stored.record.scope)
        found = self._agent.stored(session)
        mine = [each for each in found if each.record.id == stored.record.id]
        older = [e.server_id for e in mine if e.version < stored.version and e.server_id]
        return older, any(each.version >= stored.version for each in mine)

    def _look_for(self, entry: Entry) -> None:
        """Look whether an entry is there which the server took without showing it.

        Raises:
            ServerMisbehaved: not yet.
            WriteLost: it was looked for often enough.
        """
        stored = entry.stored
        session = wire_session(stored.record.kind, stored.record.scope)
        listed = self._agent.listing(session)
        sent = storing("", stored)
        for raw in listed:
            if is_as_sent(raw, sent, stored):
                self._agent.read([raw])
                return
        looks = self._unseen[entry.place] = self._unseen.get(entry.place, 0) + 1
        if looks >= _MOST_LOOKS:
            raise WriteLost()
        raise ServerMisbehaved(
            "The server answered that it had stored a memory, without showing it, and does not "
            "list it; it is looked for again."
        )

    def _look_at(self, stored: Stored, raw: WireMemory) -> None:
        """Take note of where a record stands now, and of what storing it did to others."""
        found = opened(raw)
        if found is not None and found.ours:
            self._agent.note(found, raw.session)
        if raw.deduplicated:
            self._report(
                ServerMisbehaved(
                    "The server made one of a memory and of another one of the same text; if that "
                    "was of another session, it is lost."
                )
            )
        if raw.hidden:
            self._report(
                ServerMisbehaved(
                    f"Storing a memory made the server hide {raw.hidden} similar ones of this "
                    "agent. Use one agent for each user, or a server that keeps users apart."
                )
            )


def _check(alone: bool) -> None:
    if not alone:
        raise StoreBusy("Another process is sending what is in the outbox; try again.")
