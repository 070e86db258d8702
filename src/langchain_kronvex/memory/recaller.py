"""Recall: the query's vector, the search, the order, and the text for a prompt."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.context_lines import context_text, within
from langchain_kronvex.core.effects import Plan, call
from langchain_kronvex.core.errors import EmbeddingMismatch, EmbeddingsError, InvalidInput
from langchain_kronvex.core.types import MemoryContext, OrderBy, RecalledMemory, Scope
from langchain_kronvex.embeddings.model import EmbeddingModel, ModelInUse
from langchain_kronvex.memory.conversions import to_recalled
from langchain_kronvex.memory.upkeep_jobs import AccessCounter
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import Match, MemoryBackend

# How often a memory may be reindexed under a recall before the recall gives up.
_CHANGES_OF_MODEL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a caller asks to recall, checked."""

    query: str
    scope: Scope
    top_k: int
    memory_type: str | None
    threshold: float = 0.0
    include_shared: bool = False
    order_by: OrderBy = "confidence"
    shown: Collection[str] = ()
    distinct: bool = False

    def __post_init__(self) -> None:
        checks.check_query(self.query)
        checks.check_count(self.top_k, "top_k", least=1)
        checks.check_share(self.threshold, "threshold")
        if self.memory_type is not None:
            checks.check_type(self.memory_type)
        if self.order_by not in ("confidence", "similarity"):
            raise InvalidInput(
                f"order_by must be 'confidence' or 'similarity', not {self.order_by!r}."
            )


@dataclass(frozen=True, slots=True)
class Recaller:
    """Finds memories; its plans hold what `recall` and `inject_context` share."""

    backend: MemoryBackend
    model: ModelInUse
    accesses: AccessCounter
    clock: Callable[[], datetime]
    on_degraded: Callable[[Exception], None]

    def recall(self, wanted: Wanted) -> Plan[list[RecalledMemory]]:
        """Return the chosen memories in the order asked for, and count the access."""
        found = yield from self._found(wanted)
        self.accesses.count(memory.id for memory in found)
        return found

    def matches(self, wanted: Wanted) -> Plan[list[Match]]:
        """Return the chosen memories with their records, most similar first; uncounted."""
        return (yield from self._found_by(self.model.current, wanted, _CHANGES_OF_MODEL))

    def context(self, wanted: Wanted, max_tokens: int | None) -> Plan[MemoryContext]:
        """Return the text of the chosen memories; by their words alone if the embeddings fail."""
        if max_tokens is not None:
            checks.check_count(max_tokens, "max_tokens", least=1)
        degraded = False
        try:
            found = yield from self._found(wanted)
        except EmbeddingsError as error:
            degraded = True
            self.on_degraded(error)
            matches = yield from self._search(wanted, None, None)
            found = self._ordered(matches, wanted)
        kept = within(found, max_tokens)
        self.accesses.count(memory.id for memory in kept)
        return MemoryContext(context_text(kept), tuple(kept), degraded)

    def _found(self, wanted: Wanted) -> Plan[list[RecalledMemory]]:
        matches = yield from self.matches(wanted)
        return self._ordered(matches, wanted)

    def _ordered(self, matches: list[Match], wanted: Wanted) -> list[RecalledMemory]:
        """Return what users see of matches, in the order asked for."""
        now = self.clock()
        found = [
            to_recalled(match, self.accesses.uncounted(match.record.id), now) for match in matches
        ]
        if wanted.order_by == "confidence":
            found.sort(key=lambda memory: -memory.confidence)
        return found

    def _found_by(
        self, model: EmbeddingModel | None, wanted: Wanted, changes: int
    ) -> Plan[list[Match]]:
        """Find by meaning and words; without a model by words alone."""
        if model is None:
            return (yield from self._search(wanted, None, None))
        try:
            vector = yield from model.query_vector(wanted.query)
            return (yield from self._search(wanted, vector, model.name))
        except EmbeddingMismatch:
            following = self.model.after(model)
            if following is None or not changes:
                raise
        return (yield from self._found_by(following, wanted, changes - 1))

    def _search(
        self, wanted: Wanted, vector: Floats | None, model: str | None
    ) -> Plan[list[Match]]:
        now = self.clock()
        limit = wanted.top_k + min(len(wanted.shown), wanted.top_k)
        while True:
            asked = RecallRequest(
                query=wanted.query,
                vector=vector,
                model=model,
                scope=wanted.scope,
                include_shared=wanted.include_shared,
                memory_type=wanted.memory_type,
                top_k=limit,
                threshold=wanted.threshold,
                now=now,
            )
            matches: list[Match] = yield call(self.backend, "recall", asked)
            fresh = [match for match in matches if match.record.content not in wanted.shown]
            if wanted.distinct:  # the same words said in several sessions
                first_of: dict[str, Match] = {}
                for match in fresh:
                    first_of.setdefault(match.record.content, match)
                fresh = list(first_of.values())
            if len(fresh) >= wanted.top_k or len(matches) < limit:
                break
            limit *= 4  # too many of them are in the prompt already
        return fresh[: wanted.top_k]
