"""The tables of the PostgreSQL store: made, and brought up to date, by whoever comes first."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

from langchain_kronvex.core.errors import ConfigurationError, SchemaTooNew, StoreError
from langchain_kronvex.storage.postgres.database import Database
from langchain_kronvex.storage.postgres.statements import Job, Rows, Statement, Work

_LOCK = Statement(
    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", ["langchain-kronvex schema"]
)
_MADE = (
    "CREATE TABLE IF NOT EXISTS langchain_kronvex.schema_steps "
    "(step integer PRIMARY KEY, taken_at timestamptz NOT NULL DEFAULT now())"
)
_OLDEST_SERVER = 140000
_OLDEST_VECTOR = (0, 7)  # the first with halfvec


def prepare(database: Database, schema: str, location: str) -> None:
    """Make the tables, or bring them up to date; ten workers at once make them once.

    Raises:
        ConfigurationError: pgvector is missing or too old.
        SchemaTooNew: a newer version of this package made the tables.
        StoreError: the server cannot be reached, or refuses.
    """
    _need_server(database, location)
    _need_vectors(database, location)
    steps = _steps()
    taken = database.run(Job(lambda: _taken(schema)))
    if taken is None:
        database.run(Job(lambda: _making(schema)))
        taken = 0
    if taken > len(steps):
        raise SchemaTooNew(
            f"{location} has schema version {taken}; this langchain-kronvex knows versions up to "
            f"{len(steps)}. Upgrade it: pip install -U langchain-kronvex"
        )
    for number, script in enumerate(steps[taken:], taken + 1):
        database.run(Job(functools.partial(_step, number, script)))


def secure(database: Database, location: str, *, wanted: bool) -> bool:
    """Turn row-level security on if it is wanted; tell whether it is on.

    Whatever the tables, and partitions made since, keep of users beside their rows is seen to, too.

    Raises:
        ConfigurationError: it is wanted, and would not hold for the role, or not everywhere.
    """
    if wanted and database.run(Job(_is_exempt)):
        raise ConfigurationError(
            f"{location}: row_level_security does not hold for this role, which is a superuser or "
            "has BYPASSRLS. Connect as a role without these; it may own the tables."
        )
    guards = database.run(Job(lambda: _securing(wanted)))
    if wanted and guards.leaking:
        raise ConfigurationError(
            f"{location}: row-level security does not hold on {', '.join(guards.leaking)}, which "
            "the role may use but does not own. Let the owner run: "
            "SELECT langchain_kronvex.guard_tables()"
        )
    return guards.is_limited


def _is_exempt() -> Work[bool]:
    found: Rows = yield Statement(
        "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
    return bool(found[0][0])


def _need_server(database: Database, location: str) -> None:
    version, server, client = database.run(Job(_asking_what_it_is))
    if version < _OLDEST_SERVER:
        raise ConfigurationError(
            f"{location} is PostgreSQL {version // 10000}; 14 or later is needed."
        )
    if server != "UTF8" or client != "UTF8":
        raise ConfigurationError(
            f"{location}: texts of any language need the encoding UTF8; the database has {server}, "
            f"the connection {client}. Create the database with ENCODING 'UTF8', and leave "
            "client_encoding alone."
        )


def _asking_what_it_is() -> Work[tuple[int, str, str]]:
    found: Rows = yield Statement(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), "
        "current_setting('client_encoding')"
    )
    version, server, client = found[0]
    return version, server, client


def _need_vectors(database: Database, location: str) -> None:
    version = database.find_vectors()
    if version is None:
        try:
            database.run(Job(_extending))
        except StoreError as error:
            raise ConfigurationError(
                f"{location} lacks the extension pgvector, and it could not be added ({error}). "
                "Install pgvector on the server, and let an administrator of the database run: "
                "CREATE EXTENSION vector"
            ) from error
        version = database.find_vectors() or "0"
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_VECTOR:
        raise ConfigurationError(
            f"{location} has pgvector {version}; 0.7 or later is needed. Upgrade it, then run: "
            "ALTER EXTENSION vector UPDATE"
        )


def _extending() -> Work[None]:
    yield _LOCK
    found: Rows = yield Statement("SELECT current_schema()")
    where = "" if found[0][0] else " SCHEMA public"  # the search path may lead nowhere
    yield Statement(f"CREATE EXTENSION IF NOT EXISTS vector{where}")


def _taken(schema: str) -> Work[int | None]:
    """Return the number of the last step; None without any table."""
    there: Rows = yield Statement(
        "SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = 'schema_steps'",
        [schema],
    )
    if not there:
        return None
    found: Rows = yield Statement(
        "SELECT coalesce(max(step), 0) FROM langchain_kronvex.schema_steps"
    )
    return int(found[0][0])


def _making(schema: str) -> Work[None]:
    yield _LOCK
    there: Rows = yield Statement("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema])
    if not there:
        yield Statement("CREATE SCHEMA IF NOT EXISTS langchain_kronvex")
    yield Statement(_MADE)


def _step(number: int, script: str) -> Work[None]:
    yield _LOCK
    found: Rows = yield Statement(
        "SELECT 1 FROM langchain_kronvex.schema_steps WHERE step = %s", [number]
    )
    if found:
        return  # another worker was first
    for statement in _statements(script):
        yield Statement(statement)
    yield Statement("INSERT INTO langchain_kronvex.schema_steps (step) VALUES (%s)", [number])


class _Guards(NamedTuple):
    """Whether row-level security is on; what is missing, and what others would have to mend."""

    is_limited: bool
    lacks: bool
    leaking: list[str]


_ASK_GUARDS = Statement(
    "SELECT (SELECT relrowsecurity FROM pg_class "
    "WHERE oid = 'langchain_kronvex.records'::regclass), coalesce(bool_or(is_own), false), "
    "coalesce(array_agg(part::text) FILTER (WHERE is_open AND NOT is_own AND has_table_privilege("
    "part, 'SELECT, INSERT, UPDATE, DELETE')), '{}') FROM langchain_kronvex.unguarded()"
)


def _securing(wanted: bool) -> Work[_Guards]:
    found: Rows = yield _ASK_GUARDS
    guards = _Guards(*found[0])
    if (guards.is_limited or not wanted) and not guards.lacks:
        return guards
    yield _LOCK
    if wanted:
        yield Statement("ALTER TABLE langchain_kronvex.records ENABLE ROW LEVEL SECURITY")
    yield Statement("SELECT langchain_kronvex.guard_tables()")
    found = yield _ASK_GUARDS
    return _Guards(*found[0])


def _steps() -> list[str]:
    folder = files("langchain_kronvex.storage.postgres").joinpath("schema")
    names = sorted(f.name for f in folder.iterdir() if f.name[:3].isdigit())
    return [_read(name) for name in names]


def _read(name: str) -> str:
    folder = files("langchain_kronvex.storage.postgres").joinpath("schema")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _statements(script: str) -> Iterator[str]:
    """Split a script at the semicolons that end a line, but for those within a function's body."""
    lines: list[str] = []
    in_body = False
    for line in script.splitlines():
        if line.startswith("--"):
            continue
        lines.append(line)
        in_body ^= "$body$" in line
        if line.endswith(";") and not in_body:
            yield "\n".join(lines).strip(" ;\n").replace("%", "%%")
            lines.clear()
