"""Sending one entry of the outbox to the server, and checking what became of it.

The server may hold an entry although its answer never arrived. So a later attempt first looks
whether an earlier one did. After a success that does not show the memory, the entry is only looked
for. A server may also answer with another memory, because it merged the two: that write is lost on
the server, so the entry is kept as refused and the loss is reported.
"""

from __future__ import annotations

from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_exponential

from langchain_kronvex.core.errors import ServerMisbehaved, WriteLost
from langchain_kronvex.storage.client_envelope import VersionedRecord, wire_session
from langchain_kronvex.storage.rest.envelope import (
    is_as_sent,
    record_from_wire,
    says_too_little,
    store_request,
)
from langchain_kronvex.storage.rest.http import answers
from langchain_kronvex.storage.rest.http.answers import WireMemory
from langchain_kronvex.storage.rest.outbox.outbox import Entry
from langchain_kronvex.storage.rest.reading import listing, read, stored_records
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent


def deliver(agent: RemoteAgent, entry: Entry) -> None:
    """Bring an entry to the server, in place of older versions of its record.

    Raises:
        ServiceError: the server refused, or cannot be reached.
        WriteLost: the server answered with another memory, or never shows this one.
    """
    stored = entry.stored
    older, arrived = _versions_on_server(agent, entry)
    for server_id in older:
        agent.delete(server_id)
    if arrived or stored.gone:
        return
    body = agent.ask(lambda agent_id: store_request(agent_id, stored))
    raw = answers.read_memory(answers.read_json(body)) if body.strip() else None
    sent = store_request("", stored)
    if raw and is_as_sent(raw, sent, stored):
        _note(agent, raw)
    elif (raw is not None and not says_too_little(raw, sent)) or not _appears(agent, stored):
        raise WriteLost()


def _versions_on_server(agent: RemoteAgent, entry: Entry) -> tuple[list[str], bool]:
    """Return the server's ids of older versions, and whether this version is there."""
    stored = entry.stored
    known = agent.known.position(stored.record.id)
    if entry.tries == 0 and (stored.version == stored.written or known):
        return ([known.server_id] if known and known.version < stored.version else []), False
    session = wire_session(stored.record.kind, stored.record.scope)
    found = [s for s in stored_records(agent, session) if s.record.id == stored.record.id]
    older = [s.server_id for s in found if s.version < stored.version and s.server_id]
    return older, any(s.version >= stored.version for s in found)


def _appears(agent: RemoteAgent, stored: VersionedRecord) -> bool:
    """Return whether the server lists an entry that it took without showing it; look repeatedly."""
    sent = store_request("", stored)
    session = wire_session(stored.record.kind, stored.record.scope)

    def look() -> bool:
        found = [raw for raw in listing(agent, session) if is_as_sent(raw, sent, stored)]
        return bool(read(agent, found[:1]))

    looking = Retrying(
        retry=retry_if_result(lambda found: not found),
        stop=stop_after_attempt(6),
        wait=wait_exponential(multiplier=0.05, max=1.0),
        retry_error_callback=lambda state: False,
    )
    return bool(looking(look))


def _note(agent: RemoteAgent, raw: WireMemory) -> None:
    """Note where a record is now, and report what storing it did to other memories."""
    found = record_from_wire(raw)
    if found is not None and found.ours:
        agent.known.note(found, raw.session)
    if raw.deduplicated:
        agent.report(
            ServerMisbehaved(
                "The server merged a memory with another one of the same text; if that belonged to "
                "another session, it is lost."
            )
        )
    if raw.hidden:
        agent.report(
            ServerMisbehaved(
                f"Storing a memory made the server hide {raw.hidden} similar ones of this agent. "
                "Use one agent for each user, or a server that separates users."
            )
        )
