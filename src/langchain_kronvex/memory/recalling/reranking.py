"""The user's reranker: reads the query and each candidate together, and chooses the best.

It is one of LangChain's cross-encoders or document compressors. It decides which memories are
returned and in which order; their scores stay ours.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from langchain_core.documents import Document

from langchain_kronvex.core.errors import RerankingFailed
from langchain_kronvex.core.records import Match

if TYPE_CHECKING:
    from langchain_core.cross_encoders import BaseCrossEncoder
    from langchain_core.documents.compressor import BaseDocumentCompressor

Reranker: TypeAlias = "BaseCrossEncoder | BaseDocumentCompressor"
CANDIDATES = 4  # for each memory that is wanted
_ID = "kronvex_id"  # in the metadata: many compressors return new documents, without ids
logger = logging.getLogger("langchain_kronvex")


def reranked(reranker: Reranker, query: str, matches: Sequence[Match], top_k: int) -> list[Match]:
    """Return the best matches in the reranker's order, and log how long it took.

    Raises:
        RerankingFailed: the result is unusable; whatever the reranker raises is raised as well.
    """
    if not matches:
        return []
    began = time.perf_counter()
    if hasattr(reranker, "score"):
        best = _by_score(cast("BaseCrossEncoder", reranker), query, matches)
    else:
        best = _compressed(reranker, query, matches)
    took = 1000 * (time.perf_counter() - began)
    logger.debug("reranked %d memories in %.1f ms, %d kept", len(matches), took, len(best))
    return best[:top_k]


def _by_score(encoder: BaseCrossEncoder, query: str, matches: Sequence[Match]) -> list[Match]:
    scores = list(map(float, encoder.score([(query, match.record.content) for match in matches])))
    if len(scores) != len(matches) or not all(map(math.isfinite, scores)):
        raise RerankingFailed(
            f"The reranker returned {len(scores)} scores for {len(matches)} memories; each needs "
            "a finite number."
        )
    order = sorted(range(len(matches)), key=lambda n: -scores[n])
    return [matches[n] for n in order]


def _compressed(
    compressor: BaseDocumentCompressor, query: str, matches: Sequence[Match]
) -> list[Match]:
    known = {match.record.id: match for match in matches}
    found = compressor.compress_documents([_document(match) for match in matches], query)
    ids = [str(document.metadata.get(_ID, document.id)) for document in found]
    if unknown := sum(id_ not in known for id_ in ids):
        raise RerankingFailed(
            f"The reranker returned {unknown} documents that it was not given: it must keep their "
            f"ids, or {_ID} in their metadata."
        )
    return [known[id_] for id_ in dict.fromkeys(ids)]


def _document(match: Match) -> Document:
    record = match.record
    own = {
        _ID: record.id,
        "memory_type": record.type,
        "created_at": record.created_at.isoformat(),
        "similarity": match.similarity,
    }
    return Document(id=record.id, page_content=record.content, metadata={**record.metadata, **own})
