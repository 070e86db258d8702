"""Memories of mem0: the result of `get_all`, of the library or the platform, or of an export.

https://docs.mem0.ai/api-reference/memory/get-memories
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.importers.entries import (
    Asked,
    Found,
    as_object,
    derived_id,
    entry,
    first_of,
    id_of,
    moment_of,
    origin,
    user_of,
)
from langchain_kronvex.importers.json_files import json_values, unfolded
from langchain_kronvex.memory.transfer.files import File
from langchain_kronvex.memory.transfer.format import Fields

_LATEST = datetime.max.replace(tzinfo=timezone.utc) - timedelta(days=1)
_KEPT = ("agent_id", "app_id", "actor_id", "role", "categories", "immutable", "updated_at")


def read_mem0(file: File, asked: Asked) -> Found:
    """Yield the memories of a file."""
    for outer, value in json_values(file):
        for where, each in unfolded(outer, value, "results", "memories"):
            yield entry("memory", where, partial(_memory, each, asked))


def _memory(value: object, asked: Asked) -> list[Fields]:
    given = as_object(value)
    content = checks.check_content(first_of(given, "memory", "text"), "memory")
    user = user_of(first_of(given, "user_id", "userId"), asked)
    session = id_of(first_of(given, "run_id", "runId"), "run_id")
    if user is None and session is None:
        raise InvalidInput("it names no user; say whose it is with user_id (--user).")
    source_id = id_of(given.get("id"), "id")
    expires = moment_of(given.get("expiration_date"), "expiration_date")
    kept = {name: given.get(name) for name in _KEPT}
    times = (first_of(given, name, other) for name, other in _TIMES)
    created, updated = (moment_of(time, "created_at") for time in times)
    return [
        {
            "kind": "memory",
            "id": derived_id("mem0", user, session, source_id or f"text: {content}"),
            "type": "semantic",
            "content": content,
            "user_id": user,
            "session_id": session,
            "created_at": updated or created or asked.written_at,
            "said_at": created,
            # It can be seen through that day.
            "expires_at": expires and min(expires, _LATEST) + timedelta(days=1),
            "metadata": origin("mem0", source_id, given.get("metadata"), **kept),
        }
    ]


_TIMES = (("created_at", "createdAt"), ("updated_at", "updatedAt"))
