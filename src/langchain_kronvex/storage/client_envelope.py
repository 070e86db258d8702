"""The envelope: how a record of this package travels as a memory of the Kronvex API.

The API's `session_id` carries the owner, so that a server which separates sessions separates users.
Owners whose ids look like a session of ours travel under a digest. Each conversation has a session
of its own for its messages, which no recall searches. Everything else that the API has no field for
stands under one reserved key of the metadata, the envelope, with a version. The REST store writes
envelopes, and the server of this package reads them. Pure functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from langchain_kronvex.core.errors import KronvexError
from langchain_kronvex.core.records import Kind, Record, Scope
from langchain_kronvex.core.validation import MAX_METADATA_DEPTH, MEMORY_TYPES, is_text

RESERVED = "langchain_kronvex"
VERSION = 1
_OURS = "langchain-kronvex:"
AGENT_SESSION = f"{_OURS}agent"
_PREFIXES = {"message": f"{_OURS}chat:", "item": f"{_OURS}item:"}
_OWNER_PREFIX = f"{_OURS}owner:"


@dataclass(frozen=True, slots=True)
class VersionedRecord:
    """A record as one entry of a server or of the outbox holds it.

    Attributes:
        record: The record itself.
        written: When the record was first written, in microseconds since 1970: its place in the
            order of writing.
        version: When this version was written, in the same unit; the latest version counts.
        server_id: Its id on the server; None while it is in the outbox.
        ttl_days: After how many days the server may delete it; None for never.
        gone: Whether another record has replaced it, so that the server must keep none of it.
    """

    record: Record
    written: int
    version: int
    server_id: str | None = None
    ttl_days: int | None = None
    gone: bool = False


def wire_session(kind: Kind, scope: Scope) -> str:
    """Return the `session_id` under which a server keeps records of a kind and scope."""
    if kind == "memory":
        return _owner_session(scope.owner)
    return f"{_PREFIXES[kind]}{_digest(scope.owner)}:{_digest(scope.session_id or '')}"


def belongs_to(session: str | None, owner: str) -> bool:
    """Return whether a session of a server holds memories or messages of an owner."""
    conversations = f"{_PREFIXES['message']}{_digest(owner)}:"
    return session == _owner_session(owner) or (session or "").startswith(conversations)


def is_reserved_session(session: str | None) -> bool:
    """Return whether only this package writes to a session of a server."""
    return (session or "").startswith(_OURS)


def is_session_without_memories(session: str) -> bool:
    """Return whether a session of a server holds messages or items instead of memories."""
    return session.startswith(tuple(_PREFIXES.values()))


def write_envelope(stored: VersionedRecord) -> dict[str, Any]:
    """Return the envelope of a record: everything but its content and metadata."""
    record = stored.record
    same = {name: getattr(record, name) for name in ("kind", "id", "type", "pinned")}
    envelope: dict[str, Any] = {
        "v": VERSION,
        **same,
        "user_id": record.scope.user_id,
        "session_id": record.scope.session_id,
        "created_at": record.created_at.isoformat(),
        "expires_at": None if record.expires_at is None else record.expires_at.isoformat(),
        "written": stored.written,
        "version": stored.version,
    }
    if record.said_at not in (None, record.created_at):
        envelope["said_at"] = record.said_at.isoformat()
    for name in ("valid_from", "valid_until"):
        if moment := getattr(record, name):
            envelope[name] = moment.isoformat()
    if record.superseded_by:
        envelope["superseded_by"] = record.superseded_by
    if record.key != _default_key(record):
        envelope["key"] = record.key
    if record.search_text is not None and record.search_text != _user_words(record.content):
        envelope["search_text"] = record.search_text
    elif record.search_text is not None:
        envelope["exchange"] = True
    return envelope


def record_in_envelope(
    metadata: Mapping[str, Any], *, content: str, session: str | None, access_count: int = 0
) -> VersionedRecord | None:
    """Return the record that a memory of the API holds.

    Returns:
        None without an envelope, with a damaged one, and with one in another session than that of
        its owner, which would show one user's memory to another.
    """
    envelope = metadata.get(RESERVED)
    if not isinstance(envelope, Mapping):
        return None
    own = {key: value for key, value in metadata.items() if key != RESERVED}
    found = read_envelope(envelope, content=content, metadata=own, access_count=access_count)
    if found is None or wire_session(found.record.kind, found.record.scope) != session:
        return None
    return found


def read_envelope(
    envelope: Mapping[str, Any], *, content: str, metadata: Mapping[str, Any], access_count: int
) -> VersionedRecord | None:
    """Return the record of an envelope; None if it is damaged or of a later version."""
    try:
        if envelope["v"] != VERSION or envelope["kind"] not in ("memory", *_PREFIXES):
            return None
        if envelope["kind"] == "memory" and envelope["type"] not in MEMORY_TYPES:
            return None
        text = envelope.get("content", content)
        text = text[: len(text) - int(envelope.get("padding", 0))]
        if not is_text(text):
            return None
        if "metadata" in envelope:
            metadata = json.loads(envelope["metadata"])
        if not isinstance(metadata, Mapping) or not is_shallow(metadata):
            return None
        record = Record(
            kind=envelope["kind"],
            id=_string(envelope["id"]),
            scope=Scope.of(envelope["user_id"], envelope["session_id"]),
            key="",
            type=_string(envelope["type"]),
            content=text,
            search_text=_search_text(envelope, text),
            metadata=dict(metadata),
            created_at=_moment(envelope["created_at"]),
            said_at=_moment(envelope.get("said_at", envelope["created_at"])),
            expires_at=None if not envelope["expires_at"] else _moment(envelope["expires_at"]),
            pinned=envelope["pinned"] is True,
            access_count=access_count,
            **_validity(envelope),
        )
        written, version = int(envelope["written"]), int(envelope["version"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, KronvexError):
        return None
    key = envelope.get("key")
    record = replace(record, key=key if is_text(key) else _default_key(record))
    return VersionedRecord(record, written, version)


# -- values of a server that is not trusted --------------------------------------------------------


def is_shallow(value: object, levels: int = MAX_METADATA_DEPTH + 1) -> bool:
    """Return whether a JSON value is nested no deeper than metadata may be."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return levels > 0 and all(is_shallow(item, levels - 1) for item in value)


