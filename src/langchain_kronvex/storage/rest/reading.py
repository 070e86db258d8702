"""Reading from a server: listings, and what a listing and the outbox hold together."""

from __future__ import annotations

from datetime import datetime

from langchain_kronvex.core.errors import ServerMisbehaved, ServiceError, described
from langchain_kronvex.core.records import Page, Record, Scope, Selection
from langchain_kronvex.core.types import MemoryStats, SessionSummary
from langchain_kronvex.storage.client_envelope import VersionedRecord
from langchain_kronvex.storage.rest.envelope import one_session
from langchain_kronvex.storage.rest.http import api
from langchain_kronvex.storage.rest.http.transport import AnswerTooLarge
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent
from langchain_kronvex.storage.rest.versions import is_selected, on_page, summaries, visible_latest

_MAX_PAGES = 20_000


def find(agent: RemoteAgent, selection: Selection, page: Page, now: datetime) -> list[Record]:
    """Return the selected records in the order of the page."""
    # The outbox first: an entry that is sent during the listing is then seen twice, which does no
    # harm, and not missed.
    scope = selection.scope
    owners = None if scope is None else [scope.owner, *([""] * selection.include_shared)]
    waiting = agent.outbox.records(owners)
    chosen = [s for s in visible_latest(waiting, now) if is_selected(s.record, selection)]
    if not selection.ids or {s.record.id for s in chosen} != set(selection.ids):
        # Otherwise the outbox is enough, also while the server is away.
        everything = visible_latest([*_on_server(agent, selection), *waiting], now)
        chosen = [s for s in everything if is_selected(s.record, selection)]
    return on_page(chosen, page)


def _on_server(agent: RemoteAgent, selection: Selection) -> list[VersionedRecord]:
    """Return all selected records that the server holds, among others."""
    ids = set(selection.ids or ())
    known = [position for id_ in ids if (position := agent.known.position(id_))]
    if ids and len(known) == len(ids):
        sessions = sorted({position.session for position in known if position.session})
        found = [stored for session in sessions for stored in stored_records(agent, session)]
        if {stored.record.id for stored in found} >= ids:
            return found
    return stored_records(agent, one_session(selection))


def sessions(agent: RemoteAgent, scope: Scope | None, now: datetime) -> list[SessionSummary]:
    """Return the sessions of one owner, or of all owners."""
    selection = Selection(kind=None, scope=scope)
    waiting = agent.outbox.records()
    everything = visible_latest([*stored_records(agent, None), *waiting], now)
    return summaries(
        [s for s in everything if s.record.kind != "item" and is_selected(s.record, selection)]
    )


def stats(agent: RemoteAgent, now: datetime) -> MemoryStats:
    """Return the figures of the agent; while the server is away, those of the outbox alone."""
    everything = agent.outbox.records()
    problem: Exception | None = agent.outage
    try:
        everything += stored_records(agent, None)
    except ServiceError as error:
        problem = error
    records = (stored.record for stored in visible_latest(everything, now))
    visible = [record for record in records if record.kind != "item"]
    messages = sum(record.kind == "message" for record in visible)
    owners = {record.scope.owner for record in visible}
    stored = {"memories": len(visible) - messages, "messages": messages, "users": len(owners)}
    stored["superseded"] = sum(record.superseded_by is not None for record in visible)
    kept = {"pending": agent.outbox.unsent(), "failed": len(agent.outbox.refused())}
    last_error, place = described(problem) if problem else None, agent.location
    return MemoryStats(location=place, unembedded=0, last_error=last_error, **stored, **kept)


def stored_records(
    agent: RemoteAgent, session: str | None, deadline: float | None = None
) -> list[VersionedRecord]:
    """Return the records of one of the server's sessions, or of the whole agent."""
    return agent.read(listing(agent, session, deadline))


def listing(
    agent: RemoteAgent, session: str | None, deadline: float | None = None
) -> list[api.WireMemory]:
    """List the memories of one of the server's sessions, or of the whole agent.

    A listing that is shorter than the server says is repeated once: other clients were writing.
    A server may list other sessions too; those memories are dropped.

    Raises:
        ServerUnavailable: it took longer than until `deadline`, a moment of `time.monotonic()`.
    """
    found: dict[str, api.WireMemory] = {}
    for _ in range(2):
        listed, total = _read_pages(agent, session, deadline)
        found |= listed
        if total is None or total <= len(found):
            break
    return [raw for raw in found.values() if session is None or raw.session == session]


def _read_pages(
    agent: RemoteAgent, session: str | None, deadline: float | None
) -> tuple[dict[str, api.WireMemory], int | None]:
    """Read pages until one brings nothing new, or the server says that it is the last.

    Returns:
        The memories by id, and how many there are as the server says.
    """
    size, number = api.PAGE_ITEMS, 1
    listed: dict[str, api.WireMemory] = {}
    while number <= _MAX_PAGES:
        try:
            answer = agent.ask(api.list_request(session, number, size, deadline))
        except AnswerTooLarge:
            if size == 1:
                raise
            number, size = 2 * number - 1, size // 2
            continue
        page = api.read_page(answer, size)
        fresh = {memory.id: memory for memory in page.memories if memory.id not in listed}
        listed |= fresh
        if page.last or not fresh:
            return listed, page.total
        size, number = page.page_items, number + 1
    raise ServerMisbehaved("The server's listing does not end.")
