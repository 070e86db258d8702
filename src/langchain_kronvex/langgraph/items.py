"""Converts items of LangGraph to records and back. Pure functions.

Each indexed field, and each value on its path, is a text of its own; see `namespaced_items`.
Finding a part returns its item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langgraph.store.base import PutOp, get_text_at_path, tokenize_path

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.records import Record, Scope, Selection
from langchain_kronvex.memory.namespaced_items import (
    PART_OF,
    PARTS,
    SESSION,
    TEXTS,
    Namespace,
    item_records,
    part_keys,
    whole_text,
)

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
    texts = (text for path in paths for text in _texts(value, path))
    expires_at = _expiry(now, put.ttl)
    return item_records(
        put.namespace, put.key, value, texts, now, expires_at=expires_at, ttl_minutes=put.ttl
    )


def is_part(record: Record) -> bool:
    """Return whether a record is a part of an item."""
    return record.scope.session_id == PARTS


def key_of(record: Record) -> str:
    """Return the stored key of an item; for a part, that of its item."""
    key: str = record.metadata[PART_OF] if is_part(record) else record.key
    return key


def select(owner: str, keys: Iterable[str]) -> Selection:
    """Return a selection of items by their keys."""
    short = tuple(checks.short_name(key) for key in keys)
    return Selection(kind="memory", scope=Scope(owner, SESSION), keys=short)


def select_parts(owner: str, keys: Iterable[str]) -> Selection:
    """Return a selection of the parts of items by the keys of the items."""
    of_parts = tuple(part for key in keys for part in part_keys(checks.short_name(key)))
    return Selection(kind="memory", scope=Scope(owner, PARTS), keys=of_parts)


def replaced_parts(records: Iterable[Record]) -> list[Selection]:
    """Return the parts that earlier versions of items may have, and these ones do not."""
    keys_of: dict[str, list[str]] = {}
    for record in records:
        if not is_part(record):
            had = part_keys(record.key)[record.metadata.get(TEXTS, 1) - 1 :]
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
        return [whole_text(value)]
    return get_text_at_path(value, tokenize_path(path))
