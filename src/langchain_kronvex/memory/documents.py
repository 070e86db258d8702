"""Recalled memories as LangChain documents."""

from __future__ import annotations

from langchain_core.documents import Document

from langchain_kronvex.core.types import RecalledMemory


def to_document(memory: RecalledMemory) -> Document:
    """Return a recalled memory as a document."""
    return Document(
        id=memory.id,
        page_content=memory.content,
        metadata={
            **memory.metadata,
            "memory_type": memory.memory_type,
            "similarity": memory.similarity,
            "confidence": memory.confidence,
            "probability": memory.probability,
            "created_at": memory.created_at.isoformat(),
            "user_id": memory.user_id,
            "session_id": memory.session_id,
        },
    )
