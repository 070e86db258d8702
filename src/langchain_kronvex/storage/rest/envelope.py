"""Records as requests and answers of the API, and as entries of the outbox. Pure functions.

Memories that other programs wrote have no envelope and are read all the same. A record that is too
large for a server is refused when it is stored, not when it is sent. The API does not state a
limit; the one here is the default of this package's server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.records import Record, Scope, Selection, content_key
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS, is_text
from langchain_kronvex.storage import client_envelope as envelopes
from langchain_kronvex.storage.client_envelope import RESERVED, VersionedRecord, is_shallow
from langchain_kronvex.storage.rest.http import api

MAX_REQUEST_BYTES = 16 << 20
_ADDED_BYTES = 64 << 10  # at most, by the numbers of the envelope, which grow
_NAMES = {"memory": "memory", "message": "message", "item": "value"}
_BEGINNING_CHARS = 1000
_SAME = (  # in a memory of the wire and in a record
    "id", "type", "content", "metadata", "created_at", "expires_at", "pinned", "access_count",
)  # fmt: skip
_SAFE_LEVELS = 32  # more deeply nested metadata is sent as a text
_SAFE_INTEGER = 2**53  # larger ones lose digits in servers that read numbers as floats


def one_session(selection: Selection) -> str | None:
    """Return the server's session that holds all of a selection; None for the whole agent."""
    scope = selection.scope
    if not scope or selection.include_shared or selection.kind is None:
        return None
    if selection.kind == "memory" or scope.session_id is not None:
        return envelopes.wire_session(selection.kind, scope)
    return None


def to_payload(stored: VersionedRecord) -> dict[str, Any]:
    """Return a record and its version as a JSON object for the outbox."""
    record = stored.record
    return {
        **envelopes.write_envelope(stored),
        "content": record.content,
        "metadata": json.dumps(dict(record.metadata)),
        "access_count": record.access_count,
        "ttl_days": stored.ttl_days,
        "gone": stored.gone,
        "apart": False,  # earlier versions, which may share the outbox, expect it
    }


def from_payload(payload: Mapping[str, Any]) -> VersionedRecord:
    """Return the record that `to_payload` was given."""
    accesses = int(payload["access_count"])
    found = envelopes.read_envelope(payload, content="", metadata={}, access_count=accesses)
    if found is None:
        raise ValueError("not an entry of the outbox")
    return replace(found, ttl_days=payload["ttl_days"], gone=payload["gone"])


def store_request(stored: VersionedRecord) -> api.Request:
    """Return the request that stores a record.

    A record that does not expire is pinned on the server, which keeps the server from superseding
    it; the user's own pin stands in the envelope. The id added to the text of a message or an item
    keeps a server from merging equal messages; it is taken off when the record is read.
    """
    record, envelope = stored.record, envelopes.write_envelope(stored)
    padding = "" if record.kind == "memory" else f"\n{record.id}"
    content = record.content + padding
    if len(content) > MAX_CONTENT_CHARS:
        # A server may reject longer texts; its copy is only the beginning.
        envelope["content"] = record.content
        content = record.content[:_BEGINNING_CHARS] + padding
    elif padding:
        envelope["padding"] = len(padding)
    metadata: dict[str, Any] = dict(record.metadata)
    if not _survives(metadata):
        metadata, envelope["metadata"] = {}, json.dumps(metadata)
    type_ = record.type if record.kind == "memory" else "context"
    body = {
        "content": content,
        "memory_type": type_,
        "type": type_,
        "pinned": stored.ttl_days is None,
        "metadata": {**metadata, RESERVED: envelope},
        **api.session_fields(envelopes.wire_session(record.kind, record.scope)),
    }
    if stored.ttl_days is not None:
        body["ttl_days"] = stored.ttl_days
    return api.Request("POST", "/remember", body=body, repeatable=False)


