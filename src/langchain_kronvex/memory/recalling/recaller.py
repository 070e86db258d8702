"""Recall: embeds the query, searches, orders the results or writes a prompt, counts accesses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage

from langchain_kronvex.core import errors
from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.context_lines import context_text, within
from langchain_kronvex.core.explanation import Explanation
from langchain_kronvex.core.filters import parse_filter
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.core.messages import exchange_contents
from langchain_kronvex.core.records import Match, Page, Scope, Selection
from langchain_kronvex.core.types import MemoryContext, MemoryTypes, OrderBy, RecalledMemory
from langchain_kronvex.embeddings.model import ModelInUse
from langchain_kronvex.memory.before_save import BeforeSave
from langchain_kronvex.memory.conversions import to_recalled
from langchain_kronvex.memory.recalling.explaining import explanation, is_gone
from langchain_kronvex.memory.recalling.reranking import CANDIDATES, Reranker, reranked
from langchain_kronvex.memory.spans import SPANS, UNTRACED
from langchain_kronvex.recall import order
from langchain_kronvex.recall.features import is_unanswered
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.tokenizer import focus
from langchain_kronvex.storage.backend import MemoryBackend

# How often a memory may be reindexed during one recall before the recall fails.
_MAX_MODEL_CHANGES = 50
_GATHER_SECONDS = 0.5  # how long accesses are counted in RAM before they are stored
_BEGINNING = datetime.min.replace(tzinfo=timezone.utc)
# The same for an id that does not exist and for one of somebody else.
_NOT_THEIRS = (
    "The user has no memory with this id: it never existed, was forgotten, has expired and been "
    "removed, or is not theirs."
)
# The user's messages in the turns under way, which tell the contents of the memories made of them.
# No ids, because saving may still be going on in the background.
_OPEN_TURN: ContextVar[tuple[BaseMessage, ...]] = ContextVar("kronvex_open_turn", default=())

T = TypeVar("T")


class AccessCounter(ForkAware):
    """Counts accesses.

    A forked child starts at zero, because the parent stores the earlier counts.
    """

    def __init__(
        self, backend: MemoryBackend, writer: BackgroundWriter, clock: Callable[[], datetime]
    ) -> None:
        self._backend, self._writer, self._clock = backend, writer, clock
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._being_stored: Counter[str] = Counter()
        self._is_queued = False

    def count(self, ids: Iterable[str]) -> None:
        """Count one access of each id, unless a server does so. This never waits or fails."""
        if self._backend.is_remote or self._backend.is_read_only:
            return
        with self._lock:
            self._counts.update(ids)
            if not self._is_queued:
                self._writer.submit(
                    "accesses", self.store, once=True, delay_seconds=_GATHER_SECONDS
                )
                self._is_queued = True

    def uncounted(self, id_: str) -> int:
        """Return how many accesses of an id are not stored yet."""
        return self._counts.get(id_, 0) + self._being_stored.get(id_, 0)

    def store(self) -> None:
        """Store the accesses that were counted."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
            self._being_stored += taken
            self._is_queued = False
        left = taken
        try:
            if taken:
                self._backend.count_accesses(taken, self._clock())
            left = Counter()
        finally:
            with self._lock:
                self._being_stored -= taken
                self._counts += left


