"""Batches, and answers for them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from inside import Batch, Exchange, Known

MAY = datetime(2026, 5, 2, 12, tzinfo=timezone.utc)


def exchange(number: int, said: str = "I live in Porto.", answer: str = "", **fields: Any) -> Any:
    """An exchange; each was said a day after the one before."""
    given = {"created_at": MAY + timedelta(days=number - 1), "session": "chat", **fields}
    return Exchange(number, f"e{number}", said, answer, **given)


def known(number: int | None, content: str = "Ana lives in Lisbon.", days_before: int = 30) -> Any:
    """A known fact."""
    return Known(number, f"k{number}", content, MAY - timedelta(days=days_before))


def batch(*said: str, known: Any = ()) -> Any:
    """A batch of what the user said."""
    exchanges = [exchange(number, text) for number, text in enumerate(said or ("Hi.",), 1)]
    return Batch(exchanges, known)


def fact(text: str = "Ana lives in Porto.", *sources: int, **fields: Any) -> dict[str, Any]:
    """An entry of an answer."""
    return {"text": text, "sources": list(sources or (1,)), **fields}
