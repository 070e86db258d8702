"""Row-level security: the database itself refuses rows of other users, once it is turned on."""

from __future__ import annotations

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.postgres.database import Database, Transaction
from langchain_kronvex.storage.postgres.migrations import LOCK

_EXEMPT = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
# Whether security is on, whether tables of this role lack something, and those of other roles that
# lack policies.
_GUARDS = (
    "SELECT (SELECT relrowsecurity FROM pg_class "
    "WHERE oid = 'langchain_kronvex.records'::regclass), coalesce(bool_or(is_own), false), "
    "coalesce(array_agg(part::text) FILTER (WHERE is_open AND NOT is_own AND has_table_privilege("
    "part, 'SELECT, INSERT, UPDATE, DELETE')), '{}') FROM langchain_kronvex.unguarded()"
)


def secure(database: Database, *, wanted: bool) -> bool:
    """Turn row-level security on if it is wanted; return whether it is on.

    New partitions get their policies, and none of the tables keeps statistics of users' columns.

    Raises:
        ConfigurationError: it is wanted, and would not hold for the role, or not everywhere.
    """
    if wanted and database.read(_EXEMPT)[0][0]:
        raise ConfigurationError(
            f"{database.location}: row_level_security does not hold for this role, which is a "
            "superuser or has BYPASSRLS. Connect as a role without these; it may own the tables."
        )
    is_limited, leaking = database.run(lambda tx: _guard(tx, wanted=wanted))
    if wanted and leaking:
        raise ConfigurationError(
            f"{database.location}: row-level security does not hold on {', '.join(leaking)}, "
            "which the role may use but does not own. Let the owner run: "
            "SELECT langchain_kronvex.guard_tables()"
        )
    return is_limited


def _guard(tx: Transaction, *, wanted: bool) -> tuple[bool, list[str]]:
    """Add missing policies; return whether security is on, and the tables that still lack them."""
    ((is_limited, lacks, leaking),) = tx.execute(_GUARDS)
    if lacks or (wanted and not is_limited):
        tx.execute_all([LOCK])
        if wanted:
            tx.execute("ALTER TABLE langchain_kronvex.records ENABLE ROW LEVEL SECURITY")
        tx.execute("SELECT langchain_kronvex.guard_tables()")
        ((is_limited, _, leaking),) = tx.execute(_GUARDS)
    return is_limited, leaking
