"""From the entries of a server and the outbox to the records they mean. Pure functions.

Nothing on a server is changed in place, so it may hold several versions of a record, and copies of
a text that two machines stored at the same time. Reading keeps the latest version and one copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from langchain_kronvex.core.records import Match, Page, Place, Record, Scope, Selection
from langchain_kronvex.core.types import SessionSummary
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import search
from langchain_kronvex.storage.client_envelope import VersionedRecord
from langchain_kronvex.storage.indexes import index_row_of, matches_of
from langchain_kronvex.storage.record import renewed


def is_selected(record: Record, chosen: Selection) -> bool:
    """Return whether a record meets every condition of a selection."""
    scope, own = chosen.scope, record.scope
    session = scope.only_session if scope else None
    is_own = scope is None or (own.owner == scope.owner and session in (None, own.session_id))
    is_shared = chosen.include_shared and not own.owner
    is_of_kind = record.kind in chosen.kinds and not (chosen.is_current and record.superseded_by)
    is_named = all(
        names is None or value in names
        for names, value in (
            (chosen.types, record.type),
            (chosen.ids, record.id),
            (chosen.keys, record.key),
            (chosen.superseded_by, record.superseded_by),
        )
    )
    is_of_kind = is_of_kind and chosen.pinned in (None, record.pinned)
    return (is_own or is_shared) and is_of_kind and is_named and _is_in_time(record, chosen)


def _is_in_time(record: Record, chosen: Selection) -> bool:
    """Return whether a record meets the conditions of a selection on times."""
    moment, until = chosen.as_of, record.valid_until
    return (
        (chosen.since is None or chosen.since <= record.created_at)
        and (chosen.until is None or record.created_at < chosen.until)
        and (moment is None or (record.true_from <= moment and (until is None or moment < until)))
    )


def latest(found: Iterable[VersionedRecord]) -> list[VersionedRecord]:
    """Return the last version of each record, in the order of writing."""
    last: dict[tuple[str, str], VersionedRecord] = {}
    for stored in found:
        name = (stored.record.kind, stored.record.id)
        if name not in last or stored.version >= last[name].version:
            last[name] = stored
    return sorted(last.values(), key=lambda stored: (stored.written, stored.record.id))


def visible_latest(found: Iterable[VersionedRecord], now: datetime) -> list[VersionedRecord]:
    """Return the visible records, copies of the same text as one, in the order of writing."""
    one: dict[Place, VersionedRecord] = {}
    for stored in latest(found):
        if not stored.record.is_visible(now):
            continue
        place = stored.record.place
        older = one.get(place)
        if older is None:
            one[place] = stored
        elif older.record.content == stored.record.content:
            merged = replace(renewed(older.record, stored.record), deduplicated=False)
            one[place] = replace(older, record=merged)
        else:  # it has replaced the older one
            del one[place]
            said = older.record.said_at or older.record.created_at
            one[place] = replace(stored, record=replace(stored.record, said_at=said))
    return list(one.values())


def on_page(found: Sequence[VersionedRecord], page: Page) -> list[Record]:
    """Return the records of a page; `found` is in the order of writing."""
    records = [stored.record for stored in found]
    if page.by == "created":
        records.sort(key=lambda record: record.created_at)
    if page.newest_first:
        records.reverse()
    end = None if page.limit is None else page.offset + page.limit
    return records[page.offset : end]


def ranked(found: Sequence[VersionedRecord], request: RecallRequest) -> list[Match]:
    """Return the best matches by their words, as a SQLite store finds them."""
    if not found:
        return []
    records = {number: stored.record for number, stored in enumerate(found)}
    index = ScopeIndex()
    index.apply(index_row_of(number, record) for number, record in records.items())
    top_k = min(request.top_k, len(records))
    by_words = RecallRequest(
        query=request.query, scope=Scope(), top_k=top_k, now=request.now,
        threshold=request.threshold, include_superseded=True,
    )  # fmt: skip
    return matches_of(search(index, by_words), records)


def summaries(found: Sequence[VersionedRecord]) -> list[SessionSummary]:
    """Return the sessions of records in the order of writing, the last written to first."""
    groups: dict[Scope, list[Record]] = {}
    for stored in reversed(found):
        groups.setdefault(stored.record.scope, []).append(stored.record)
    sessions = []
    for scope, records in groups.items():
        messages = sum(record.kind == "message" for record in records)
        counts = {"memories": len(records) - messages, "messages": messages}
        last = max(record.created_at for record in records)
        user, session = scope.user_id, scope.session_id
        sessions.append(SessionSummary(user_id=user, session_id=session, last_at=last, **counts))
    return sorted(sessions, key=lambda session: session.last_at, reverse=True)
