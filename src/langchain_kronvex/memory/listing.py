"""Listings: pages of memories, the users, and the history of one memory."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, KronvexError, MemoryNotFound
from langchain_kronvex.core.filters import Filter
from langchain_kronvex.core.records import Page, Record, Scope, Selection
from langchain_kronvex.core.types import MemoryTypes, UserSummary
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.storage.record import last_of_chain

logger = logging.getLogger("langchain_kronvex")

_LEAST_PORTION = 200  # memories that are read at a time to be filtered


def selection(
    scope: Scope,
    memory_type: MemoryTypes,
    *,
    include_shared: bool,
    since: datetime | None,
    until: datetime | None,
    as_of: datetime | None,
    include_superseded: bool,
    all_users: bool,
) -> Selection:
    """Check what to list, and return its selection; see `KronvexMemory.memories`.

    Raises:
        InvalidInput: a value does not fit, or `all_users` comes with an id.
    """
    if checks.check_flag(all_users, "all_users") and scope:
        raise InvalidInput(
            "all_users lists every user; leave out user_id and session_id, or all_users."
        )
    since, until = checks.check_period(since, until)
    with_superseded = checks.check_flag(include_superseded, "include_superseded")
    return Selection(
        kind="memory",
        scope=None if all_users else scope,
        include_shared=checks.check_flag(include_shared, "include_shared"),
        types=checks.check_types(memory_type),
        since=since,
        until=until,
        as_of=checks.check_optional_time(as_of, "as_of"),
        is_current=as_of is None and not with_superseded,
    )


def listed(
    engine: Engine, chosen: Selection, wanted: Filter | None, limit: int, offset: int
) -> list[Record]:
    """Return a page of the chosen memories that pass a filter, newest first."""
    checks.check_count(limit, "limit", least=1)
    checks.check_count(offset, "offset", least=0)
    page = Page(by="created", newest_first=True, limit=limit, offset=offset)
    if wanted is None:
        found = engine.find(chosen, page)
    else:
        found = _passed(engine, chosen, wanted, offset + limit)[offset : offset + limit]
    if not found and chosen.scope is not None:
        hint_at_users(engine, chosen.scope)
    return found


def _passed(engine: Engine, chosen: Selection, wanted: Filter, count: int) -> list[Record]:
    """Return the chosen memories that pass a filter, newest first: at least `count`, or all."""
    # A server lists everything for each page, so that there is only one.
    size = None if engine.backend.is_remote else max(_LEAST_PORTION, count)
    page, passed = Page(by="created", newest_first=True, limit=size), list[Record]()
    while len(passed) < count and (found := engine.find(chosen, page)):
        passed += [record for record in found if wanted.accepts(record.metadata)]
        if size is None:
            break
        page = replace(page, offset=page.offset + size)
    return passed


def users(engine: Engine) -> list[UserSummary]:
    """Return the users, the one written to last comes first; the agent level is left out."""
    of_user: dict[str, UserSummary] = {}
    for session in engine.backend.sessions(None, engine.clock()):
        if owner := session.user_id or session.session_id:
            there = of_user.get(owner)  # of a later session
            of_user[owner] = UserSummary(
                user_id=owner,
                memories=session.memories + (there.memories if there else 0),
                messages=session.messages + (there.messages if there else 0),
                last_at=there.last_at if there else session.last_at,
            )
    return list(of_user.values())


def hint_at_users(engine: Engine, scope: Scope) -> None:
    """Log that nothing was found because no user was named; once for each open memory."""
    if scope or engine.has_hinted:
        return
    of_owner: Counter[str] = Counter()
    with suppress(KronvexError):  # what was asked for has been read
        for session in engine.backend.sessions(None, engine.clock()):
            of_owner[session.user_id or session.session_id or ""] += session.memories
    of_owner = +of_owner  # those with memories
    engine.has_hinted = bool(of_owner)
    if of_owner and "" not in of_owner:
        count, users = of_owner.total(), len(of_owner)
        logger.warning(
            "nothing was found, because neither user_id nor session_id was given: %d %s to %d %s; "
            "pass user_id",
            count, "memory belongs" if count == 1 else "memories belong",
            users, "user" if users == 1 else "users",
        )  # fmt: skip


def history(engine: Engine, id_: str) -> list[Record]:
    """Return a memory, all that it has superseded and all that superseded it, oldest first.

    Raises:
        MemoryNotFound: no memory has this id.
    """
    named = engine.find_memory(id_)
    if named is None:
        raise MemoryNotFound()
    of_owner = Selection(kind="memory", scope=Scope(named.scope.owner))
    known = {named.id: named}

    def find(each: str) -> Record | None:
        found = [known[each]] if each in known else engine.find(replace(of_owner, ids=(each,)))
        known.update((record.id, record) for record in found)
        return found[0] if found else None

    successors: tuple[str, ...] = (last_of_chain(id_, find).id,)
    passed: set[str] = set()  # in data from elsewhere, a chain may be a circle
    while successors:
        passed.update(successors)
        older = engine.find(replace(of_owner, superseded_by=successors))
        known |= {record.id: record for record in older}
        successors = tuple(record.id for record in older if record.id not in passed)
    return sorted(known.values(), key=lambda record: (record.true_from, record.created_at))