@dataclass(frozen=True, slots=True)
class Recaller:
    """Finds memories for `recall`, `inject_context` and the stores built on a memory.

    Args:
        backend: The store of the memories.
        model: The embeddings of their vectors.
        accesses: Counts accesses.
        clock: Returns the current time, as an aware datetime.
        report_degraded: Called if a context was found by words alone, or if the reranker failed.
        before_save: Says how messages are stored.
        rerank: The reranker; None for our own order.
    """

    backend: MemoryBackend
    model: ModelInUse
    accesses: AccessCounter
    clock: Callable[[], datetime]
    report_degraded: Callable[[Exception], None]
    before_save: BeforeSave
    rerank: Reranker | None

    def request(
        self,
        query: str,
        scope: Scope,
        top_k: int,
        memory_type: MemoryTypes = None,
        *,
        threshold: float = 0.0,
        include_shared: bool = False,
        filter: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
        include_superseded: bool = False,
        may_be_blank: bool = False,
    ) -> RecallRequest:
        """Return a checked request.

        Raises:
            InvalidInput: a value does not fit.
        """
        since, until = checks.check_period(since, until)
        return RecallRequest(
            query=checks.check_query(query, may_be_blank=may_be_blank),
            scope=scope,
            top_k=checks.check_count(top_k, "top_k", least=1),
            memory_types=checks.check_types(memory_type),
            threshold=checks.check_share(threshold, "threshold"),
            include_shared=checks.check_flag(include_shared, "include_shared"),
            filter=None if filter is None else parse_filter(filter),
            since=since,
            until=until,
            as_of=checks.check_optional_time(as_of, "as_of"),
            include_superseded=checks.check_flag(include_superseded, "include_superseded")
            or as_of is not None,
            now=self.clock(),
        )

    def recall(
        self, request: RecallRequest, order_by: OrderBy, *, distinct: bool = True
    ) -> list[RecalledMemory]:
        """Return the most similar memories in the requested order, and count accesses.

        If `distinct`, only the most similar of memories with the same text is returned.
        """
        check_order(order_by)
        asked = {"top_k": request.top_k}
        span = SPANS.begin and SPANS.begin("kronvex.recall", self.backend.location, asked)
        with span or UNTRACED as counts:
            shown = self._of_open_turn() if distinct else None
            matches, is_reranked = self._best(request, shown, self.matches)
            found = self._recalled(matches)
            if order_by == "confidence":
                found = _in_default_order(request.query, matches, found, is_reranked)
            counts["hits"] = len(found)
        self.accesses.count(memory.id for memory in found if request.is_counted)
        return found

    def explain(
        self, request: RecallRequest, id_: str, order_by: OrderBy, *, distinct: bool = True
    ) -> Explanation:
        """Return why `recall` returns a memory, or does not; no access is counted.

        Raises:
            MemoryNotFound: no owner of the request has a memory with this id.
        """
        check_order(order_by)
        in_turn, owner = self._of_open_turn(), Scope(request.scope.owner or None)
        chosen = Selection(
            kind="memory",
            scope=owner,
            include_shared=request.include_shared,
            ids=(checks.check_id(id_, "id"),),
        )
        # At the beginning of time nothing has expired.
        record = next(iter(self.backend.find(chosen, Page(), _BEGINNING)), None)
        if record is None:
            raise errors.MemoryNotFound(_NOT_THEIRS)
        accesses = record.access_count + self.accesses.uncounted(record.id)
        matches, is_reranked = self._best(request, in_turn if distinct else None, self.matches)
        ordered = found = self._recalled(matches)
        if order_by == "confidence":
            ordered = _in_default_order(request.query, matches, found, is_reranked)
        weighed = None
        if not is_gone(record, request):
            weighed = self.with_vector(request, partial(self.backend.weigh, record=record))
            if weighed is None:
                raise errors.MemoryNotFound(_NOT_THEIRS)
        return explanation(
            record,
            request,
            weighed,
            by_similarity=found,
            ordered=ordered,
            in_turn=in_turn,
            accesses=accesses,
        )

    def context(
        self,
        request: RecallRequest,
        max_tokens: int | None,
        already_shown: Collection[str],
        order_by: OrderBy,
        unanswered: Callable[[], MemoryContext],
    ) -> MemoryContext:
        """Return the text of the most similar memories in the requested order, each text once.

        If the embeddings fail, memories are found by their words alone. If no memory answers the
        query, the result is that of `unanswered`.
        """
        degraded = False
        try:
            matches, is_reranked = self._best(request, already_shown, self.matches)
        except errors.EmbeddingsError as error:
            degraded = True
            self.report_degraded(error)
            matches, is_reranked = self._best(request, already_shown, self.backend.recall)
        best = [(match.similarity, match.record.content) for match in matches]
        if not request.threshold and is_unanswered(request.query, best):
            return replace(unanswered(), degraded=degraded)
        ranked = found = self._recalled(matches)
        if order_by == "confidence":
            found = _in_default_order(request.query, matches, ranked, is_reranked)
        kept = within(found, max_tokens, ranked)
        self.accesses.count(memory.id for memory in kept)
        degraded |= self.rerank is not None and not is_reranked
        return MemoryContext(context_text(kept), tuple(kept), degraded)

    def matches(self, request: RecallRequest) -> list[Match]:
        """Return the most similar memories with their records; no access is counted."""
        return self.with_vector(request, self.backend.recall)

    def with_vector(self, request: RecallRequest, ask: Callable[[RecallRequest], T]) -> T:
        """Ask the store with the vector of the query, if there are embeddings."""
        model = self.model.current
        for _ in range(_MAX_MODEL_CHANGES):
            if model is None:
                return ask(request)
            try:
                vector = model.query_vector(focus(request.query))
                return ask(
                    replace(request, vector=vector, model=model.name, is_encoded=not model.is_local)
                )
            except errors.EmbeddingMismatch:
                following = self.model.after(model)
                if following is None:
                    raise
                model = following
        raise errors.EmbeddingMismatch(
            "The memory was reindexed repeatedly during one recall; try again."
        )

    def not_to_repeat(self, already_shown: Collection[str]) -> set[str]:
        """Return the texts that a context must not repeat: of the prompt and of open turns.

        Raises:
            InvalidInput: `already_shown` is not a list of texts.
        """
        return {*checks.check_texts(already_shown, "already_shown"), *self._of_open_turn()}

    def _of_open_turn(self) -> set[str]:
        """Return the contents of the memories that the turns under way make."""
        words = _OPEN_TURN.get()
        if not words:
            return set()
        contents = exchange_contents(words)
        if self.before_save.function is not None:
            # If it raises, the messages are not stored, and saving them reports why.
            with suppress(Exception):
                contents |= exchange_contents(map(self.before_save.message, words))
        return contents

    def _best(
        self,
        request: RecallRequest,
        already_shown: Collection[str] | None,
        find: Callable[[RecallRequest], list[Match]],
    ) -> tuple[list[Match], bool]:
        """Return the matches to show, most relevant first, and whether a reranker chose them.

        Texts that are `already_shown`, and repeated ones, are left out, unless it is None.
        """
        if already_shown is None:
            matches = find(replace(request, top_k=self._candidates(request.top_k)))
        else:
            matches = self._unseen(request, already_shown, find)
        if self.rerank is not None:
            query = focus(request.query)
            try:
                return reranked(self.rerank, query, matches, request.top_k), True
            except Exception as error:  # noqa: BLE001 - our own order is better than none
                self.report_degraded(error)
        return matches[: request.top_k], False

    def _unseen(
        self,
        request: RecallRequest,
        already_shown: Collection[str],
        find: Callable[[RecallRequest], list[Match]],
    ) -> list[Match]:
        """Return matches with different texts that are not in the prompt yet.

        There are at least `top_k`, if so many exist, and more of them for a reranker.
        """
        wanted = self._candidates(request.top_k)
        limit = self._candidates(request.top_k + min(len(already_shown), request.top_k))
        while True:
            matches = find(request if limit == request.top_k else replace(request, top_k=limit))
            first_of: dict[str, Match] = {}  # several sessions may contain the same text
            for match in matches:
                if match.record.content not in already_shown:
                    first_of.setdefault(match.record.content, match)
            found = order.beside_derived((each.record for each in first_of.values()), wanted)
            unseen = [first_of[record.content] for record in found]
            if len(unseen) >= request.top_k or len(matches) < limit:
                return unseen[:wanted]
            limit *= 4  # too many of the matches are in the prompt already, or repeat others

    def _candidates(self, top_k: int) -> int:
        """Return how many matches to choose from: more than are wanted, for a reranker."""
        if self.rerank is None:
            return top_k
        most = self.backend.max_top_k
        return CANDIDATES * top_k if most is None else max(top_k, min(CANDIDATES * top_k, most))

    def _recalled(self, matches: Sequence[Match]) -> list[RecalledMemory]:
        now = self.clock()
        return [
            to_recalled(match, self.accesses.uncounted(match.record.id), now) for match in matches
        ]


