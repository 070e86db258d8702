"""Memories of mem0: the result of `get_all`, of the library or the platform, or of an export.

https://docs.mem0.ai/api-reference/memory/get-memories
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.importers.entries import Asked, Found, Given, derived_id, entry, origin
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
    given = Given(value)
    content = given.text("memory", "text")
    user = given.id("user_id", "userId") or asked.user_id
    session = given.id("run_id", "runId")
    if user is None and session is None:
        raise InvalidInput("it names no user; say whose it is with user_id (--user).")
    source_id, expires = given.id("id"), given.time("expiration_date")
    created = given.time("created_at", "createdAt")
    updated = given.time("updated_at", "updatedAt")
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
            "metadata": origin("mem0", source_id, given.get("metadata"), **given.some(_KEPT)),
        }
    ]
