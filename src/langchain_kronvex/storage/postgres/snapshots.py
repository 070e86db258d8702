"""Snapshots of indexes in a table of PostgreSQL, in parts."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import numpy as np

from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.snapshot import BLOCK_BYTES, Snapshot
from langchain_kronvex.storage.indexes import CachedIndex, State
from langchain_kronvex.storage.postgres.database import Database, Transaction
from langchain_kronvex.storage.snapshots import is_recent, opened

_COUNTS = "SELECT memories FROM langchain_kronvex.snapshots WHERE scope = %s AND generation = %s"
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
_DROP_OTHERS = "DELETE FROM langchain_kronvex.snapshots WHERE scope = %s AND name <> %s"
_LAST = (
    "SELECT name, part, length(bytes) FROM langchain_kronvex.snapshots WHERE scope = %s "
    "AND generation = %s ORDER BY part DESC LIMIT 1"
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
    """Nothing is to be stored; `is_changed` because the index has changed."""

    def __init__(self, *, is_changed: bool) -> None:
        self.is_changed = is_changed


def save(
    database: Database,
    owner: str,
    state: State,
    made: Snapshot,
    is_unchanged: Callable[[], bool],
    *,
    replaces: bool,
) -> bool:
    """Store a snapshot; see `storage.snapshots.Save`.

    The owner is locked only at the end. If a memory was changed or erased meanwhile, everything is
    rolled back.
    """
    reach = database.reach_of([Scope(owner or None)])

    def work(tx: Transaction) -> None:
        there = [] if replaces else tx.column(_COUNTS, [tx.scope(owner), state.generation])
        if any(is_recent(count, made) for count in there):
            raise _NotStoredError(is_changed=False)
        _store(tx, tx.scope(owner), state, made, is_unchanged)

    try:
        database.run(work, reach)
    except _NotStoredError as reason:
        return not reason.is_changed
    return True


def _store(
    tx: Transaction,
    scope: uuid.UUID,
    state: State,
    made: Snapshot,
    is_unchanged: Callable[[], bool],
) -> None:
    facts, name = made.header["facts"], uuid.uuid4()
    changed = [scope, state.revision, facts["last"]]
    if tx.execute(_CHANGED, changed):
        raise _NotStoredError(is_changed=True)
    for part, block in enumerate(made.blocks()):
        tx.execute(_INSERT, [scope, name, part, state.generation, facts["rows"][0], block])
    if not is_unchanged():
        raise _NotStoredError(is_changed=True)
    if tx.column(_LOCK, [scope]) != [state.generation]:
        raise _NotStoredError(is_changed=False)
    if tx.execute(_CHANGED, changed):
        raise _NotStoredError(is_changed=True)
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
