"""Memories under keys, each of an owner: replaced, listed, found and erased.

This is what a store of documents is made of. A memory here has a text by which it is found, or
none, and whatever else there is to it stands in its metadata. Unlike the verbs of users these give
records, whose times and keys such a store needs, and they count no access.

Of a memory that is found by several texts, the first stands in its record. The others stand in
records beside it, its parts, in a session of their own; a part that is found leads to its memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core.errors import InvalidInput, MemoryNotFound
from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import DIGESTED, MAX_CONTENT_CHARS, short_name
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.storage.backend import Match, Page, Record, Selection

_SESSION = "keyed"  # with both ids a key is looked up in the store's index
_PARTS = "parts of keyed"
MAX_TEXTS = 32  # of one memory; what is more is one with the last
_FOUND = "semantic"
_NOT_FOUND = "context"  # a type that no search here asks for
_NO_TEXT = "-"
_TEXTS = "texts"  # in the metadata: how many there are, when there are several
_PART_OF = "of"  # in the metadata of a part: the key, as it is stored


class KeyedMemories:
    """The keyed memories of one agent, which has no others.

    Args:
        engine: Of the memory that keeps them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now(self) -> datetime:
        """Return the time by the memory's clock."""
        return self._engine.clock()

    def find(self, owner: str, keys: Iterable[str]) -> list[Record]:
        """Return those of the memories with these keys that exist."""
        return self._engine.find(_select(owner, keys))

    def newest(self, owner: str | None, limit: int | None, offset: int) -> list[Record]:
        """Return a page of the memories of an owner, or of all, the last written first.

        A page of all also holds the parts.
        """
        scope = None if owner is None else Scope(owner, _SESSION)
        page = Page(newest_first=True, limit=limit, offset=offset)
        return self._engine.find(Selection(kind="memory", scope=scope), page)

    def matches(self, owner: str, query: str, limit: int) -> tuple[list[Match], bool]:
        """Return the best matches of an owner, most similar first, and whether these are all.

        A memory with several texts among the `limit` best is one match, as its best text.
        """
        recaller = self._engine.recaller
        matches = recaller.matches(recaller.request(query, Scope(owner), limit, _FOUND))
        keys = {_key(match.record) for match in matches if is_part(match.record)}
        whole: dict[str, Record] = {}
        if keys:
            chosen = Selection(kind="memory", scope=Scope(owner, _SESSION), keys=tuple(keys))
            whole = {record.key: record for record in self._engine.find(chosen)}
        return _best_of_each(matches, whole), len(matches) < limit

    def owners(self, beginning: str) -> list[str]:
        """Return the owners whose names begin with a text."""
        return self._engine.backend.owners(beginning, self.now())

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        deleted: Mapping[str, Sequence[str]],
        *,
        in_parts: bool,
    ) -> None:
        """Store memories in the place of those with their keys; delete others, by owner and key.

        All of it is done in one step, or nothing. Of what is deleted, no byte is left soon.

        Args:
            records: Of memories and their parts.
            now: The moment of writing.
            deleted: Keys by owner.
            in_parts: What is replaced may have parts. Those that are left are found no more
                anyway, and go when their memory is deleted.
        """
        chosen = [_select(owner, keys) for owner, keys in deleted.items()]
        chosen += [_select_parts(owner, keys) for owner, keys in deleted.items()]
        if in_parts and not self._engine.backend.is_remote:  # it would need a request for each
            chosen += _replaced_parts(records)
        if records or chosen:
            self._engine.put(records, now, chosen)

    def change(self, record: Record) -> None:
        """Write the expiry of a memory that was read, unless it was replaced or erased since."""
        changed = [record]
        if record.metadata.get(_TEXTS):
            parts = self._engine.find(_select_parts(record.scope.owner, [record.key]))
            changed += [replace(part, expires_at=record.expires_at) for part in parts]
        for each in changed:
            with contextlib.suppress(MemoryNotFound, InvalidInput):
                self._engine.backend.change(each, self.now())

    def purge(self) -> int:
        """Remove what has expired; return how much."""
        return self._engine.backend.purge(self.now())


def keyed_memory(
    owner: str,
    key: str,
    texts: Sequence[str],
    metadata: Mapping[str, Any],
    now: datetime,
    expires_at: datetime | None,
) -> list[Record]:
    """Return the record of a memory, and its parts; without a text it is found by its key alone."""
    sayable = [text for text in map(_sayable, texts) if text.strip()]
    if len(sayable) > MAX_TEXTS:
        rest = _sayable("\n".join(sayable[MAX_TEXTS - 1 :]))
        sayable = [*sayable[: MAX_TEXTS - 1], rest]
    several = {_TEXTS: len(sayable)} if len(sayable) > 1 else {}
    first = Record(
        kind="memory", id=uuid.uuid4().hex, scope=Scope(owner, _SESSION), key=short_name(key),
        type=_FOUND if sayable else _NOT_FOUND, content=sayable[0] if sayable else _NO_TEXT,
        metadata={**metadata, **several}, created_at=now, expires_at=expires_at,
    )  # fmt: skip
    parts = [
        replace(
            first, id=uuid.uuid4().hex, scope=Scope(owner, _PARTS), key=part_key, content=text,
            metadata={_PART_OF: first.key},
        )
        for part_key, text in zip(_part_keys(first.key), sayable[1:], strict=False)
    ]  # fmt: skip
    return [first, *parts]


def is_part(record: Record) -> bool:
    """Tell whether a record is a part of a memory."""
    return record.scope.session_id == _PARTS


def _key(record: Record) -> str:
    """Return the key, as it is stored, of a memory or of the one that a part is of."""
    key: str = record.metadata[_PART_OF] if is_part(record) else record.key
    return key


def _best_of_each(matches: Iterable[Match], whole: Mapping[str, Record]) -> list[Match]:
    """Return the first match of each memory, with the record of the memory itself."""
    best: dict[str, Match] = {}
    for match in matches:
        key = _key(match.record)
        record = whole.get(key) if is_part(match.record) else match.record
        # What was written at another time is a part of what the memory was before.
        if record is not None and record.created_at == match.record.created_at:
            best.setdefault(key, replace(match, record=record))
    return list(best.values())


def _sayable(text: str) -> str:
    return text.replace("\0", " ").encode("utf-8", "replace").decode()[:MAX_CONTENT_CHARS]


def _part_keys(key: str) -> list[str]:
    """Return the keys that the parts of a memory have, however many there are."""
    digest = hashlib.blake2b(key.encode(), digest_size=32).hexdigest()
    return [f"{DIGESTED}{digest}:{number}" for number in range(1, MAX_TEXTS)]


def _select_parts(owner: str, keys: Iterable[str]) -> Selection:
    of_parts = tuple(part for key in keys for part in _part_keys(short_name(key)))
    return Selection(kind="memory", scope=Scope(owner, _PARTS), keys=of_parts)


def _replaced_parts(records: Iterable[Record]) -> list[Selection]:
    """Return the parts that memories may have had, and have no more."""
    keys_of: dict[str, list[str]] = {}
    for record in records:
        if not is_part(record):
            had = _part_keys(record.key)[record.metadata.get(_TEXTS, 1) - 1 :]
            keys_of.setdefault(record.scope.owner, []).extend(had)
    return [
        Selection(kind="memory", scope=Scope(owner, _PARTS), keys=tuple(keys))
        for owner, keys in keys_of.items()
    ]


def _select(owner: str, keys: Iterable[str]) -> Selection:
    short = tuple(short_name(key) for key in keys)
    return Selection(kind="memory", scope=Scope(owner, _SESSION), keys=short)
