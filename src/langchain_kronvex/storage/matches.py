"""From what an index has found to matches, for the stores that search an index in RAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import nlargest

from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.search import Hits
from langchain_kronvex.storage.backend import Match
from langchain_kronvex.storage.record import Record


def recall_owners(
    request: RecallRequest, recall_owner: Callable[[RecallRequest], list[Match]]
) -> list[Match]:
    """Search each owner of a request; return the best matches, most similar first."""
    requests = request.by_owner()
    matches = [match for each in requests for match in recall_owner(each)]
    if len(requests) == 1:
        return matches
    return nlargest(request.top_k, matches, key=lambda match: match.similarity)


def matches_of(hits: Hits, record_of: Mapping[int, Record]) -> list[Match]:
    """Return the hits whose records are still there, in their order."""
    scored = zip(hits.seqs, hits.similarity, hits.probability, strict=True)
    return [Match(record_of[seq], sim, prob) for seq, sim, prob in scored if seq in record_of]
