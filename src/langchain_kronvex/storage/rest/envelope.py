"""How our records travel as memories of the API: what the API has no word for goes in metadata.

The wire's `session_id` carries the owner, so that a server which keeps sessions apart keeps users
apart. Owners whose ids look like a wire session of ours travel under a digest. Chat messages have a
wire session for each conversation, where no recall meets them. All else stands under one reserved
key of the metadata, the envelope, with a version. Memories that others wrote have none and are read
all the same. Pure functions.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from langchain_kronvex.core.errors import KronvexError
from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS, MEMORY_TYPES
from langchain_kronvex.storage.backend import Kind, Record, Selection, content_key
from langchain_kronvex.storage.rest.http.api import (
    MAX_TTL_DAYS,
    Request,
    WireMemory,
    is_shallow,
    is_text,
    read_time,
    remember_request,
)

RESERVED = "langchain_kronvex"
VERSION = 1
_OURS = "langchain-kronvex:"
AGENT_SESSION = f"{_OURS}agent"
_PREFIXES = {"message": f"{_OURS}chat:", "item": f"{_OURS}item:"}
_OWNER_PREFIX = f"{_OURS}owner:"
_BEGINNING_CHARS = 1000
_SAFE_LEVELS = 32  # deeper metadata are sent as a text
_SAFE_INTEGER = 2**53  # larger ones lose digits in servers that read numbers as floats


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as one entry of a server or of the outbox holds it.

    Attributes:
        record: What it says.
        written: When the record was first written, in microseconds since 1970: its place in the
            order of writing.
        version: When this version of it was written; the latest one holds.
        server_id: Its id on the server; None while it is in the outbox.
        ours: It has our envelope.
        ttl_days: After how many days the server may delete it; None for never.
        gone: The record gave way to another one; nothing of it is to be on the server.
    """

    record: Record
    written: int
    version: int
    server_id: str | None = None
    ours: bool = True
    ttl_days: int | None = None
    gone: bool = False


def wire_session(kind: Kind, scope: Scope) -> str:
    """Return the `session_id` under which the wire keeps records of a kind and scope."""
    if kind == "memory":
        return _owner_session(scope.owner)
    return f"{_PREFIXES[kind]}{_digest(scope.owner)}:{_digest(scope.session_id or '')}"


def _owner_session(owner: str) -> str:
    if owner.startswith(_OURS):
        return _OWNER_PREFIX + hashlib.blake2b(owner.encode(), digest_size=32).hexdigest()
    return owner or AGENT_SESSION


def belongs_to(session: str | None, owner: str) -> bool:
    """Tell whether a wire session holds memories or messages of an owner."""
    if session is None:
        return False
    conversations = f"{_PREFIXES['message']}{_digest(owner)}:"
    return session == _owner_session(owner) or session.startswith(conversations)


def one_session(selection: Selection) -> str | None:
    """Return the wire session that holds all of a selection; None when it takes the whole agent."""
    scope = selection.scope
    if not scope or selection.include_shared or selection.kind is None:
        return None
    if selection.kind == "memory" or scope.session_id is not None:
        return wire_session(selection.kind, scope)
    return None


def to_payload(stored: Stored) -> dict[str, Any]:
    """Return all of a stored record as a JSON object; `from_payload` reads it."""
    record = stored.record
    return {
        **_envelope(stored),
        "content": record.content,
        "metadata": json.dumps(dict(record.metadata)),
        "key": record.key,
        "search_text": record.search_text,
        "access_count": record.access_count,
        "ttl_days": stored.ttl_days,
        "gone": stored.gone,
    }


def from_payload(payload: Mapping[str, Any]) -> Stored:
    """Return what `to_payload` was given."""
    found = _opened(payload, content="", metadata={}, accesses=int(payload["access_count"]))
    if found is None:
        raise ValueError("no payload of the outbox")
    return replace(found, ttl_days=payload["ttl_days"], gone=payload["gone"])


