"""The tables of the PostgreSQL store: created and upgraded by the first worker."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.resources import files

from langchain_kronvex.core.errors import (
    ConfigurationError,
    SchemaTooNew,
    StoreError,
    StoreUnavailable,
)
from langchain_kronvex.storage.postgres.database import Database, Transaction, locking

LOCK = locking("langchain-kronvex schema")
_OLDEST_SERVER = 140000
_OLDEST_VECTOR = (0, 7)  # the first with halfvec


def steps() -> list[str]:
    """Return the scripts of all steps, in their order."""
    folder = files("langchain_kronvex.storage.postgres").joinpath("schema")
    scripts = sorted((f for f in folder.iterdir() if f.name[:3].isdigit()), key=lambda f: f.name)
    return [script.read_text(encoding="utf-8") for script in scripts]


def has_tables(database: Database) -> bool:
    """Return whether there is a store."""
    found = database.read("SELECT to_regclass('langchain_kronvex.schema_steps') IS NOT NULL")
    return bool(found[0][0])


def migrate(database: Database, scripts: Sequence[str] | None = None) -> None:
    """Create the tables or upgrade them; workers that start at the same time do it once.

    Args:
        database: Where.
        scripts: The steps; None for all.

    Raises:
        ConfigurationError: the server or pgvector is too old, or the encoding is not UTF8.
        SchemaTooNew: a newer version of this package made the tables.
        StoreError: the server cannot be reached, or refuses.
    """
    _check_server(database)
    _check_pgvector(database)
    scripts = steps() if scripts is None else scripts
    if not has_tables(database):
        database.run(_make_schema)
    taken = _taken(database, len(scripts))
    for number, script in enumerate(scripts[taken:], taken + 1):
        database.run(functools.partial(_take_step, number=number, script=script))


def require_current(database: Database) -> bool:
    """Check that the tables are there as this version has them; return whether they are secured.

    It changes nothing.

    Raises:
        ConfigurationError: the server or pgvector is too old, or the encoding is not UTF8.
        SchemaTooNew: a newer version of this package made the tables.
        StoreUnavailable: there are none, or an older version made them.
    """
    _check_server(database)
    known = len(steps())
    taken = _taken(database, known) if has_tables(database) and database.find_vectors() else 0
    if taken < known:
        raise StoreUnavailable(
            f"{database.location} has schema version {taken}; this langchain-kronvex reads version "
            f"{known}. Opening it for writing upgrades it, after which older versions cannot read "
            "it: langchain-kronvex doctor --fix --upgrade"
        )
    records = "'langchain_kronvex.records'::regclass"
    found = database.read(f"SELECT relrowsecurity FROM pg_class WHERE oid = {records}")
    return bool(found[0][0])


def _taken(database: Database, known: int) -> int:
    """Return the schema's version."""
    found = database.read("SELECT coalesce(max(step), 0) FROM langchain_kronvex.schema_steps")
    taken = int(found[0][0])
    if taken > known:
        raise SchemaTooNew(
            f"{database.location} has schema version {taken}; this langchain-kronvex knows "
            f"versions up to {known}. Upgrade it: pip install -U langchain-kronvex"
        )
    return taken


def _check_server(database: Database) -> None:
    ((version, server, client),) = database.read(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), "
        "current_setting('client_encoding')"
    )
    if version < _OLDEST_SERVER:
        raise ConfigurationError(
            f"{database.location} is PostgreSQL {version // 10000}; 14 or later is needed."
        )
    if server != "UTF8" or client != "UTF8":
        raise ConfigurationError(
            f"{database.location}: texts of any language need the encoding UTF8; the database has "
            f"{server}, the connection {client}. Create the database with ENCODING 'UTF8', and "
            "leave client_encoding alone."
        )


def _check_pgvector(database: Database) -> None:
    version = database.find_vectors()
    if version is None:
        try:
            database.run(_create_extension)
        except StoreError as error:
            raise ConfigurationError(
                f"{database.location} lacks the extension pgvector, and it could not be added "
                f"({error}). Install pgvector on the server, and let an administrator of the "
                "database run: CREATE EXTENSION vector"
            ) from error
        version = database.find_vectors() or "0"
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_VECTOR:
        raise ConfigurationError(
            f"{database.location} has pgvector {version}; 0.7 or later is needed. Upgrade it, then "
            "run: ALTER EXTENSION vector UPDATE"
        )


def _create_extension(tx: Transaction) -> None:
    tx.execute_all([LOCK])
    found = tx.execute("SELECT current_schema()")
    where = "" if found[0][0] else " SCHEMA public"  # the search path may lead nowhere
    tx.execute(f"CREATE EXTENSION IF NOT EXISTS vector{where}")


def _make_schema(tx: Transaction) -> None:
    tx.execute_all([LOCK])
    if not tx.execute("SELECT to_regnamespace('langchain_kronvex')")[0][0]:
        tx.execute("CREATE SCHEMA IF NOT EXISTS langchain_kronvex")
    tx.execute(
        "CREATE TABLE IF NOT EXISTS langchain_kronvex.schema_steps "
        "(step integer PRIMARY KEY, taken_at timestamptz NOT NULL DEFAULT now())"
    )


def _take_step(tx: Transaction, number: int, script: str) -> None:
    tx.execute_all([LOCK])
    if tx.execute("SELECT 1 FROM langchain_kronvex.schema_steps WHERE step = %s", [number]):
        return  # another worker was first
    tx.execute_script(script)
    tx.execute("INSERT INTO langchain_kronvex.schema_steps (step) VALUES (%s)", [number])
