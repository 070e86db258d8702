"""The context of a prompt: the profile of a user, what was recalled for a query, or both.

A profile is what is true of a user now, read without a question: documents of `KronvexProfile`,
then standing instructions, pinned statements, other statements, and what was said last; each the
newest first, and no memory beside what was derived from it if both say the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import merge
from itertools import islice

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.context_lines import approximate_tokens, document_lines, memory_line
from langchain_kronvex.core.filters import Filter
from langchain_kronvex.core.records import Match, Page, Record, Scope, Selection
from langchain_kronvex.core.types import MemoryContext, OrderBy, RecalledMemory
from langchain_kronvex.memory.conversions import is_document, to_recalled
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.memory.recalling.recaller import check_order
from langchain_kronvex.memory.spans import SPANS, UNTRACED
from langchain_kronvex.recall.features import asks_nothing
from langchain_kronvex.recall.order import is_said_again
from langchain_kronvex.recall.request import RecallRequest

DEFAULT_TOKENS = 1000
STATEMENTS: tuple[str, ...] = tuple(name for name in checks.MEMORY_TYPES if name != "episodic")
_OTHERS = tuple(name for name in STATEMENTS if name != "procedural")
_DOCUMENTS = (("context",), True)
# The types of each part of a profile, and whether it is of those that are pinned.
_PARTS: tuple[tuple[tuple[str, ...], bool | None], ...] = (
    _DOCUMENTS, (("procedural",), True), (("procedural",), False), (_OTHERS, True),
    (_OTHERS, False), (("episodic",), None),
)  # fmt: skip
_LEAST_LINE_TOKENS = 6  # "[fact, 2026-04-28] x" and the end of the line
_LEAST_PINNED = 100  # so many are read, however small the budget, to find the documents among them
_MOST_READ = 5000  # of pinned statements, of others, and of what was said
_NO_LIMIT = 1 << 62


def profile(engine: Engine, scope: Scope, max_tokens: int | None) -> MemoryContext:
    """Return the profile of a scope; see `KronvexMemory.profile`."""
    tokens = DEFAULT_TOKENS if max_tokens is None else max_tokens
    checks.check_count(tokens, "max_tokens", least=1)
    request = engine.recaller.request("", scope, tokens, may_be_blank=True)
    return _profile(engine, request, tokens, engine.recaller.not_to_repeat(()))


def prompt_context(
    engine: Engine,
    request: RecallRequest,
    max_tokens: int | None,
    already_shown: Collection[str],
    order_by: OrderBy,
    profile_tokens: int | None,
) -> MemoryContext:
    """Return the context for a query; see `KronvexMemory.inject_context`."""
    checks.check_optional_count(max_tokens, "max_tokens", least=1)
    check_order(order_by)
    checks.check_optional_count(profile_tokens, "profile_tokens", least=1)
    shown, known = engine.recaller.not_to_repeat(already_shown), MemoryContext()
    if profile_tokens is not None:
        # A line has at least one token, so that the tokens also limit the memories.
        known = _profile(engine, replace(request, top_k=profile_tokens), profile_tokens, shown)
        shown |= {memory.content for memory in known.memories}

    def unanswered() -> MemoryContext:
        return _profile(engine, request, max_tokens, shown) if profile_tokens is None else known

    if not request.query.strip() or (not request.threshold and asks_nothing(request.query)):
        return unanswered()
    asked = {"top_k": request.top_k}
    span = SPANS.begin and SPANS.begin("kronvex.recall", engine.backend.location, asked)
    with span or UNTRACED as counts:
        found = engine.recaller.context(request, max_tokens, shown, order_by, unanswered)
        counts |= {"hits": len(found.memories), "degraded": found.degraded}
    if found.memories == known.memories:
        return found
    text = "\n".join(filter(None, (known.context, found.context)))
    return MemoryContext(text, known.memories + found.memories, found.degraded)


@dataclass(slots=True)
class _Lines:
    """Lines of a prompt within a budget of memories and tokens."""

    memories_left: int
    tokens_left: int
    lines: list[str] = field(default_factory=list)
    memories: list[RecalledMemory] = field(default_factory=list)

    @property
    def room(self) -> int:
        """The most memories that may still fit."""
        return min(self.memories_left, self.tokens_left // _LEAST_LINE_TOKENS, _MOST_READ)

    def add(self, memory: RecalledMemory, lines: list[str]) -> None:
        """Add the lines of a memory that fit; a longer one leaves room for those that follow."""
        taken = len(self.lines)
        for line in lines if self.memories_left else ():
            tokens = approximate_tokens(line + "\n")
            if tokens <= self.tokens_left:
                self.tokens_left -= tokens
                self.lines.append(line)
        if len(self.lines) > taken:
            self.memories_left -= 1
            self.memories.append(memory)


def _profile(
    engine: Engine, request: RecallRequest, max_tokens: int | None, already_shown: Collection[str]
) -> MemoryContext:
    """Return the profile: at most `top_k` memories, of the requested scope and type."""
    profile = _Lines(request.top_k, _NO_LIMIT if max_tokens is None else max_tokens)
    shown = set(already_shown)
    for part in _PARTS:
        types, pinned = part
        if request.memory_types is not None:
            types = tuple(name for name in types if name in request.memory_types)
        if not types or not profile.room:
            continue
        count = max(profile.room, _LEAST_PINNED) if pinned else profile.room
        # A server lists everything for each page, and a filter may pass few.
        at_once = engine.backend.is_remote or request.filter is not None
        page_size = _MOST_READ if at_once else count
        chosen = [replace(each, types=types, pinned=pinned) for each in _selections(request)]
        pages = [_newest(engine, each, page_size) for each in chosen]
        newest = islice(merge(*pages, key=_said_last, reverse=True), _MOST_READ)
        if part is _DOCUMENTS:
            newest = islice(filter(is_document, newest), _MOST_READ)
        unseen = (
            record
            for record in _unseen(newest, request.filter, shown)
            if not is_said_again(record, profile.memories)
        )
        for record in list(islice(unseen, count)):
            memory = _unscored(engine, record, request)
            profile.add(memory, _lines(record, memory))
    return MemoryContext("\n".join(profile.lines), tuple(profile.memories))


def _selections(request: RecallRequest) -> list[Selection]:
    """Return a selection for each owner: an index has the records of one owner in order."""
    return [
        Selection(
            kind="memory", scope=each.scope, since=each.since, until=each.until,
            as_of=each.as_of, is_current=not each.include_superseded,
        )
        for each in request.by_owner()
    ]  # fmt: skip


def _said_last(record: Record) -> datetime:
    return record.created_at


def _newest(engine: Engine, chosen: Selection, page_size: int) -> Iterator[Record]:
    """Yield the newest records; the next page is read only when it is needed."""
    page = Page(by="created", newest_first=True, limit=page_size)
    while True:
        found = engine.find(chosen, page)
        yield from found
        if len(found) < page_size:
            return
        page = replace(page, offset=page.offset + page_size)


def _unseen(found: Iterable[Record], wanted: Filter | None, shown: set[str]) -> Iterator[Record]:
    """Yield the records that pass a filter, each text once, and note that they are shown."""
    for record in found:
        if record.content not in shown and (wanted is None or wanted.accepts(record.metadata)):
            shown.add(record.content)
            yield record


def _unscored(engine: Engine, record: Record, request: RecallRequest) -> RecalledMemory:
    """Return a memory that was not looked for."""
    uncounted = engine.accesses.uncounted(record.id)
    return to_recalled(Match(record, 0.0, 0.0), uncounted, request.now)


def _lines(record: Record, memory: RecalledMemory) -> list[str]:
    fields = document_lines(record.content) if is_document(record) else None
    return [memory_line(memory)] if fields is None else fields
