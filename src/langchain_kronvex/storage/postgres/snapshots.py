"""Snapshots of indexes in a table of PostgreSQL, in parts."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import numpy as np

from langchain_kronvex.core.records import Scope
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.snapshot import BLOCK_BYTES, Snapshot
from langchain_kronvex.storage.indexes import CachedIndex, State
from langchain_kronvex.storage.postgres.database import Database, Transaction
from langchain_kronvex.storage.snapshots import is_recent, opened

_COUNTS = (
    "SELECT memories FROM langchain_kronvex.snapshots "
    "WHERE scope = %s AND generation = %s AND part = 1"
)
_INSERT = (
    "INSERT INTO langchain_kronvex.snapshots (scope, name, part, generation, memories, bytes) "
    "VALUES (%s, %s, %s, %s, %s, %s)"
)
_LOCK = "SELECT generation FROM langchain_kronvex.scopes WHERE scope = %s FOR NO KEY UPDATE"
# What the index holds of a changed memory may be erased by now.
_CHANGED = (
    "SELECT 1 FROM langchain_kronvex.records "
    "WHERE scope = %s AND kind = 'memory' AND revision > %s AND seq <= %s LIMIT 1"
)
_FILL = (
    "UPDATE langchain_kronvex.snapshots SET bytes = %s "
    "WHERE scope = %s AND name = %s AND part = 0 RETURNING part"
)
_DROP = "DELETE FROM langchain_kronvex.snapshots WHERE scope = %s AND name = %s"
_DROP_OTHERS = "DELETE FROM langchain_kronvex.snapshots WHERE scope = %s AND name <> %s"
_LAST = (
    "SELECT name, part, length(bytes) FROM langchain_kronvex.snapshots WHERE scope = %s "
    "AND generation = %s AND part > 0 ORDER BY part DESC LIMIT 1"
)
_PARTS_AT_ONCE = 8
_PARTS = (
    "SELECT bytes FROM langchain_kronvex.snapshots WHERE scope = %s AND name = %s "
    "AND part >= %s AND part < %s ORDER BY part"
)
# What workers of an earlier version left.
_OUTDATED = (
    "DELETE FROM langchain_kronvex.snapshots AS n WHERE NOT EXISTS (SELECT 1 FROM "
    "langchain_kronvex.scopes AS s WHERE s.scope = n.scope AND s.generation = n.generation)"
)


class _NotStoredError(Exception):
    """Nothing is to be stored, and `result` is to be returned."""

    def __init__(self, *, result: bool | None) -> None:
        self.result = result


def save(
    database: Database,
    owner: str,
    state: State,
    made: Snapshot,
    is_unchanged: Callable[[], bool],
    *,
    replaces: bool,
) -> bool | None:
    """Store a snapshot; see `storage.snapshots.Save`.

    The first part is stored before, without bytes: whoever takes words out deletes it. Then all
    others are rolled back. The owner is locked only at the beginning and at the end.
    """
    reach, name = database.reach_of([Scope(owner or None)]), uuid.uuid4()
    is_stored = False
    try:
        database.run(lambda tx: _announce(tx, tx.scope(owner), name, state, made, replaces), reach)
        try:
            database.run(
                lambda tx: _store(tx, tx.scope(owner), name, state, made, is_unchanged), reach
            )
            is_stored = True
        finally:
            if not is_stored:
                database.run(lambda tx: tx.execute(_DROP, [tx.scope(owner), name]), reach)
    except _NotStoredError as reason:
        return reason.result
    return True


def _announce(
    tx: Transaction, scope: uuid.UUID, name: uuid.UUID, state: State, made: Snapshot, replaces: bool
) -> None:
    facts = made.header["facts"]
    changed = [scope, state.revision, facts["last"]]
    if tx.column(_LOCK, [scope]) != [state.generation] or tx.execute(_CHANGED, changed):
        raise _NotStoredError(result=None)
    there = [] if replaces else tx.column(_COUNTS, [scope, state.generation])
    if any(is_recent(count, made) for count in there):
        raise _NotStoredError(result=True)
    tx.execute(_INSERT, [scope, name, 0, state.generation, facts["rows"][0], b""])


def _store(
    tx: Transaction,
    scope: uuid.UUID,
    name: uuid.UUID,
    state: State,
    made: Snapshot,
    is_unchanged: Callable[[], bool],
) -> None:
    memories, blocks = made.header["facts"]["rows"][0], made.blocks()
    first = next(blocks)
    for part, block in enumerate(blocks, 1):
        tx.execute(_INSERT, [scope, name, part, state.generation, memories, block])
    if not is_unchanged():
        raise _NotStoredError(result=False)
    is_current = tx.column(_LOCK, [scope]) == [state.generation]
    if not is_current or not tx.execute(_FILL, [first, scope, name]):
        raise _NotStoredError(result=None)
    tx.execute(_DROP_OTHERS, [scope, name])


def begin(database: Database, entry: CachedIndex, owner: str, state: State) -> bool:
    """Begin an index anew, from a snapshot if there is one that can be used; return whether."""
    reach = database.reach_of([Scope(owner or None)])
    block = database.run(lambda tx: _read(tx, tx.scope(owner), state), reach)
    found = None
    if block is not None:
        found = opened(np.frombuffer(block, np.uint8), database.agent_id, owner, state)
    with entry.lock:
        entry.replaces = block is not None and found is None
        entry.begin(*(found or (State(0, state.generation), ScopeIndex())))
    return found is not None


def _read(tx: Transaction, scope: uuid.UUID, state: State) -> bytearray | None:
    """Return the bytes of a snapshot; None if there is none.

    Each part is copied once, to its place. Of one with missing parts, it returns the others.
    """
    last = tx.execute(_LAST, [scope, state.generation])
    if not last:
        return None
    name, parts, last_size = last[0]
    block, end = bytearray(BLOCK_BYTES * parts + last_size), 0
    for part in range(0, parts + 1, _PARTS_AT_ONCE):
        for found in tx.column(_PARTS, [scope, name, part, part + _PARTS_AT_ONCE]):
            block[end : end + len(found)] = found
            end += len(found)
    del block[end:]
    return block


def tidy(database: Database) -> None:
    """Delete the snapshots that workers of an earlier version should have deleted."""
    database.run(lambda tx: tx.execute(_OUTDATED))
