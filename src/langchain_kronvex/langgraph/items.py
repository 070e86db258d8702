"""Converts items of LangGraph to records and back. Pure functions.

The text of a record is used to search for the item; the whole value is in the metadata. Each
indexed field, and each value on its path, is a text of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langgraph.store.base import PutOp, get_text_at_path, tokenize_path

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.langgraph.namespaces import Namespace, owner_of
from langchain_kronvex.memory.keyed_documents import document_records
from langchain_kronvex.storage.backend import Record

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
    metadata = {
        "namespace": list(put.namespace),
        "key": checks.check_text(put.key, "key"),
        "value": value,
    }
    lifetime = {} if put.ttl is None else {"ttl_minutes": put.ttl}
    texts = dict.fromkeys(text for path in paths for text in _texts(value, path))
    owner = owner_of(put.namespace)
    return document_records(
        owner, put.key, list(texts), {**metadata, **lifetime}, now, _expiry(now, put.ttl)
    )


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
