"""One memory in the words of every dialect of the API, and whose memory a request means."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from langchain_kronvex.core.types import Memory, RecalledMemory, Scope, SessionSummary


def whose(session_id: str | None, user_id: str | None) -> Scope:
    """Return the scope that the two ids of a request name; an empty one when it names none.

    Both mean whose memory it is, so either one alone, or the same text in both, is the same
    scope. Two different texts are a user and one session of theirs.
    """
    if session_id and user_id and session_id != user_id:
        return Scope.of(user_id, session_id)
    name = session_id or user_id
    return Scope.of(None, name) if name else Scope()


def as_listed(stored: Sequence[SessionSummary]) -> list[SessionSummary]:
    """Return sessions under the ids that list them, each with the number that such a list has.

    The ids are those of the session and its user. For what was stored under one name alone, they
    are that name and None: a request with that id means everything of the user of that name, and
    so does the number.

    Args:
        stored: The sessions of an agent, the last written to first.
    """
    of_user: Counter[str | None] = Counter()
    last_at: dict[str | None, datetime] = {}
    for each in stored:
        owner = each.user_id or each.session_id
        of_user[owner] += each.memories
        last_at.setdefault(owner, each.last_at)
    found: dict[tuple[str | None, str | None], SessionSummary] = {}
    for each in stored:
        owner = each.user_id or each.session_id
        if each.session_id not in (owner, None):
            found[each.session_id, each.user_id] = each
        elif owner:
            found[owner, None] = replace(
                each,
                user_id=None,
                session_id=owner,
                memories=of_user[owner],
                last_at=last_at[owner],
            )
    return list(found.values())


def stored_id(memory_id: str) -> str:
    """Return a memory id as it is stored; UUIDs may also be written with dashes."""
    try:
        return uuid.UUID(memory_id).hex if len(memory_id) == 36 else memory_id
    except ValueError:
        return memory_id


def memory_object(agent_id: str, memory: Memory) -> dict[str, Any]:
    """Return a memory with the keys of all dialects.

    `user_id` is the user and `session_id` the session, as they were stored. Only where there is
    no session it is the user once more, because the API's clients look for the user there.
    """
    return {
        "id": memory.id,
        "agent_id": agent_id,
        "content": memory.content,
        "session_id": memory.session_id or memory.user_id,
        "memory_type": memory.memory_type,
        "type": memory.memory_type,
        "metadata": dict(memory.metadata),
        "created_at": zulu(memory.created_at),
        "access_count": memory.access_count,
        "expires_at": None if memory.pinned else zulu_or_none(memory.expires_at),
        "pinned": memory.pinned,
        "agent_memory_count": None,
        "deduplicated": memory.deduplicated,
        "superseded": False,
        "superseded_by": None,
        "conflict_detected": False,
        "conflicts_resolved": 0,
        "is_meta": False,
        "consolidation_count": 0,
        "user_id": memory.user_id,
    }


def recall_answer(query: str, agent_id: str, found: Sequence[RecalledMemory]) -> dict[str, Any]:
    """Return what recall answers: nested as in the open-source server, and flat as in the SDKs."""
    each = [(memory_object(agent_id, memory), _scores(memory)) for memory in found]
    return {
        "query": query,
        "total_found": len(found),
        "results": [{"memory": memory, **scores} for memory, scores in each],
        "memories": [_flat(memory, scores) for memory, scores in each],
    }


def context_answer(
    context: str, agent_id: str, found: Sequence[RecalledMemory], *, degraded: bool
) -> dict[str, Any]:
    """Return what inject-context answers, for every dialect at once."""
    each = [(memory_object(agent_id, memory), _scores(memory)) for memory in found]
    return {
        "context": context,
        "context_block": context,
        "memories_used": len(found),
        "memories": [{**_flat(memory, scores), "memory": memory} for memory, scores in each],
        "degraded": degraded,
    }


def page_keys(total: int, limit: int, offset: int) -> Mapping[str, Any]:
    """Return where a page stands in a list, in both ways of counting."""
    return {
        "total": total,
        "page": offset // limit + 1,
        "per_page": limit,
        "pages": math.ceil(total / limit),
        "limit": limit,
        "offset": offset,
        "has_more": offset + limit < total,
    }


def zulu(moment: datetime) -> str:
    """Write a moment as memories and agents carry it: microseconds, UTC, `Z`."""
    return with_offset(moment).replace("+00:00", "Z")


def zulu_or_none(moment: datetime | None) -> str | None:
    """Write a moment that may be missing."""
    return None if moment is None else zulu(moment)


def with_offset(moment: datetime) -> str:
    """Write a moment as reports carry it: microseconds, UTC, `+00:00`."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _flat(memory: dict[str, Any], scores: dict[str, float]) -> dict[str, Any]:
    return {**memory, "score": scores["similarity"], **scores}


def _scores(found: RecalledMemory) -> dict[str, float]:
    """Return the scores as they are: rounded, a threshold that they reach would pass them by."""
    return {
        "similarity": found.similarity,
        "confidence": found.confidence,
        "probability": found.probability,
    }
