"""What this package's own client says of a memory beside the API's words, understood.

The client keeps in `metadata.langchain_kronvex` what the API has no field for. Knowing it, the
server finds an exchange by the user's words, dates a memory by when it was said, and takes a
memory that is sent twice (because the answer to the first time was lost) for one.
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
    """Return under which other names the client keeps what is a user's: memories and chats.

    The first is a name, the second the beginning of the names of all chats.
    """
    user = Scope(user_id)
    return wire_session("memory", user), wire_session("message", user).rpartition(":")[0] + ":"


def envelope_of(body: NewMemory) -> VersionedRecord | None:
    """Return what the client says of a memory that is to be stored; None without an envelope."""
    if body.scope.user_id:  # the client gives both ids the same name
        return None
    session = body.session_id or body.user_id
    return record_in_envelope(body.metadata, content=body.content, session=session)


def understood(record: Record, told: VersionedRecord, agent_id: str) -> Record:
    """Return the record of a memory with what its client says of it.

    Its id is made of what stays the same when it is sent again, and of whose it is, so that nobody
    can name the id of another's. It is never taken for another memory of the same text: the client
    has looked for those, and knows which of them have expired by its clock.
    """
    scope = record.scope
    whose = (agent_id, scope.user_id or "", scope.session_id or "")
    parts = (*whose, told.record.kind, told.record.id, str(told.version))
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
