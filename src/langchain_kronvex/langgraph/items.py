"""Items of LangGraph and the records they are kept as. Pure functions.

A record's text is what the item is found by; the value stands whole in the metadata. Each field
that is indexed, and each value on its path, is a text of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from langgraph.store.base import Item, PutOp, SearchItem, get_text_at_path, tokenize_path

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.langgraph.namespaces import Namespace, owner_of
from langchain_kronvex.memory.keyed_documents import keyed_memory
from langchain_kronvex.storage.backend import Record

_MINUTES_PER_DAY = 24 * 60
WHOLE = "$"


def to_records(put: PutOp, fields: Sequence[str], now: datetime) -> list[Record]:
    """Return the record of an item that is put, and its parts when it has several texts.

    Args:
        put: Its namespace is checked; its value is not None.
        fields: What an item is found by that does not say so itself.
        now: The moment of writing.

    Raises:
        InvalidInput: key, value, index or ttl does not fit.
    """
    value = check_value(put.value)
    paths = check_fields(fields if put.index is None else put.index)
    metadata: dict[str, Any] = {
        "namespace": list(put.namespace),
        "key": check_key(put.key),
        "value": value,
    }
    if put.ttl is not None:
        metadata["ttl_minutes"] = put.ttl
    texts = dict.fromkeys(text for path in paths for text in _texts(value, path))
    owner = owner_of(put.namespace)
    return keyed_memory(owner, put.key, list(texts), metadata, now, _expiry(now, put.ttl))


def to_item(record: Record) -> Item:
    """Return the item that a record is of."""
    return Item(**_fields(record))


def to_search_item(record: Record, score: float | None) -> SearchItem:
    """Return the item that a record is of, as found by a search."""
    return SearchItem(**_fields(record), score=score)


def _fields(record: Record) -> dict[str, Any]:
    return {
        "namespace": namespace_of(record),
        "key": record.metadata["key"],
        "value": value_of(record),
        "created_at": record.said_at or record.created_at,
        "updated_at": record.created_at,
    }


def namespace_of(record: Record) -> Namespace:
    """Return the namespace of an item's record."""
    return tuple(record.metadata["namespace"])


def value_of(record: Record) -> dict[str, Any]:
    """Return the value of an item's record."""
    value: dict[str, Any] = record.metadata["value"]
    return value


def refreshed(record: Record, now: datetime) -> Record | None:
    """Return an item's record with its lifetime begun anew; None when it has no lifetime."""
    ttl = record.metadata.get("ttl_minutes")
    return None if ttl is None else replace(record, expires_at=_expiry(now, ttl))


def check_key(key: object) -> str:
    """Return a key: any text that can be stored.

    Raises:
        InvalidInput: it is not.
    """
    if not isinstance(key, str):
        raise InvalidInput(f"key must be a string, not {type(key).__name__}.")
    return checks.check_text(key, "key")


def check_value(value: object) -> dict[str, Any]:
    """Return a copy of a value: a mapping of JSON values.

    Raises:
        InvalidInput: it is not.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(f"value must be a mapping, not {type(value).__name__}.")
    return dict(checks.check_json(value, "value", checks.MAX_JSON_DEPTH))


def check_fields(fields: object) -> list[str]:
    """Return the paths of the fields that are indexed; none for False.

    Raises:
        InvalidInput: they are no list of paths.
    """
    if fields is False:
        return []
    if isinstance(fields, list | tuple) and all(isinstance(path, str) for path in fields):
        return list(fields)
    raise InvalidInput(f"index must be False or a list of paths of fields, not {fields!r}.")


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
    """Write a value as lines of text, each with the names of the fields it stands in.

    JSON is written for machines: its marks and repeated names would count as words.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _lines(inner, (*path, name))
    elif isinstance(value, list):
        plain = [str(inner) for inner in value if isinstance(inner, str | int | float)]
        if plain:
            yield _line(path, ", ".join(plain))
        for inner in value:
            if isinstance(inner, Mapping | list):
                yield from _lines(inner, path)
    elif value is not None and value != "":
        yield _line(path, str(value))


def _line(path: tuple[str, ...], text: str) -> str:
    return f"{' '.join(path)}: {text}"
