"""Items under namespaces and keys, as `KronvexStore` keeps them. Pure functions.

The namespace `("users", "ana")` is written `/users/ana`. A slash inside a label is escaped, so
every namespace has its own name, and the names of nested namespaces begin with the outer name and a
slash. A name that is too long for the index of a store is replaced by a digest.

The text of a record is used to search for the item, and may be missing; the whole value is in the
metadata. The first text of an item is stored in its record, and each of the others in a record of
its own, a part, under a separate session.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.records import Record, Scope
from langchain_kronvex.core.validation import MemoryType

Namespace = tuple[str, ...]

AGENT_SUFFIX = ".langgraph"  # of the agent that keeps the items, beside that of the memories
SESSION = "keyed"  # with both ids a key is looked up in the store's index
PARTS = "parts of keyed"
SEARCHABLE: MemoryType = "semantic"
MAX_TEXTS = 32  # for one item; any further texts are joined to the last
TEXTS = "texts"  # in the metadata: the number of texts, if there are several
PART_OF = "of"  # in the metadata of a part: the stored key of its item
_NOT_SEARCHABLE = "context"  # a type that no search here asks for
_NO_TEXT = "-"


def written(namespace: Namespace) -> str:
    """Return the full name of a namespace; "" for the empty one."""
    return "".join("/" + label.replace("%", "%25").replace("/", "%2F") for label in namespace)


def owner_of(namespace: Namespace) -> str:
    """Return the name under which a namespace is stored."""
    return checks.short_name(written(namespace))


def item_records(
    namespace: Namespace,
    key: str,
    value: Mapping[str, Any],
    texts: Iterable[str],
    now: datetime,
    *,
    expires_at: datetime | None = None,
    ttl_minutes: float | None = None,
) -> list[Record]:
    """Return the record of an item, and its parts if it has several texts.

    Args:
        namespace: Of the item, checked.
        key: Of the item, checked.
        value: The whole value, checked.
        texts: What it is found by.
        now: The moment of writing.
        expires_at: When it expires.
        ttl_minutes: Its lifetime, which reading it restarts.
    """
    found = [text for text in map(_storable, dict.fromkeys(texts)) if text.strip()]
    if len(found) > MAX_TEXTS:
        found[MAX_TEXTS - 1 :] = [_storable("\n".join(found[MAX_TEXTS - 1 :]))]
    stored: dict[str, Any] = {"namespace": list(namespace), "key": key, "value": value}
    if ttl_minutes is not None:
        stored["ttl_minutes"] = ttl_minutes
    if len(found) > 1:
        stored[TEXTS] = len(found)
    owner, short = owner_of(namespace), checks.short_name(key)
    first = Record(
        kind="memory", id=uuid.uuid4().hex, scope=Scope(owner, SESSION), key=short,
        type=SEARCHABLE if found else _NOT_SEARCHABLE, content=(found or [_NO_TEXT])[0],
        metadata=stored, created_at=now, expires_at=expires_at,
    )  # fmt: skip
    parts = [
        replace(
            first, id=uuid.uuid4().hex, scope=Scope(owner, PARTS), key=part_key, content=text,
            metadata={PART_OF: short},
        )
        for part_key, text in zip(part_keys(short), found[1:], strict=False)
    ]  # fmt: skip
    return [first, *parts]


def part_keys(key: str) -> list[str]:
    """Return all keys that parts of an item with this stored key can have."""
    digest = hashlib.blake2b(key.encode(), digest_size=32).hexdigest()
    return [f"{checks.DIGESTED}{digest}:{number}" for number in range(1, MAX_TEXTS)]


def whole_text(value: Mapping[str, Any]) -> str:
    """Return a value as lines of text, each with the names of its fields.

    JSON would be searched less well, because its repeated names would count as words.
    """
    return "\n".join(_lines(value, ()))


def _storable(text: str) -> str:
    return text.replace("\0", " ").encode("utf-8", "replace").decode()[: checks.MAX_CONTENT_CHARS]


def _lines(value: Any, path: tuple[str, ...]) -> Iterator[str]:
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
