"""Numbers about what an agent remembers. Pure functions of its memories and the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from langchain_kronvex.core.types import Memory
from langchain_kronvex.core.validation import MEMORY_TYPES
from langchain_kronvex.recall.ranking import recency
from langchain_kronvex.server.api.dialects import session_counts, with_offset

_DAYS = 14
_TOP = 10
_CUT_CHARS = 120
_ENOUGH_MEMORIES = 20
_GOOD = 0.5
_ADVICE = {
    "coverage_score": "Remember more: there are few memories, or all are of one type.",
    "freshness_score": "Most memories are old; check that new conversations are remembered.",
    "coherence_score": "Many memories hold the same text in several sessions.",
    "utilization_score": "Most memories were never recalled.",
}


def health(memories: Sequence[Memory], now: datetime) -> dict[str, Any]:
    """Return how an agent's memory does, each score from 0 to 1.

    Coverage: how many memories (20 are enough) and types (3 are enough) there are. Freshness:
    the mean recency, as in a confidence. Coherence: the share of different texts. Utilization:
    the share of memories that were recalled at least once. The score is the mean of the four.
    """
    scores = _scores(memories, now)
    advice = [text for name, text in _ADVICE.items() if scores[name] < _GOOD]
    mean = sum(scores.values()) / len(scores)
    return {
        "score": round(mean, 4),
        **{name: round(score, 4) for name, score in scores.items()},
        "recommendations": advice,
    }


def _scores(memories: Sequence[Memory], now: datetime) -> dict[str, float]:
    count = len(memories)
    if not count:
        return dict.fromkeys(_ADVICE, 0.0)
    types = len({memory.memory_type for memory in memories})
    return {
        "coverage_score": (min(count / _ENOUGH_MEMORIES, 1) + min(types / 3, 1)) / 2,
        "freshness_score": sum(_recency(memory, now) for memory in memories) / count,
        "coherence_score": len({memory.content for memory in memories}) / count,
        "utilization_score": sum(memory.access_count > 0 for memory in memories) / count,
    }


def _recency(memory: Memory, now: datetime) -> float:
    return recency(memory.memory_type, (now - memory.created_at) / timedelta(days=1))


def analytics(memories: Sequence[Memory], today: date) -> dict[str, Any]:
    """Return counts over the memories of one agent."""
    top = sorted(memories, key=lambda memory: -memory.access_count)[:_TOP]
    return {
        "total_memories": len(memories),
        "pinned_memories": sum(memory.pinned for memory in memories),
        "top_memories": [_cut(memory) for memory in top],
        "by_type": by_type(memories),
        "sessions": _sessions(memories),
        "daily_memories": daily(memories, today),
    }


def by_type(memories: Iterable[Memory]) -> dict[str, int]:
    """Return how many memories of each type there are."""
    counts = Counter(memory.memory_type for memory in memories)
    return {name: counts[name] for name in MEMORY_TYPES if counts[name]}


def daily(memories: Iterable[Memory], today: date) -> list[dict[str, Any]]:
    """Return how many memories each of the last 14 days (UTC) has, the oldest day first."""
    counts = Counter(memory.created_at.date() for memory in memories)
    days = [today - timedelta(days=back) for back in reversed(range(_DAYS))]
    return [{"date": day.isoformat(), "count": counts[day]} for day in days]


def _cut(memory: Memory) -> dict[str, Any]:
    return {
        "id": memory.id,
        "content": memory.content[:_CUT_CHARS],
        "memory_type": memory.memory_type,
        "access_count": memory.access_count,
        "session_id": memory.session_id or memory.user_id,
        "user_id": memory.user_id,
        "created_at": with_offset(memory.created_at),
    }


def _sessions(memories: Iterable[Memory]) -> list[dict[str, Any]]:
    latest_first = sorted(memories, key=lambda memory: memory.created_at, reverse=True)
    last: dict[str | None, datetime] = {}
    last_of: dict[tuple[str | None, str | None], datetime] = {}
    for memory in latest_first:
        last.setdefault(memory.user_id or memory.session_id, memory.created_at)
        last_of.setdefault((memory.session_id, memory.user_id), memory.created_at)
    counts = session_counts((each.user_id, each.session_id, 1) for each in latest_first)
    return [
        {
            "session_id": name,
            "user_id": user,
            "memory_count": count,
            "last_at": with_offset(last_of[name, user] if user else last[name]),
        }
        for (name, user), count in counts.items()
    ]