def storing(agent_id: str, stored: Stored) -> Request:
    """Return the request that stores a record.

    What does not expire is pinned on the server, which keeps it from being superseded; the
    user's own pin stands in the envelope. The id that is added to the text of a message or an
    item keeps a server from taking equal messages for one; it is taken off when it is read.
    """
    record, envelope = stored.record, _envelope(stored)
    padding = "" if record.kind == "memory" else f"\n{record.id}"
    content = record.content + padding
    if len(content) > MAX_CONTENT_CHARS:
        # A server need not take longer texts; what is shown to it is a beginning.
        envelope["content"] = record.content
        most = MAX_CONTENT_CHARS - len(padding) if record.kind == "memory" else _BEGINNING_CHARS
        content = record.content[:most] + padding
    elif padding:
        envelope["padding"] = len(padding)
    metadata: dict[str, Any] = dict(record.metadata)
    if not _survives(metadata):
        metadata = {}
        envelope["metadata"] = json.dumps(dict(record.metadata))
    return remember_request(
        agent_id,
        content=content,
        memory_type=wire_type(record),
        session=wire_session(record.kind, record.scope),
        metadata={**metadata, RESERVED: envelope},
        pinned=stored.ttl_days is None,
        ttl_days=stored.ttl_days,
    )


def wire_type(record: Record) -> str:
    """Return the type under which the wire keeps a record."""
    return record.type if record.kind == "memory" else "context"


def is_as_sent(raw: WireMemory | None, sent: Request, stored: Stored) -> bool:
    """Return whether the server's answer is the memory that was sent, and not another one."""
    body = sent.body or {}
    if raw is None or raw.unreadable or raw.superseded or raw.session != body.get("session_id"):
        return False
    if RESERVED not in raw.metadata:
        # A memory can do without our envelope; a message cannot, if the server drops it.
        fits = stored.record.kind == "memory" or not raw.has_metadata
        return fits and raw.content == body["content"] and not raw.deduplicated
    found = opened(raw)
    return (
        found is not None
        and found.ours
        and (found.record.id, found.version) == (stored.record.id, stored.version)
        and found.record.content == stored.record.content
    )


def says_too_little(raw: WireMemory, sent: Request) -> bool:
    """Tell whether an answer that is not `is_as_sent` may be of the memory that was sent: nothing
    in it is of another one, and something of this one is missing.
    """
    body = sent.body or {}
    if raw.deduplicated or raw.superseded or raw.session not in (None, body.get("session_id")):
        return False
    return raw.unreadable or (RESERVED not in raw.metadata and raw.content == body["content"])


def opened(raw: WireMemory) -> Stored | None:
    """Return the record that a memory of the wire holds; None for one that fits nobody.

    That is: an envelope that stands in another session than its owner's, which would show one
    user's memory to another; what a server merged out of memories of several users; and what a
    server replaced by a newer memory of others.
    """
    envelope = raw.metadata.get(RESERVED)
    # What this package sends has one id for both; beside two, an envelope is somebody's data.
    if isinstance(envelope, Mapping) and raw.within is None:
        own = {key: value for key, value in raw.metadata.items() if key != RESERVED}
        found = _opened(envelope, content=raw.content, metadata=own, accesses=raw.access_count)
        if found is None or raw.merged:
            return None
        if wire_session(found.record.kind, found.record.scope) != raw.session:
            return None
        return replace(found, server_id=raw.id)
    if raw.superseded or (raw.merged and raw.session is None):
        return None
    if raw.session != AGENT_SESSION and (raw.session or "").startswith(_OURS):
        return None
    return _foreign(raw)


def _foreign(raw: WireMemory) -> Stored | None:
    """Return the record of a memory that was written without our envelope."""
    if not raw.content.strip():
        return None
    micros = int(raw.created_at.timestamp() * 1_000_000)
    session = None if raw.session == AGENT_SESSION else raw.session
    record = Record(
        kind="memory",
        id=raw.id,
        scope=Scope(raw.user, raw.within) if raw.user else Scope(None, session),
        key=content_key(raw.type, raw.content),
        type=raw.type,
        content=raw.content,
        metadata=dict(raw.metadata),
        created_at=raw.created_at,
        said_at=raw.created_at,
        expires_at=raw.expires_at,
        pinned=raw.pinned,
        access_count=raw.access_count,
    )
    return Stored(record, micros, micros, raw.id, ours=False)


