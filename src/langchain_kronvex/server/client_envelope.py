"""The envelope: data that this package's own client adds to the fields of the API.

The client puts it in `metadata.langchain_kronvex`. With it, the server finds an exchange by the
user's words, dates a memory by when it was said, and stores a memory once that was sent twice
because the first response was lost.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from langchain_kronvex.core.types import Scope
from langchain_kronvex.server.api.requests import NewMemory
from langchain_kronvex.storage.backend import Record
from langchain_kronvex.storage.client_envelope import (
    VersionedRecord,
    record_in_envelope,
    wire_session,
)


def owners_of(user_id: str) -> tuple[str, str]:
    """Return the other owners under which the client keeps a user's memories and chats.

    The first is the owner of the memories, the second a prefix of the owners of all chats.
    """
    user = Scope(user_id)
    return wire_session("memory", user), wire_session("message", user).rpartition(":")[0] + ":"


def envelope_of(body: NewMemory) -> VersionedRecord | None:
    """Return the record in the envelope of a new memory; None without an envelope."""
    if body.scope.user_id:  # the client gives both ids the same name
        return None
    session = body.session_id or body.user_id
    return record_in_envelope(body.metadata, content=body.content, session=session)


def understood(record: Record, told: VersionedRecord, agent_id: str) -> Record:
    """Return the record of a memory, completed from its envelope.

    Its id is a hash of its scope and of what stays the same when the client sends it again, so
    that no client can name the id of a memory in another scope. Its key is the id, not the text:
    the client has already looked for memories of the same text, and knows by its own clock which
    of them have expired.
    """
    scope = record.scope
    owner = (agent_id, scope.user_id or "", scope.session_id or "")
    parts = (*owner, told.record.kind, told.record.id, str(told.version))
    named = hashlib.blake2b(digest_size=16)
    for part in parts:
        named.update(f"{len(part)}:{part}".encode())
    return replace(
        record,
        id=named.hexdigest(),
        key=named.hexdigest(),
        search_text=told.record.search_text,
        created_at=told.record.created_at,
    )
