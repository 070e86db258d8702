"""Checks that vectors come from the same embeddings before they are compared."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from langchain_kronvex.core.errors import EmbeddingMismatch, StoreError
from langchain_kronvex.core.records import Floats
from langchain_kronvex.recall.request import RecallRequest

Model = tuple[str, int | None]  # its name, and the width of its vectors if it is known


def fits(known: Model, model: str, width: int | None) -> bool:
    """Return whether vectors of two models may be compared."""
    return known[0] == model and (None in (known[1], width) or known[1] == width)


def sound_vector(vector: Floats | None, model: Model | None) -> Floats | None:
    """Return a vector that was read if it has the model's width and finite numbers, else None."""
    if vector is None or model is None or len(vector) != model[1] or not np.isfinite(vector).all():
        return None
    return vector


def damaged(location: str, count: int) -> StoreError:
    """Return the error to report when stored vectors cannot be used."""
    return StoreError(
        f"The vectors of {count} memories in {location} are damaged. These memories are found by "
        "their words until they are embedded anew, which happens in the background."
    )


def described(model: str, width: int | None) -> str:
    """Return the name of a model for an error message."""
    return f"{model} ({width} dimensions)" if width else model


def refuse(location: str, known: Model | None, model: str, width: int | None) -> NoReturn:
    """Reject a vector that cannot be compared with those of the memories.

    Raises:
        EmbeddingMismatch: always.
    """
    others = described(*known) if known else "other embeddings"
    raise EmbeddingMismatch(
        f"The memories in {location} are indexed with {others}, not with "
        f"{described(model, width)}: they were reindexed, or the model has changed. Open a "
        "new KronvexMemory with the embeddings they are indexed with, or call "
        "memory.reindex() to index them with these."
    )


def check_request(location: str, known: Model | None, request: RecallRequest) -> None:
    """Reject a request whose vector cannot be compared with those of the memories.

    Raises:
        EmbeddingMismatch: the vector comes from another model.
    """
    if request.vector is None or request.model is None or known is None:
        return
    if not fits(known, request.model, len(request.vector)):
        refuse(location, known, request.model, len(request.vector))


def mismatched(location: str, known: Model, model: str, width: int | None) -> EmbeddingMismatch:
    """Return the error for opening a store whose vectors come from another model."""
    return EmbeddingMismatch(
        f"The memories in {location} were indexed with {described(*known)}, not "
        f"with {described(model, width)}. Open the memory with those embeddings, "
        "or with embeddings=False to search by words. To switch for good, open it that way and "
        "call memory.reindex(...) with the new embeddings."
    )
