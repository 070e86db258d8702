"""Documents under keys, each with an owner: replaced, listed, searched and erased.

A document is stored as a memory. Its text is used for search and may be empty; everything else
goes into its metadata. Unlike the verbs of `KronvexMemory`, these functions return records, because
stores of documents need their times and keys, and they do not count accesses.

A document can have several texts. The first is stored in its record, and each of the others in a
record of its own, a part, under a separate session. Finding a part returns its document.
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
MAX_TEXTS = 32  # for one document; any further texts are joined to the last
_SEARCHABLE = "semantic"
_NOT_SEARCHABLE = "context"  # a type that no search here asks for
_NO_TEXT = "-"
_TEXTS = "texts"  # in the metadata: the number of texts, if there are several
_PART_OF = "of"  # in the metadata of a part: the stored key of its document


class KeyedDocuments:
    """The documents of one agent, which has no other memories.

    Args:
        engine: The engine of the memory that keeps them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, owner: str, keys: Iterable[str]) -> list[Record]:
        """Return the existing documents with these keys."""
        return self._engine.find(_select(owner, keys))

    def newest(self, owner: str | None, limit: int | None, offset: int) -> list[Record]:
        """Return a page of the documents of one owner, or of all owners, last written first.

        A page of all owners also contains parts.
        """
        scope = None if owner is None else Scope(owner, _SESSION)
        page = Page(newest_first=True, limit=limit, offset=offset)
        return self._engine.find(Selection(kind="memory", scope=scope), page)

    def matches(self, owner: str, query: str, limit: int) -> tuple[list[Match], bool]:
        """Return an owner's best matches, most similar first, and whether there are no others.

        If several texts of a document are among the `limit` best, the best of them counts.
        """
        recaller = self._engine.recaller
        matches = recaller.matches(recaller.request(query, Scope(owner), limit, _SEARCHABLE))
        keys = {_key(match.record) for match in matches if is_part(match.record)}
        chosen = Selection(kind="memory", scope=Scope(owner, _SESSION), keys=tuple(keys))
        whole = {record.key: record for record in self._engine.find(chosen)} if keys else {}
        return _best_of_each(matches, whole), len(matches) < limit

    def owners(self, beginning: str) -> list[str]:
        """Return the owners with names that begin with a text."""
        return self._engine.backend.owners(beginning, self._engine.clock())

    def put(
        self,
        records: Sequence[Record],
        now: datetime,
        deleted: Mapping[str, Sequence[str]],
        *,
        in_parts: bool,
    ) -> None:
        """Store documents, replacing those with the same keys; delete others by owner and key.

        Everything is done in one step, or nothing. The bytes of deleted documents are erased in
        the background.

        Args:
            records: The records of documents and of their parts.
            now: The moment of writing.
            deleted: Keys by owner.
            in_parts: The replaced documents may have parts. Parts that are left over are never
                found, and are deleted together with their document.
        """
        selects = (_select, _select_parts)
        chosen = [select(owner, keys) for select in selects for owner, keys in deleted.items()]
        if in_parts and not self._engine.backend.is_remote:  # one request for each
            chosen += _replaced_parts(records)
        if records or chosen:
            self._engine.put(records, now, chosen)

    def change(self, record: Record) -> None:
        """Store a new expiry of a document, unless it has been replaced or erased since."""
        changed = [record]
        if record.metadata.get(_TEXTS):
            parts = self._engine.find(_select_parts(record.scope.owner, [record.key]))
            changed += [replace(part, expires_at=record.expires_at) for part in parts]
        for each in changed:
            with contextlib.suppress(MemoryNotFound, InvalidInput):
                self._engine.backend.change(each, self._engine.clock())


def document_records(
    owner: str,
    key: str,
    texts: Sequence[str],
    metadata: Mapping[str, Any],
    now: datetime,
    expires_at: datetime | None,
) -> list[Record]:
    """Return the record of a document, and its parts; without a text only its key finds it."""
    storable = [text for text in map(_storable, texts) if text.strip()]
    if len(storable) > MAX_TEXTS:
        storable[MAX_TEXTS - 1 :] = [_storable("\n".join(storable[MAX_TEXTS - 1 :]))]
    several = {_TEXTS: len(storable)} if len(storable) > 1 else {}
    first = Record(
        kind="memory", id=uuid.uuid4().hex, scope=Scope(owner, _SESSION), key=short_name(key),
        type=_SEARCHABLE if storable else _NOT_SEARCHABLE, content=(storable or [_NO_TEXT])[0],
        metadata={**metadata, **several}, created_at=now, expires_at=expires_at,
    )  # fmt: skip
    parts = [
        replace(
            first, id=uuid.uuid4().hex, scope=Scope(owner, _PARTS), key=part_key, content=text,
            metadata={_PART_OF: first.key},
        )
        for part_key, text in zip(_part_keys(first.key), storable[1:], strict=False)
    ]  # fmt: skip
    return [first, *parts]


def is_part(record: Record) -> bool:
    """Return whether a record is a part of a document."""
    return record.scope.session_id == _PARTS


def _key(record: Record) -> str:
    """Return the stored key of a document; for a part, that of its document."""
    key: str = record.metadata[_PART_OF] if is_part(record) else record.key
    return key


def _best_of_each(matches: Iterable[Match], whole: Mapping[str, Record]) -> list[Match]:
    """Return the first match of each document, with the record of the document itself."""
    best: dict[str, Match] = {}
    for match in matches:
        key = _key(match.record)
        record = whole.get(key) if is_part(match.record) else match.record
        # A part written at another time belongs to an earlier version of the document.
        if record is not None and record.created_at == match.record.created_at:
            best.setdefault(key, replace(match, record=record))
    return list(best.values())


def _storable(text: str) -> str:
    return text.replace("\0", " ").encode("utf-8", "replace").decode()[:MAX_CONTENT_CHARS]


def _part_keys(key: str) -> list[str]:
    """Return all keys that parts of a document can have."""
    digest = hashlib.blake2b(key.encode(), digest_size=32).hexdigest()
    return [f"{DIGESTED}{digest}:{number}" for number in range(1, MAX_TEXTS)]


def _select_parts(owner: str, keys: Iterable[str]) -> Selection:
    of_parts = tuple(part for key in keys for part in _part_keys(short_name(key)))
    return Selection(kind="memory", scope=Scope(owner, _PARTS), keys=of_parts)


def _replaced_parts(records: Iterable[Record]) -> list[Selection]:
    """Return the parts that earlier versions of documents may have, and these ones do not."""
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
