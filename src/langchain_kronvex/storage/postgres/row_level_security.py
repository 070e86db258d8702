"""Row-level security: the database itself refuses rows of other users, once it was asked to."""

from __future__ import annotations

from typing import NamedTuple

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.postgres.database import Database, Transaction
from langchain_kronvex.storage.postgres.migrations import LOCK

_GUARDS = (
    "SELECT (SELECT relrowsecurity FROM pg_class "
    "WHERE oid = 'langchain_kronvex.records'::regclass), coalesce(bool_or(is_own), false), "
    "coalesce(array_agg(part::text) FILTER (WHERE is_open AND NOT is_own AND has_table_privilege("
    "part, 'SELECT, INSERT, UPDATE, DELETE')), '{}') FROM langchain_kronvex.unguarded()"
)


class _Guards(NamedTuple):
    """Whether security is on, whether tables of the role lack something, and those of others."""

    is_limited: bool
    lacks: bool
    leaking: list[str]


def secure(database: Database, *, wanted: bool) -> bool:
    """Turn row-level security on if it is wanted; return whether it is on.

    New partitions get their policies, and none of the tables keeps statistics of users' columns.

    Raises:
        ConfigurationError: it is wanted, and would not hold for the role, or not everywhere.
    """
    if wanted and database.run(_is_exempt):
        raise ConfigurationError(
            f"{database.location}: row_level_security does not hold for this role, which is a "
            "superuser or has BYPASSRLS. Connect as a role without these; it may own the tables."
        )
    guards = database.run(lambda tx: _guard(tx, wanted=wanted))
    if wanted and guards.leaking:
        raise ConfigurationError(
            f"{database.location}: row-level security does not hold on "
            f"{', '.join(guards.leaking)}, which the role may use but does not own. Let the owner "
            "run: SELECT langchain_kronvex.guard_tables()"
        )
    return guards.is_limited


def _is_exempt(tx: Transaction) -> bool:
    found = tx.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    return bool(found[0][0])


def _guard(tx: Transaction, *, wanted: bool) -> _Guards:
    guards = _Guards(*tx.execute(_GUARDS)[0])
    if (guards.is_limited or not wanted) and not guards.lacks:
        return guards
    tx.execute_all([LOCK])
    if wanted:
        tx.execute("ALTER TABLE langchain_kronvex.records ENABLE ROW LEVEL SECURITY")
    tx.execute("SELECT langchain_kronvex.guard_tables()")
    return _Guards(*tx.execute(_GUARDS)[0])
