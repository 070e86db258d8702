"""Records as the stores keep them: their cells in SQL, and how two with one key become one."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound
from langchain_kronvex.core.records import Floats, Kind, Record, Scope
from langchain_kronvex.core.types import SessionSummary
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS

# Begins the keys of the documents of `KronvexProfile`. No key of a text begins so.
DOCUMENT_KEY = "profile:"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
SECONDS_BEFORE_1970 = 62_135_596_800  # from the beginning of the year 1


def to_micros(moment: datetime) -> int:
    """Return a moment as the SQL stores keep it: whole microseconds since 1970, UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware datetime, in UTC."""
    return _EPOCH + micros * _MICROSECOND


def optional_micros(moment: datetime | None) -> int | None:
    """Return `to_micros`, or None for None."""
    return None if moment is None else to_micros(moment)


def text_cells(record: Record) -> tuple[str, str, str | None, str]:
    """Return type, content, search text and metadata as the SQL stores keep them."""
    return record.type, record.content, record.search_text, json_text(record)


def json_text(record: Record) -> str:
    """Return the metadata of a record as JSON."""
    return json.dumps(dict(record.metadata))


def from_cells(cells: Sequence[Any], vector: Floats | None = None) -> Record:
    """Build a record from the cells that the SQL stores select for it, in this order.

    Kind, id, key, type, content, search text and access count; user, session, metadata as JSON;
    first said, last said and expiry in microseconds since 1970; pinned; from when and until when it
    was true, in the same unit; the id of the memory that superseded it; the ids of its sources as
    a JSON array, or None.
    """
    (
        kind, id_, key, type_, content, search_text, access_count, user, session, metadata, said,
        created, expires, pinned, valid_from, valid_until, superseded_by, sources,
    ) = cells  # fmt: skip
    created_at = from_micros(created)
    return Record(
        kind=kind,
        id=id_,
        key=key,
        type=type_,
        content=content,
        search_text=search_text,
        access_count=access_count,
        scope=Scope(user or None, session or None),
        metadata=json.loads(metadata) if metadata != "{}" else {},
        created_at=created_at,
        said_at=created_at if said == created else from_micros(said),
        expires_at=expires if expires is None else from_micros(expires),
        pinned=bool(pinned),
        valid_from=valid_from if valid_from is None else from_micros(valid_from),
        valid_until=valid_until if valid_until is None else from_micros(valid_until),
        superseded_by=superseded_by,
        sources=tuple(json.loads(sources)) if sources else (),
        vector=vector,
    )


def literal_conditions(kind: Kind | None, types: Sequence[str] | None) -> list[str]:
    """Return the conditions on rows `r` by which the SQL stores choose a partial index.

    There is one for statements, one for standing instructions among them, and one for other
    memories. A planner sees that an index holds all
    the selected rows only if the condition is written out.
    """
    conditions = [] if kind is None else [f"r.kind = '{kind}'"]
    if types in (("episodic",), ("procedural",)):
        conditions.append(f"r.type = '{types[0]}'")
    elif types is not None and "episodic" not in types:
        conditions.append("r.type <> 'episodic'")
    return conditions


def session_summaries(rows: Iterable[Sequence[Any]]) -> list[SessionSummary]:
    """Build sessions from user, session, memories, messages, and the last write in microseconds."""
    names = ("user_id", "session_id", "memories", "messages")
    return [
        SessionSummary(**dict(zip(names, cells, strict=True)), last_at=from_micros(last))
        for *cells, last in rows
    ]


def superseded(older: Record, newer: Record) -> Record:
    """Return a memory as it is once a newer one has superseded it.

    Raises:
        InvalidInput: it is a document, which would not be found by its key any more.
    """
    if older.key.startswith(DOCUMENT_KEY):
        raise InvalidInput(
            "A document of KronvexProfile cannot be superseded; change it with its patch or set."
        )
    return replace(
        older, key=older.id, superseded_by=newer.id, valid_until=newer.true_from, supersedes=()
    )


def last_of_chain(id_: str, find: Callable[[str], Record | None]) -> Record:
    """Return the memory that one has become: itself, or the last successor that is found.

    Raises:
        MemoryNotFound: there is no memory with this id.
    """
    last = find(id_)
    if last is None:
        raise MemoryNotFound()
    passed = {last.id}  # in data from elsewhere, a chain may be a circle
    while last.superseded_by and last.superseded_by not in passed:
        following = find(last.superseded_by)
        if following is None:
            break
        last = following
        passed.add(last.id)
    return last


def renewed(old: Record, new: Record) -> Record:
    """Return the record to keep if `new` repeats `old`.

    The later date and the later expiry win, a pin stays, and new metadata overrides the old, except
    that of a derived memory. That one rests on the sources of both; one that was not derived stays
    as it is.
    """
    if new.sources and not old.sources:
        return replace(old, deduplicated=True)
    expiries = (old.expires_at, new.expires_at)
    return replace(
        old,
        created_at=max(old.created_at, new.created_at),
        expires_at=None if None in expiries else max(filter(None, expiries)),
        pinned=old.pinned or new.pinned,
        metadata=old.metadata if new.sources else {**old.metadata, **new.metadata},
        sources=tuple(dict.fromkeys(old.sources + new.sources)) if new.sources else (),
        deduplicated=True,
    )


_CHANGING = (
    "type", "content", "search_text", "metadata", "created_at", "expires_at", "pinned", "key",
    "valid_until", "superseded_by", "sources",
)  # fmt: skip


def key_taken() -> InvalidInput:
    """Return the error for a change that gives a record the key of another one."""
    return InvalidInput(
        "A memory with this text and type already exists in the same scope; forget one of the two."
    )


def rebased(record: Record, stored: Record) -> Record:
    """Return a changed record as if the change had started from the record as stored now."""
    base = record.base
    if base is None:
        return record
    unchanged = [name for name in _CHANGING if getattr(record, name) == getattr(base, name)]
    theirs = {name: getattr(stored, name) for name in unchanged}
    # An answer completes what was stored; other texts take its place.
    if record.completes and "content" not in theirs and record.content.startswith(base.content):
        content = stored.content + record.content[len(base.content) :]
        theirs["content"] = content[:MAX_CONTENT_CHARS]
    merged = replace(record, base=None, **theirs)
    if merged.key not in (stored.key, usual := merged.usual_key()):
        merged = replace(merged, key=usual)
    # The vector was made of the text before.
    return merged if merged.found_by == record.found_by else replace(merged, vector=None)


def without_vectors(records: Sequence[Record]) -> list[Record]:
    """Return records without vectors, because they come from another model than the store's."""
    return [replace(record, vector=None) for record in records]


