"""Searching items under a namespace: by a query or newest first, filtered, page by page.

Every namespace is searched on its own, then the best of all are chosen. A filter is applied to
what was found, in growing portions, until there is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import nlargest
from typing import TypeVar

from langgraph.store.base import SearchOp

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.langgraph.filters import Accept, accepting
from langchain_kronvex.langgraph.items import namespace_of, value_of
from langchain_kronvex.langgraph.namespaces import (
    LONG,
    Namespace,
    check_namespace,
    is_under,
    owner_of,
    read,
    written,
)
from langchain_kronvex.memory.keyed_documents import KeyedMemories, is_part
from langchain_kronvex.storage.backend import Match, Record

_FIRST_PORTION = 64  # when there is a filter, which passes who knows how many
_GROWTH = 4
T = TypeVar("T")
Fetch = Callable[[int, int], list[T]]  # with a limit and an offset


@dataclass(frozen=True, slots=True)
class Found:
    """A found record, with its similarity when there was a query."""

    record: Record
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """A search as it was asked for, checked."""

    prefix: Namespace
    query: str
    accept: Accept
    filtered: bool
    limit: int
    offset: int

    @classmethod
    def of(cls, asked: SearchOp) -> Wish:
        """Check what was asked for.

        Raises:
            InvalidInput: query, filter, limit or offset does not fit.
            InvalidNamespaceError: a label does not fit.
        """
        return cls(
            prefix=check_namespace(asked.namespace_prefix, may_be_empty=True),
            query=_check_query(asked.query),
            accept=accepting(asked.filter),
            filtered=bool(asked.filter),
            limit=checks.check_count(asked.limit, "limit", least=0),
            offset=checks.check_count(asked.offset, "offset", least=0),
        )

    @property
    def count(self) -> int:
        """How many have to be found."""
        return self.limit + self.offset


def _check_query(query: object) -> str:
    if not isinstance(query, str | None):
        raise InvalidInput(f"query must be a string or None, not {type(query).__name__}.")
    return (query or "").strip()


class Searcher:
    """Searches the items that are kept as keyed memories."""

    def __init__(self, memories: KeyedMemories) -> None:
        self._memories = memories
        self._long: dict[str, Namespace] = {}  # the namespaces that are kept as digests

    def search(self, wish: Wish) -> list[Found]:
        """Return the page that is wished for."""
        if not wish.limit:
            return []
        found = self._similar(wish) if wish.query else self._newest(wish)
        return found[wish.offset :]

    def namespaces(self, prefix: Namespace) -> dict[Namespace, str]:
        """Return the namespaces that lie under a prefix, with the names of their owners."""
        names = self._memories.owners(f"{written(prefix)}/")
        found = {read(name): name for name in names}
        for name in self._memories.owners(LONG):
            namespace = self._long_namespace(name)
            if namespace and is_under(namespace, prefix):
                found[namespace] = name
        return found

    def _long_namespace(self, name: str) -> Namespace:
        if name not in self._long:
            newest = self._memories.newest(name, 1, 0)
            if not newest:
                return ()
            self._long[name] = namespace_of(newest[0])
        return self._long[name]

    def _owners(self, prefix: Namespace) -> list[str]:
        below = self.namespaces(prefix)
        itself = [owner_of(prefix)] if prefix and prefix not in below else []
        return [*itself, *below.values()]

    def _similar(self, wish: Wish) -> list[Found]:
        found: list[Match] = []
        for owner in self._owners(wish.prefix):
            found += self._matches_of(owner, wish)
        best = nlargest(wish.count, found, key=lambda match: match.similarity)
        return [Found(match.record, match.similarity) for match in best]

    def _matches_of(self, owner: str, wish: Wish) -> list[Match]:
        portion = self._portion(wish)
        while True:
            matches, complete = self._memories.matches(owner, wish.query, portion)
            passed = [match for match in matches if wish.accept(value_of(match.record))]
            if len(passed) >= wish.count or complete:
                return passed[: wish.count]
            portion *= _GROWTH

    def _newest(self, wish: Wish) -> list[Found]:
        owners: list[str | None] = [None]  # all of them
        if wish.prefix:
            owners = [*(self._owners(wish.prefix))]
        found: list[Record] = []
        for owner in owners:
            found += self._newest_of(owner, wish)
        if len(owners) > 1:
            found.sort(key=lambda record: record.created_at, reverse=True)
        return [Found(record) for record in found[: wish.count]]

    def _newest_of(self, owner: str | None, wish: Wish) -> list[Record]:
        portion, offset = self._portion(wish), 0
        passed: dict[str, Record] = {}  # by id: what is written meanwhile moves the pages
        while True:
            page = self._memories.newest(owner, portion, offset)
            items = (record for record in page if not is_part(record))
            passed |= {record.id: record for record in items if wish.accept(value_of(record))}
            if len(passed) >= wish.count or len(page) < portion:
                return list(passed.values())[: wish.count]
            offset += portion
            portion *= _GROWTH

    def _portion(self, wish: Wish) -> int:
        return max(wish.count, _FIRST_PORTION) if wish.filtered else wish.count