def check_order(order_by: object) -> None:
    """Raise `InvalidInput` if it is not an order."""
    if order_by not in ("confidence", "similarity"):
        raise errors.InvalidInput(
            f"order_by must be 'confidence' or 'similarity', not {checks.shown(order_by)}."
        )


def _in_default_order(
    query: str, matches: Sequence[Match], found: Sequence[RecalledMemory], is_reranked: bool
) -> list[RecalledMemory]:
    ordered = list(zip(matches, found, strict=True))
    if not is_reranked:
        ordered.sort(key=lambda pair: -pair[1].confidence)
    if not order.asks_of_past(query):
        said = [
            order.Candidate(m.record.words_said, m.record.created_at.timestamp(), m.similarity)
            for m, _ in ordered
        ]
        ordered = [ordered[n] for n in order.newest_first(query, said, by_relevance=is_reranked)]
    return order.derived_first([memory for _, memory in ordered])


@contextmanager
def open_turn(words: Iterable[BaseMessage]) -> Iterator[None]:
    """Leave the memories of these messages out of what is recalled in this context.

    Args:
        words: The messages of the user in this turn.
    """
    before = _OPEN_TURN.get()
    _OPEN_TURN.set((*before, *words))
    try:
        yield
    finally:
        _OPEN_TURN.set(before)  # a stream may be closed in another context, where `reset` fails