def moved_id(record: Record, agent_id: str) -> str:
    """Return the id for a restored record whose own id already belongs to another record.

    The id depends on the agent and the owner, so that restoring the record again finds it.
    """
    return _moved(record.id, record.scope.owner, agent_id)


def related_ids(record: Record) -> list[str]:
    """Return the ids of its successor and of its sources."""
    return [*filter(None, [record.superseded_by]), *record.sources]


def moved_ids(record: Record, taken: Iterable[str], agent_id: str) -> dict[str, str]:
    """Return the `moved_id` for each id that a record names and that is taken."""
    return {id_: _moved(id_, record.scope.owner, agent_id) for id_ in taken}


def pointing_to(record: Record, moved: Mapping[str, str]) -> Record:
    """Return a record that names its successor and its sources by the ids that they have now."""
    successor = record.superseded_by
    return replace(
        record,
        superseded_by=successor and moved.get(successor, successor),
        sources=tuple(dict.fromkeys(moved.get(id_, id_) for id_ in record.sources)),
    )


def _moved(id_: str, owner: str, agent_id: str) -> str:
    digest = hashlib.blake2b("\0".join((agent_id, owner, id_)).encode(), digest_size=16)
    return digest.hexdigest()


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID, in either of its usual forms."""
    if len(text) not in (32, 36):
        return False
    try:
        return str(uuid.UUID(text)).replace("-", "") == text.lower().replace("-", "")
    except ValueError:
        return False
