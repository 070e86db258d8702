"""Converts items of LangGraph to records and back. Pure functions.

The text of a record is used to search for the item, and may be missing; the whole value is in the
metadata. Each indexed field, and each value on its path, is a text of its own. The first text of an
item is stored in its record, and each of the others in a record of its own, a part, under a
separate session. Finding a part returns its item.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langgraph.store.base import PutOp, get_text_at_path, tokenize_path

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import MemoryType
from langchain_kronvex.langgraph.namespaces import Namespace, owner_of
from langchain_kronvex.storage.backend import Record, Selection

SESSION = "keyed"  # with both ids a key is looked up in the store's index
PARTS = "parts of keyed"
SEARCHABLE: MemoryType = "semantic"
MAX_TEXTS = 32  # for one item; any further texts are joined to the last
_NOT_SEARCHABLE = "context"  # a type that no search here asks for
_NO_TEXT = "-"
TEXTS = "texts"  # in the metadata: the number of texts, if there are several
_PART_OF = "of"  # in the metadata of a part: the stored key of its item
_MINUTES_PER_DAY = 24 * 60
WHOLE = "$"


def to_records(put: PutOp, fields: Sequence[str], now: datetime) -> list[Record]:
    """Return the record of an item, and its parts if it has several texts.

    Args:
        put: The operation, with checked namespace and key, and a value other than None.
        fields: The fields to index, unless the operation names others.
        now: The moment of writing.

    Raises:
        InvalidInput: value, index or ttl does not fit.
    """
    value = checks.check_mapping(put.value, "value", checks.MAX_JSON_DEPTH)
    paths = check_fields(fields if put.index is None else put.index)
    found = dict.fromkeys(text for path in paths for text in _texts(value, path))
    texts = [text for text in map(_storable, found) if text.strip()]
    if len(texts) > MAX_TEXTS:
        texts[MAX_TEXTS - 1 :] = [_storable("\n".join(texts[MAX_TEXTS - 1 :]))]
    stored: dict[str, Any] = {"namespace": list(put.namespace), "key": put.key, "value": value}
    if put.ttl is not None:
        stored["ttl_minutes"] = put.ttl
    if len(texts) > 1:
        stored[TEXTS] = len(texts)
    owner, key = owner_of(put.namespace), checks.short_name(put.key)
    first = Record(
        kind="memory", id=uuid.uuid4().hex, scope=Scope(owner, SESSION), key=key,
        type=SEARCHABLE if texts else _NOT_SEARCHABLE, content=(texts or [_NO_TEXT])[0],
        metadata=stored, created_at=now, expires_at=_expiry(now, put.ttl),
    )  # fmt: skip
    parts = [
        replace(
            first, id=uuid.uuid4().hex, scope=Scope(owner, PARTS), key=part_key, content=text,
            metadata={_PART_OF: key},
        )
        for part_key, text in zip(_part_keys(key), texts[1:], strict=False)
    ]  # fmt: skip
    return [first, *parts]


def is_part(record: Record) -> bool:
    """Return whether a record is a part of an item."""
    return record.scope.session_id == PARTS


def key_of(record: Record) -> str:
    """Return the stored key of an item; for a part, that of its item."""
    key: str = record.metadata[_PART_OF] if is_part(record) else record.key
    return key


def _storable(text: str) -> str:
    return text.replace("\0", " ").encode("utf-8", "replace").decode()[: checks.MAX_CONTENT_CHARS]


def _part_keys(key: str) -> list[str]:
    """Return all keys that parts of an item can have."""
    digest = hashlib.blake2b(key.encode(), digest_size=32).hexdigest()
    return [f"{checks.DIGESTED}{digest}:{number}" for number in range(1, MAX_TEXTS)]


def select(owner: str, keys: Iterable[str]) -> Selection:
    """Return a selection of items by their keys."""
    short = tuple(checks.short_name(key) for key in keys)
    return Selection(kind="memory", scope=Scope(owner, SESSION), keys=short)


def select_parts(owner: str, keys: Iterable[str]) -> Selection:
    """Return a selection of the parts of items by the keys of the items."""
    of_parts = tuple(part for key in keys for part in _part_keys(checks.short_name(key)))
    return Selection(kind="memory", scope=Scope(owner, PARTS), keys=of_parts)


def replaced_parts(records: Iterable[Record]) -> list[Selection]:
    """Return the parts that earlier versions of items may have, and these ones do not."""
    keys_of: dict[str, list[str]] = {}
    for record in records:
        if not is_part(record):
            had = _part_keys(record.key)[record.metadata.get(TEXTS, 1) - 1 :]
            keys_of.setdefault(record.scope.owner, []).extend(had)
    return [
        Selection(kind="memory", scope=Scope(owner, PARTS), keys=tuple(keys))
        for owner, keys in keys_of.items()
    ]


def item_fields(record: Record) -> dict[str, Any]:
    """Return the arguments of the `Item` of a record, or of its `SearchItem`."""
    return {
        "namespace": namespace_of(record),
        "key": record.metadata["key"],
        "value": record.metadata["value"],
        "created_at": record.said_at or record.created_at,
        "updated_at": record.created_at,
    }


def namespace_of(record: Record) -> Namespace:
    """Return the namespace of an item's record."""
    return tuple(record.metadata["namespace"])


def refreshed(record: Record, now: datetime) -> Record | None:
    """Return an item's record with its lifetime restarted; None if it has no lifetime."""
    ttl = record.metadata.get("ttl_minutes")
    return None if ttl is None else replace(record, expires_at=_expiry(now, ttl))


def check_fields(fields: object) -> list[str]:
    """Return the paths of the indexed fields; an empty list for False.

    Raises:
        InvalidInput: the value is not a list of paths.
    """
    if fields is False:
        return []
    if isinstance(fields, list | tuple) and all(isinstance(path, str) for path in fields):
        return list(fields)
    raise InvalidInput(f"index must be False or a list of field paths, not {fields!r}.")


def _expiry(now: datetime, ttl: object) -> datetime | None:
    if isinstance(ttl, bool) or not isinstance(ttl, int | float | None):
        raise InvalidInput(f"ttl must be a number of minutes, not {ttl!r}.")
    try:
        return checks.expiry(now, None if ttl is None else ttl / _MINUTES_PER_DAY)
    except (InvalidInput, OverflowError) as error:
        most = checks.MAX_TTL_DAYS * _MINUTES_PER_DAY
        raise InvalidInput(
            f"ttl must be more than 0 and at most {most} minutes, not {ttl!r}; None for no expiry."
        ) from error


def _texts(value: Mapping[str, Any], path: str) -> list[str]:
    if path in ("", WHOLE):
        return ["\n".join(_lines(value, ()))]
    return get_text_at_path(value, tokenize_path(path))


def _lines(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield a value as lines of text, each with the names of its fields.

    JSON would be searched less well, because its repeated names would count as words.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _lines(inner, (*path, name))
    elif isinstance(value, list):
        plain = [str(inner) for inner in value if isinstance(inner, str | int | float)]
        if plain:
            yield f"{' '.join(path)}: {', '.join(plain)}"
        for inner in value:
            if isinstance(inner, Mapping | list):
                yield from _lines(inner, path)
    elif value is not None and value != "":
        yield f"{' '.join(path)}: {value}"
