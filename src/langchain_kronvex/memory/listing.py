"""Listings: pages of the memories of a scope, and the history of one memory."""

from __future__ import annotations

from dataclasses import replace

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import MemoryNotFound
from langchain_kronvex.core.filters import Filter
from langchain_kronvex.core.types import Scope
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.storage.backend import Page, Record, Selection

_LEAST_PORTION = 200  # memories that are read at a time to be filtered


def listed(
    engine: Engine, chosen: Selection, wanted: Filter | None, limit: int, offset: int
) -> list[Record]:
    """Return a page of the chosen memories that pass a filter, newest first."""
    checks.check_count(limit, "limit", least=1)
    checks.check_count(offset, "offset", least=0)
    page = Page(by="created", newest_first=True, limit=limit, offset=offset)
    if wanted is None:
        return engine.find(chosen, page)
    passed: list[Record] = []
    portion = replace(page, limit=max(_LEAST_PORTION, limit), offset=0)
    while len(passed) < offset + limit and (found := engine.find(chosen, portion)):
        passed += [record for record in found if wanted.accepts(record.metadata)]
        portion = replace(portion, offset=portion.offset + len(found))
    return passed[offset : offset + limit]


def history(engine: Engine, id_: str) -> list[Record]:
    """Return a memory, all that it has superseded and all that superseded it, oldest first.

    Raises:
        MemoryNotFound: no memory has this id.
    """
    last = engine.find_memory(id_)
    if last is None:
        raise MemoryNotFound()
    of_owner = Selection(kind="memory", scope=Scope(last.scope.owner))
    known = {last.id: last}
    while last.superseded_by and (
        later := engine.find(replace(of_owner, ids=(last.superseded_by,)))
    ):
        (last,) = later
        known[last.id] = last
    successors: tuple[str, ...] = (last.id,)
    while successors:
        older = engine.find(replace(of_owner, superseded_by=successors))
        known |= {record.id: record for record in older}
        successors = tuple(record.id for record in older)
    return sorted(known.values(), key=lambda record: (record.true_from, record.created_at))