def is_as_sent(raw: api.WireMemory, sent: api.Request, stored: VersionedRecord) -> bool:
    """Return whether the server's answer is the memory that was sent, and not another one."""
    body = sent.body
    superseded = raw.superseded and not stored.record.superseded_by
    if raw.unreadable or superseded or raw.session != body["session_id"]:
        return False
    if RESERVED not in raw.metadata:
        # A memory can do without our envelope; a message cannot.
        is_memory = stored.record.kind == "memory"
        return is_memory and raw.content == body["content"] and not raw.deduplicated
    found, record = record_from_wire(raw), stored.record
    told = found and (found.record.id, found.version, found.record.content)
    return told == (record.id, stored.version, record.content)


def says_too_little(raw: api.WireMemory, sent: api.Request) -> bool:
    """Return whether an answer that is not `is_as_sent` may still be the memory that was sent:
    nothing in it belongs to another memory, and something of this one is missing.
    """
    body = sent.body
    if raw.deduplicated or raw.superseded or raw.session not in (None, body["session_id"]):
        return False
    return raw.unreadable or (RESERVED not in raw.metadata and raw.content == body["content"])


def record_from_wire(raw: api.WireMemory) -> VersionedRecord | None:
    """Return the record that a memory of the API holds.

    Returns:
        None if the memory belongs to no user: its envelope names another owner than its session,
        the server merged it out of several users' memories, or replaced it by a newer one.
    """
    # This package sends one id in both fields; with two ids, an envelope is another program's data.
    if isinstance(raw.metadata.get(RESERVED), Mapping) and raw.within is None:
        found = envelopes.record_in_envelope(
            raw.metadata, content=raw.content, session=raw.session, access_count=raw.access_count
        )
        return None if found is None or raw.merged else replace(found, server_id=raw.id)
    if raw.superseded or (raw.merged and raw.session is None):
        return None
    if raw.session != envelopes.AGENT_SESSION and envelopes.is_reserved_session(raw.session):
        return None
    return _foreign(raw)


def _foreign(raw: api.WireMemory) -> VersionedRecord | None:
    """Return the record of a memory that was written without our envelope."""
    if not raw.content.strip():
        return None
    micros = int(raw.created_at.timestamp() * 1_000_000)
    session = None if raw.session == envelopes.AGENT_SESSION else raw.session
    scope = Scope(raw.user, raw.within) if raw.user else Scope(None, session)
    key, same = content_key(raw.type, raw.content), {name: getattr(raw, name) for name in _SAME}
    record = Record(kind="memory", scope=scope, key=key, said_at=raw.created_at, **same)
    return VersionedRecord(record, micros, micros, raw.id)


def wire_ttl(record: Record, now: datetime) -> int | None:
    """Return the whole days after which the server may delete a record; None for never."""
    if record.pinned or record.expires_at is None:
        return None
    days = math.ceil((record.expires_at - now).total_seconds() / 86_400)
    return None if days > api.MAX_TTL_DAYS else max(days, 1)


def check_sizes(records: Iterable[Record]) -> None:
    """Refuse records that no server of this package takes in one request.

    Raises:
        InvalidInput: a record is too large.
    """
    for record in records:
        body = store_request(VersionedRecord(record, 0, 0)).body
        size = len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if size > MAX_REQUEST_BYTES - _ADDED_BYTES:
            raise InvalidInput(
                f"A {_NAMES[record.kind]} (id {record.id}) has {size:,} bytes as JSON; a Kronvex "
                f"server takes {MAX_REQUEST_BYTES >> 20} MiB. Keep large data elsewhere, for "
                "example a picture in a file, and store its location."
            )


def _survives(metadata: Mapping[str, Any]) -> bool:
    """Return whether any server that stores JSON returns metadata unchanged."""
    return RESERVED not in metadata and is_shallow(metadata, _SAFE_LEVELS) and _is_plain(metadata)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return "\0" not in value and is_text(value)
    if isinstance(value, float):
        return False  # servers differ in how they write 1.0
    return not isinstance(value, int) or abs(value) < _SAFE_INTEGER
