"""Searches the items of a namespace: by a query or newest first, filtered, page by page.

A few namespaces under a prefix are searched one by one, and the best results of all are returned.
Many are searched together, if the store can do so: an index for each would take too much memory
and time. A filter is applied to the results, which are fetched in growing portions until enough of
them pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import nlargest
from typing import Any

from langgraph.store.base import SearchOp

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.filters import accepting
from langchain_kronvex.core.records import Match, Page, Record, Scope, Selection
from langchain_kronvex.langgraph.items import is_part, key_of, namespace_of, select
from langchain_kronvex.langgraph.namespaces import check_namespace, is_under, read
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.memory.namespaced_items import (
    SEARCHABLE,
    SESSION,
    Namespace,
    owner_of,
    written,
)

_MIN_FILTERED_PORTION = 64  # nobody knows how many items pass a filter
_GROWTH = 4
_MANY_OWNERS = 50  # namespaces, from which on they are searched together
Find = Callable[[Any], list[Match] | None]  # of a request
Found = tuple[Record, float | None]  # with the similarity, if there was a query


@dataclass(frozen=True, slots=True)
class CheckedSearch:
    """The checked arguments of a search.

    Attributes:
        count: How many items are needed.
        portion: How many items to fetch first.
    """

    prefix: Namespace
    query: str
    accept: Callable[[Mapping[str, Any]], bool]
    offset: int
    count: int
    portion: int

    @classmethod
    def of(cls, asked: SearchOp) -> CheckedSearch:
        """Check the arguments of a search.

        Raises:
            InvalidInput: query, filter, limit or offset does not fit.
            InvalidNamespaceError: a label does not fit.
        """
        if not isinstance(asked.query, str | None):
            raise InvalidInput(f"query must be a string or None, not {type(asked.query).__name__}.")
        limit = checks.check_count(asked.limit, "limit", least=0)
        offset = checks.check_count(asked.offset, "offset", least=0)
        count = limit + offset if limit else 0
        return cls(
            prefix=check_namespace(asked.namespace_prefix, may_be_empty=True),
            query=(asked.query or "").strip(),
            accept=accepting(asked.filter),
            offset=offset,
            count=count,
            portion=max(count, _MIN_FILTERED_PORTION) if asked.filter else count,
        )

    def accepts(self, record: Record) -> bool:
        """Return whether an item passes the filter."""
        return self.accept(record.metadata["value"])


class Searcher:
    """Searches the items. Unlike the verbs of `KronvexMemory`, it counts no accesses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._long: dict[str, Namespace] = {}  # the namespaces with a digest as their name

    def search(self, search: CheckedSearch) -> list[Found]:
        """Return the requested page."""
        if not search.count:
            return []
        found = self._similar(search) if search.query else self._newest(search)
        return found[search.offset :]

    def namespaces(self, prefix: Namespace) -> dict[Namespace, str]:
        """Return the namespaces nested in a prefix, with the names of their owners."""
        owners, now = self._engine.backend.owners, self._engine.clock()
        found = {read(name): name for name in owners(f"{written(prefix)}/", now)}
        for name in owners(checks.DIGESTED, now):
            namespace = self._long_namespace(name)
            if namespace and is_under(namespace, prefix):
                found[namespace] = name
        return found

    def _long_namespace(self, name: str) -> Namespace:
        if name not in self._long:
            newest = self.newest(name, 1, 0)
            if not newest:
                return ()
            self._long[name] = namespace_of(newest[0])
        return self._long[name]

    def _owners(self, prefix: Namespace) -> Iterator[str]:
        nested = self.namespaces(prefix)
        if prefix and prefix not in nested:
            yield owner_of(prefix)
        yield from nested.values()

    def _similar(self, search: CheckedSearch) -> list[Found]:
        owners, recaller = list(self._owners(search.prefix)), self._engine.recaller
        found: list[Match] | None = None
        if len(owners) >= _MANY_OWNERS:
            among = partial(self._engine.backend.recall_among, sorted(owners))
            together = partial(recaller.with_vector, ask=among)
            found = self._matches(search, written(search.prefix), together)
        if found is None:
            each = [self._matches(search, owner, recaller.matches) or [] for owner in owners]
            found = [match for matches in each for match in matches]
        best = nlargest(search.count, found, key=lambda match: match.similarity)
        return [(match.record, match.similarity) for match in best]

    def _matches(self, search: CheckedSearch, name: str, find: Find) -> list[Match] | None:
        """Return the best items that pass the filter; None if they cannot be found in this way."""
        portion = search.portion
        while True:
            scope = Scope(name)
            request = self._engine.recaller.request(search.query, scope, portion, SEARCHABLE)
            matches = find(request)
            if matches is None:
                return None
            best = self._best_of_each(matches)
            passed = [match for match in best if search.accepts(match.record)]
            if len(passed) >= search.count or len(matches) < portion:
                return passed[: search.count]
            portion *= _GROWTH

    def _best_of_each(self, matches: Sequence[Match]) -> list[Match]:
        """Return the first match of each item, with the record of the item itself."""
        keys_of: dict[str, set[str]] = {}
        for part in (match.record for match in matches if is_part(match.record)):
            keys_of.setdefault(part.scope.owner, set()).add(key_of(part))
        whole = {
            (owner, record.key): record
            for owner, keys in keys_of.items()
            for record in self._engine.find(select(owner, tuple(keys)))
        }
        best: dict[tuple[str, str], Match] = {}
        for match in matches:
            key = (match.record.scope.owner, key_of(match.record))
            record = whole.get(key) if is_part(match.record) else match.record
            # A part written at another time belongs to an earlier version of the item.
            if record is not None and record.created_at == match.record.created_at:
                best.setdefault(key, replace(match, record=record))
        return list(best.values())

    def _newest(self, search: CheckedSearch) -> list[Found]:
        owners: list[str | None] = [*self._owners(search.prefix)] if search.prefix else [None]
        found = [record for owner in owners for record in self._newest_of(owner, search)]
        if len(owners) > 1:
            found.sort(key=lambda record: record.created_at, reverse=True)
        return [(record, None) for record in found[: search.count]]

    def newest(self, owner: str | None, limit: int, offset: int) -> list[Record]:
        """Return a page of the items of one owner, or of all owners with parts, newest first."""
        scope = None if owner is None else Scope(owner, SESSION)
        page = Page(newest_first=True, limit=limit, offset=offset)
        return self._engine.find(Selection(kind="memory", scope=scope), page)

    def _newest_of(self, owner: str | None, search: CheckedSearch) -> list[Record]:
        portion, offset = search.portion, 0
        passed: dict[str, Record] = {}  # by id, because concurrent writes shift the pages
        while True:
            page = self.newest(owner, portion, offset)
            items = (record for record in page if not is_part(record))
            passed |= {record.id: record for record in items if search.accepts(record)}
            if len(passed) >= search.count or len(page) < portion:
                return list(passed.values())[: search.count]
            offset += portion
            portion *= _GROWTH
