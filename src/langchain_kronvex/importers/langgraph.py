"""Items of LangGraph's SqliteStore and PostgresStore, read from the table `store`.

`KronvexStore` finds them under the same namespaces and keys.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.config.urls import conninfo, is_postgres
from langchain_kronvex.core.errors import InvalidInput, StoreError
from langchain_kronvex.core.options import needing
from langchain_kronvex.core.sqlite_files import uri_to_read
from langchain_kronvex.importers.entries import Asked, Found, derived_id, entry, moment_of
from langchain_kronvex.memory.namespaced_items import item_records, whole_text
from langchain_kronvex.memory.transfer.files import File
from langchain_kronvex.memory.transfer.format import Fields, record_fields

_COLUMNS = ("prefix", "key", "value", "created_at", "updated_at")
_SINCE_TTL = ("expires_at", "ttl_minutes")  # older stores lack them
Rows = Generator[tuple[Any, ...], None, None]


def read_langgraph(file: File, asked: Asked) -> Found:
    """Yield the items of a store; a PostgreSQL store is named by its URL."""
    if asked.user_id is not None:
        raise InvalidInput("Items belong to their namespaces: leave out user_id (--user).")
    if not isinstance(file, str | PathLike):
        raise InvalidInput("Name the SQLite file of the store, or its postgresql:// URL.")
    rows = _postgres_rows(str(file)) if is_postgres(file) else _sqlite_rows(Path(file))
    with closing(rows):
        for number, row in enumerate(rows, 1):
            yield entry("item", f"row {number}", partial(_item, row, asked))


def _item(row: tuple[Any, ...], asked: Asked) -> list[Fields]:
    prefix, key, value, created_at, updated_at, expires_at, ttl_minutes = row
    namespace = tuple(checks.check_text(prefix, "prefix").split("."))
    if not all(namespace):
        raise InvalidInput("a label of its namespace is empty.")
    key = checks.check_content(key, "key")
    if not isinstance(ttl_minutes, int | float | None):
        raise InvalidInput("ttl_minutes is not a number.")
    value = asked.before_save.values(_value(value))
    written = moment_of(updated_at, "updated_at") or asked.written_at
    [record] = item_records(
        namespace, key, value, [whole_text(value)], written,
        expires_at=moment_of(expires_at, "expires_at"), ttl_minutes=ttl_minutes,
    )  # fmt: skip
    said_at = moment_of(created_at, "created_at")
    # A value that was written anew since the last import has another id, and takes its place.
    id_ = derived_id("langgraph", *namespace, key, written.isoformat())
    return [{**record_fields(record), "id": id_, "key": record.key, "said_at": said_at}]


def _value(stored: Any) -> dict[str, Any]:
    """Return the value of an item: of SQLite the JSON text, of PostgreSQL what was read from it."""
    try:
        found = json.loads(stored) if isinstance(stored, str | bytes) else stored
    except (ValueError, RecursionError):
        raise InvalidInput("value is not JSON.") from None
    return checks.check_mapping(found, "value", checks.MAX_METADATA_DEPTH - 1)


def _sqlite_rows(path: Path) -> Rows:
    if not path.is_file():
        raise InvalidInput(f"No such file: {path.absolute()}")
    try:
        with closing(sqlite3.connect(uri_to_read(path.absolute()), uri=True)) as connection:
            # What is not UTF-8 text is refused later, value by value.
            connection.text_factory = lambda text: text.decode(errors="surrogateescape")
            there = {name for _, name, *_ in connection.execute("PRAGMA table_info(store)")}
            yield from connection.execute(f"{_select(there)} ORDER BY rowid")
    except sqlite3.DatabaseError as error:
        raise InvalidInput(f"{path} cannot be read as a store ({error}).") from error


def _postgres_rows(url: str) -> Rows:
    with needing("PostgreSQL needs psycopg and its pool", extra="postgres"):
        import psycopg
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'store' "
    columns += "AND table_schema = ANY(current_schemas(false))"
    try:
        with psycopg.connect(conninfo(url)) as connection:
            connection.read_only = True
            there = {name for (name,) in connection.execute(columns)}
            with connection.cursor("kronvex_import") as cursor:  # a named one reads in portions
                yield from cursor.execute(f"{_select(there)} ORDER BY updated_at, prefix, key")
    except psycopg.Error as error:  # its message may hold a password
        kind = f"{type(error).__name__} {error.sqlstate or ''}".strip()
        raise StoreError(
            f"The LangGraph store cannot be read ({kind}). Check the URL and your rights."
        ) from None


def _select(there: set[str]) -> str:
    if not there.issuperset(_COLUMNS):
        raise InvalidInput("This is not a LangGraph store: it has no table `store`.")
    later = [name if name in there else "NULL" for name in _SINCE_TTL]
    return f"SELECT {', '.join([*_COLUMNS, *later])} FROM store"