def _envelope(stored: Stored) -> dict[str, Any]:
    record = stored.record
    envelope: dict[str, Any] = {
        "v": VERSION,
        "kind": record.kind,
        "id": record.id,
        "user_id": record.scope.user_id,
        "session_id": record.scope.session_id,
        "type": record.type,
        "created_at": record.created_at.isoformat(),
        "expires_at": None if record.expires_at is None else record.expires_at.isoformat(),
        "pinned": record.pinned,
        "written": stored.written,
        "version": stored.version,
    }
    if record.said_at not in (None, record.created_at):
        envelope["said_at"] = record.said_at.isoformat()
    if record.key != _plain_key(record):
        envelope["key"] = record.key
    if record.search_text is not None and record.search_text != _said_in(record.content):
        envelope["search_text"] = record.search_text
    elif record.search_text is not None:
        envelope["exchange"] = True
    return envelope


def _opened(
    envelope: Mapping[str, Any], *, content: str, metadata: Mapping[str, Any], accesses: int
) -> Stored | None:
    """Read an envelope; None for one that is damaged or of a later version."""
    try:
        if envelope["v"] != VERSION or envelope["kind"] not in ("memory", *_PREFIXES):
            return None
        text = envelope.get("content", content)
        text = text[: len(text) - int(envelope.get("padding", 0))]
        if not is_text(text):
            return None
        if "metadata" in envelope:
            metadata = json.loads(envelope["metadata"])
        record = Record(
            kind=envelope["kind"],
            id=_string(envelope["id"]),
            scope=Scope.of(envelope["user_id"], envelope["session_id"]),
            key="",
            type=_type_of(envelope),
            content=text,
            search_text=_search_text(envelope, text),
            metadata=_object(metadata),
            created_at=_moment(envelope["created_at"]),
            said_at=_moment(envelope.get("said_at", envelope["created_at"])),
            expires_at=None if not envelope["expires_at"] else _moment(envelope["expires_at"]),
            pinned=envelope["pinned"] is True,
            access_count=accesses,
        )
        stored = Stored(record, int(envelope["written"]), int(envelope["version"]))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, KronvexError):
        return None
    key = envelope.get("key")
    key = key if isinstance(key, str) and is_text(key) else _plain_key(record)
    return replace(stored, record=replace(record, key=key))


def _plain_key(record: Record) -> str:
    """Return the key that most records have, and that need not be sent."""
    return record.id if record.kind == "message" else content_key(record.type, record.content)


def _type_of(envelope: Mapping[str, Any]) -> str:
    type_ = _string(envelope["type"])
    if envelope["kind"] == "memory" and type_ not in MEMORY_TYPES:
        raise ValueError(type_)
    return type_


def _search_text(envelope: Mapping[str, Any], content: str) -> str | None:
    if envelope.get("exchange") is True:
        return _said_in(content)
    text = envelope.get("search_text")
    return text if isinstance(text, str) and is_text(text) else None


def _said_in(content: str) -> str | None:
    """Return the user's words of an exchange of one line, which need no second copy."""
    first = content.split("\nAssistant: ", 1)[0]
    return first.removeprefix("User: ") if first.startswith("User: ") else None


def wire_ttl(record: Record, now: datetime) -> int | None:
    """Return the whole days after which the server may delete a record; None for never."""
    if record.pinned or record.expires_at is None:
        return None
    days = math.ceil((record.expires_at - now).total_seconds() / 86_400)
    return None if days > MAX_TTL_DAYS else max(days, 1)


def _survives(metadata: Mapping[str, Any]) -> bool:
    """Tell whether metadata come back as they are from any server that stores JSON."""
    return RESERVED not in metadata and is_shallow(metadata, _SAFE_LEVELS) and _is_plain(metadata)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return False  # servers differ in how they write 1.0
    return not isinstance(value, int) or abs(value) < _SAFE_INTEGER


def _string(value: object) -> str:
    if not isinstance(value, str) or not value or not is_text(value):
        raise ValueError
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not is_shallow(value):
        raise ValueError
    return dict(value)


def _moment(value: object) -> datetime:
    moment = read_time(value)
    if moment is None:
        raise ValueError
    return moment.astimezone(timezone.utc)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