def read_time(value: object) -> datetime | None:
    """Return a moment in UTC, written with `Z` or an offset; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value[:-1] + "+00:00" if value[-1:] in "Zz" else value)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


# -- parts of an envelope --------------------------------------------------------------------------


def _owner_session(owner: str) -> str:
    if owner.startswith(_OURS):
        return _OWNER_PREFIX + hashlib.blake2b(owner.encode(), digest_size=32).hexdigest()
    return owner or AGENT_SESSION


def _default_key(record: Record) -> str:
    """Return the key that most records have, and that need not be sent."""
    return record.id if record.kind == "message" else record.usual_key()


def _search_text(envelope: Mapping[str, Any], content: str) -> str | None:
    if envelope.get("exchange") is True:
        return _user_words(content)
    text = envelope.get("search_text")
    return text if is_text(text) else None


def _user_words(content: str) -> str | None:
    """Return the user's words of an exchange of one line, which need no second copy."""
    first = content.split("\nAssistant: ", 1)[0]
    return first.removeprefix("User: ") if first.startswith("User: ") else None


def _string(value: object) -> str:
    if not is_text(value) or not value:
        raise ValueError
    return value


def _moment(value: object) -> datetime:
    moment = read_time(value)
    if moment is None:
        raise ValueError
    return moment


def _validity(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return from when and until when a memory is true, and what superseded it, as far as known."""
    checks = {"valid_from": _moment, "valid_until": _moment, "superseded_by": _string}
    return {name: check(envelope[name]) for name, check in checks.items() if name in envelope}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
