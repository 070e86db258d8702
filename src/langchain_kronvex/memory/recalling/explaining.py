"""Puts together why a memory is recalled, or what keeps it out. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta

from langchain_kronvex.core.explanation import Explanation, KeptOut
from langchain_kronvex.core.records import Record
from langchain_kronvex.core.types import RecalledMemory
from langchain_kronvex.recall.explanation import Weighed
from langchain_kronvex.recall.order import confidence, frequency, recency
from langchain_kronvex.recall.request import RecallRequest


def is_gone(record: Record, request: RecallRequest) -> bool:
    """Return whether the search does not see a memory at all, and so cannot weigh it."""
    is_superseded = not request.include_superseded and record.superseded_by is not None
    return is_superseded or not record.is_visible(request.now)


def explanation(
    record: Record,
    request: RecallRequest,
    weighed: Weighed | None,
    *,
    by_similarity: Sequence[RecalledMemory],
    ordered: Sequence[RecalledMemory],
    in_turn: Collection[str],
    accesses: int,
) -> Explanation:
    """Return why recall returns a memory, or does not.

    Args:
        record: The memory.
        request: The question.
        weighed: How the search weighs it; None if it is gone.
        by_similarity: The results, the most similar first.
        ordered: The results in the order of the request.
        in_turn: The texts of the turn under way, which are not recalled.
        accesses: How often the memory was recalled.
    """
    by_confidence = sorted(by_similarity, key=lambda each: -each.confidence)
    ids = [[each.id for each in found] for found in (by_similarity, by_confidence, ordered)]
    ranks = [each.index(record.id) + 1 if record.id in each else None for each in ids]
    out = () if ranks[0] else _kept_out(record, request, weighed, by_similarity, in_turn)
    similarity = weighed.similarity[0] if weighed else 0.0
    fresh = recency(record.type, (request.now - record.created_at) / timedelta(days=1))
    often = frequency(accesses)
    return Explanation(
        id=record.id,
        kept_out=out,
        place=weighed.place if weighed else None,
        of=weighed.of if weighed else 0,
        top_k=request.top_k,
        threshold=request.threshold,
        rank_by_similarity=ranks[0],
        rank_by_confidence=ranks[1],
        rank=ranks[2],
        shares=weighed.shares if weighed else {},
        terms=weighed.terms if weighed else {},
        relevance=weighed.relevance if weighed else 0.0,
        similarity=similarity,
        probability=weighed.probability[0] if weighed else 0.0,
        recency=fresh,
        frequency=often,
        confidence=confidence(similarity, fresh, often) if weighed else 0.0,
    )


def _kept_out(
    record: Record,
    request: RecallRequest,
    weighed: Weighed | None,
    results: Sequence[RecalledMemory],
    in_turn: Collection[str],
) -> tuple[KeptOut, ...]:
    """Return what keeps a memory out of the results: all of it, so that all can be changed."""
    unmet = tuple(_unmet(record, request))
    if unmet or weighed is None:
        return unmet
    reasons: dict[KeptOut, bool] = {
        "this_turn": record.content in in_turn,
        "threshold": weighed.similarity[0] < request.threshold,
        "same_text": any(each.content == record.content for each in results),
        "derived": any(record.id in each.sources for each in results),
        "prefilter": not weighed.is_scored,
        "top_k": weighed.is_scored and (weighed.place or 0) > request.top_k,
    }
    return tuple(name for name, holds in reasons.items() if holds) or ("top_k",)


def _unmet(record: Record, request: RecallRequest) -> Iterator[KeptOut]:
    """Yield the conditions of a request that a memory does not meet, however well it fits."""
    session, moment, until = request.scope.only_session, request.as_of, record.valid_until
    if not record.is_visible(request.now):
        yield "expired"
    if not request.include_superseded and record.superseded_by:
        yield "superseded"
    if moment and not (record.true_from <= moment and (until is None or moment < until)):
        yield "as_of"
    if record.scope.owner == request.scope.owner and session not in (None, record.scope.session_id):
        yield "session"
    if request.memory_types is not None and record.type not in request.memory_types:
        yield "memory_type"
    if request.since and record.created_at < request.since:
        yield "since"
    if request.until and record.created_at >= request.until:
        yield "until"
    if request.filter and not request.filter.accepts(record.metadata):
        yield "filter"
