"""How records leave PostgreSQL: erased for good, or expired. Owners are locked in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from langchain_kronvex.storage.backend import Selection
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.statements import Rows, Statement, Work

NEW_GENERATION = (
    "UPDATE langchain_kronvex.scopes SET generation = nextval('langchain_kronvex.generations') "
    "WHERE scope = ANY(%s)"
)

_HANGING = ("accesses", "upcoming_vectors", "claims")  # tables whose rows are about records
_SWEEP = (
    "DELETE FROM langchain_kronvex.{table} AS h WHERE h.scope = ANY(%s) AND NOT EXISTS "
    "(SELECT 1 FROM langchain_kronvex.records AS r WHERE r.scope = h.scope AND r.seq = h.seq)"
)
_LEAVE = (
    "DELETE FROM langchain_kronvex.scopes AS s WHERE s.scope = ANY(%s) AND NOT EXISTS "
    "(SELECT 1 FROM langchain_kronvex.records AS r WHERE r.scope = s.scope)"
)

_LEAVE_PLACE = (
    "UPDATE langchain_kronvex.records AS r SET content = '', search_text = NULL, "
    "metadata = '{{}}', vector = NULL, type = '', key = r.id, "
    "key_digest = decode(md5(r.id), 'hex'), expires = to_timestamp(0), pinned = false, "
    "revision = (SELECT s.revision FROM langchain_kronvex.scopes AS s WHERE s.scope = r.scope) "
    "WHERE {chosen}"
)


def delete_rows(condition: str) -> str:
    """Return the statement that deletes records `r`, with what hangs on them.

    Returns a row for each, with its scope and number.
    """
    hanging = ", ".join(
        f"{table}_gone AS (DELETE FROM langchain_kronvex.{table} AS h USING gone "
        "WHERE h.scope = gone.scope AND h.seq = gone.seq)"
        for table in _HANGING
    )
    return (
        f"WITH gone AS (DELETE FROM langchain_kronvex.records AS r WHERE {condition} "
        f"RETURNING r.scope, r.seq, r.pinned, r.expires), {hanging} "
    )


def locking(scopes: Sequence[UUID]) -> Work[list[UUID]]:
    """Lock owners, in the order in which all do; return those that exist.

    The others must be left alone: somebody may be making them now.
    """
    locked: Rows = yield Statement(f"{_OWNERS} FOR UPDATE", [list(scopes)])
    return [scope for (scope,) in locked]


def keeping(scopes: Sequence[UUID]) -> Work[None]:
    """See to it that nothing of these owners is erased until the transaction ends.

    What is written about a record without its owner's lock could outlive the record otherwise.
    """
    yield Statement(f"{_OWNERS} FOR KEY SHARE", [list(scopes)])


_OWNERS = "SELECT scope FROM langchain_kronvex.scopes WHERE scope = ANY(%s) ORDER BY scope"


class Erased(NamedTuple):
    """How many visible records, and whose."""

    visible: int
    owners: list[str]


def erasing(agent_id: str, selection: Selection, now: datetime) -> Work[Erased]:
    """Delete the selected records for good."""
    condition, parameters = rows.where(selection, agent_id)
    scopes = yield from locking((yield from _touched(agent_id, selection)))
    condition, parameters = f"{condition} AND r.scope = ANY(%s)", [*parameters, scopes]
    gone: Rows = yield Statement(
        f"{delete_rows(condition)} SELECT count(*) FROM gone AS r WHERE {rows.VISIBLE}",
        [*parameters, now],
    )
    owners: Rows = yield Statement(
        "UPDATE langchain_kronvex.scopes SET generation = nextval('langchain_kronvex.generations') "
        "WHERE scope = ANY(%s) RETURNING owner",
        [scopes],
    )
    yield [
        # Again, with new eyes: a claim may have come while the deletion waited for who claimed.
        *(Statement(_SWEEP.format(table=table), [scopes]) for table in _HANGING),
        Statement(_LEAVE, [scopes]),
    ]
    return Erased(int(gone[0][0]), [owner for (owner,) in owners])


def emptying(agent_id: str, deleted: Sequence[Selection]) -> list[Statement]:
    """Return what leaves of the selected records their places alone, as of replaced ones.

    Their owners are locked, with a new revision, so that indexes in RAM learn of it.
    """
    chosen = [rows.where(selection, agent_id) for selection in deleted]
    return [
        Statement(_LEAVE_PLACE.format(chosen=condition), values) for condition, values in chosen
    ]


def vacating(scopes: Sequence[UUID], now: datetime) -> Work[None]:
    """Forget which of these owners have nothing left, and the places of what they had."""
    if not scopes:
        return
    found: Rows = yield Statement(
        "SELECT w.scope FROM unnest(%s::uuid[]) AS w (scope) WHERE NOT EXISTS (SELECT 1 FROM "
        f"langchain_kronvex.records AS r WHERE r.scope = w.scope AND {rows.VISIBLE})",
        [list(scopes), now],
    )
    vacant = [scope for (scope,) in found]
    if vacant:
        yield [
            Statement(f"{delete_rows('r.scope = ANY(%s)')} SELECT count(*) FROM gone", [vacant]),
            *(Statement(_SWEEP.format(table=table), [vacant]) for table in _HANGING),
            Statement(_LEAVE, [vacant]),
        ]


def _touched(agent_id: str, selection: Selection) -> Work[list[UUID]]:
    """Return the owners of what is selected; named ones also when they have nothing."""
    named = rows.scopes_of(selection, agent_id)
    if named is not None:
        return list(named)
    if selection.is_everything:
        found: Rows = yield Statement(
            "SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s", [agent_id]
        )
    else:
        condition, parameters = rows.where(selection, agent_id)
        found = yield Statement(
            f"SELECT DISTINCT r.scope FROM langchain_kronvex.records AS r WHERE {condition}",
            parameters,
        )
    return [scope for (scope,) in found]


def purging(now: datetime, scope: UUID | None = None) -> Work[int]:
    """Remove what has expired, of everybody or of one owner; return how many."""
    expired = "r.expires IS NOT NULL AND NOT r.pinned AND r.expires <= %s"
    parameters: list[Any] = [now]
    if scope is not None:
        expired += " AND r.scope = %s"
        parameters.append(scope)
    owners: Rows = yield Statement(
        f"SELECT DISTINCT r.scope FROM langchain_kronvex.records AS r WHERE {expired}", parameters
    )
    if not owners:
        return 0
    scopes = yield from locking([owner for (owner,) in owners])
    removed: Rows = yield Statement(
        f"{delete_rows(f'{expired} AND r.scope = ANY(%s)')} SELECT count(*) FROM gone",
        [*parameters, scopes],
    )
    yield Statement(NEW_GENERATION, [scopes])
    yield Statement(_LEAVE, [scopes])
    return int(removed[0][0])
