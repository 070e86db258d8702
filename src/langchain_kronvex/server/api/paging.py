"""Pages of memories, by the parameters of every dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from langchain_kronvex.core.types import Memory, Scope
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.server import queries as engine

Order = Literal["recent", "oldest", "access_count", "date_desc", "date_asc"]
_OLDEST_FIRST = ("oldest", "date_asc")
_DEFAULT_LIMIT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which memories, in which order, and which part of them."""

    scope: Scope | None
    memory_type: str | None
    search: str | None
    sort: Order
    limit: int
    offset: int

    @property
    def is_plain(self) -> bool:
        """The store itself can tell the part and the number of all."""
        return not self.search and self.memory_type is None and self.sort != "access_count"


def bounds(
    page: int, per_page: int | None, limit: int | None, offset: int | None
) -> tuple[int, int]:
    """Return limit and offset of a page; `limit` wins over `per_page`, `offset` over `page`."""
    size = limit or per_page or _DEFAULT_LIMIT
    return size, (page - 1) * size if offset is None else offset


def listed(memory: KronvexMemory, wanted: Listing) -> tuple[list[Memory], int]:
    """Return the memories of a page, and how many there are on all pages."""
    oldest_first = wanted.sort in _OLDEST_FIRST
    if wanted.is_plain:
        total = sum(session.memories for session in engine.sessions(memory, wanted.scope))
        found = engine.find(
            memory,
            wanted.scope,
            oldest_first=oldest_first,
            limit=wanted.limit,
            offset=wanted.offset,
        )
        return found, total
    found = engine.find(memory, wanted.scope, wanted.memory_type, oldest_first=oldest_first)
    if wanted.search:
        text = wanted.search.casefold()
        found = [each for each in found if text in each.content.casefold()]
    if wanted.sort == "access_count":
        found.sort(key=lambda each: -each.access_count)
    return found[wanted.offset : wanted.offset + wanted.limit], len(found)
