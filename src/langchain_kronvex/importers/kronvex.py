"""Memories of a Kronvex API: the JSON of its `/export`, of an agent or of a user."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.importers.entries import (
    Asked,
    Found,
    Given,
    derived_id,
    entry,
    moment_of,
    origin,
)
from langchain_kronvex.importers.json_files import json_values, unfolded
from langchain_kronvex.memory.transfer.files import File
from langchain_kronvex.memory.transfer.format import FORMAT, Fields

_KEPT = ("agent_id", "is_meta", "consolidation_count")
_RENAMED = {"procedure": "procedural"}  # what the service's background work writes


def read_kronvex(file: File, asked: Asked) -> Found:
    """Yield the memories of a file; all of it is read first, to find what superseded a memory."""
    found = [
        placed
        for where, value in json_values(file)
        for placed in unfolded(where, _of_others(value), "memories")
    ]
    by_id = {str(v.get("id")): v for _, v in found if isinstance(v, Mapping)}
    for where, value in found:
        yield entry("memory", where, partial(_memory, value, by_id, asked))


def _of_others(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("format") == FORMAT:
        raise InvalidInput("This is an export of langchain-kronvex: import it without --from.")
    return value


def _memory(value: object, by_id: Mapping[str, Any], asked: Asked) -> list[Fields]:
    given = Given(value)
    # An empty text stands for no session.
    session = None if given.get("session_id") == "" else given.id("session_id")
    user = given.id("user_id")
    owner = user or session or asked.user_id
    source_id, content = given.id("id"), given.text("content")
    created = given.time("created_at") or asked.written_at
    type_ = given.get("memory_type") or "episodic"
    successor = given.id("superseded_by")
    ended = None
    if given.get("superseded") is True or successor is not None:
        newer = by_id.get(str(successor))
        ended = moment_of(newer and newer.get("created_at"), "created_at") or created
    return [
        {
            "kind": "memory",
            "id": _id(owner, source_id or f"text: {content}"),
            "type": checks.check_type(_RENAMED.get(str(type_), type_)),
            "content": content,
            "user_id": user or (None if session else asked.user_id),
            "session_id": session,
            "created_at": created,
            "expires_at": given.time("expires_at"),
            "pinned": given.get("pinned"),
            "access_count": given.get("access_count"),
            "valid_until": ended,
            "superseded_by": ended and _id(owner, successor or f"after: {source_id}"),
            "metadata": origin("kronvex", source_id, given.get("metadata"), **given.some(_KEPT)),
        }
    ]


def _id(owner: str | None, name: str) -> str:
    return derived_id("kronvex", owner, name)
