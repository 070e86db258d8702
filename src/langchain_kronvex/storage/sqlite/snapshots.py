"""Snapshots of indexes as files in a folder beside the store; the store decides which are valid.

1. A row with a new random name is stored, and an empty file made, while the store is locked and has
   the generation of the index.
2. The file is written, without any lock.
3. The row is marked as ready, if it is still there.

Whoever erases something of the owner deletes its rows, and with them the files, before the erasure
is committed (`tie`). So at no time is there a file with words that the store
has not. What a killed process leaves behind is not ready, and removed at the next opening.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.errors import StoreError
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.snapshot import Snapshot
from langchain_kronvex.storage.indexes import State
from langchain_kronvex.storage.snapshots import is_recent, opened
from langchain_kronvex.storage.sqlite.file import AgentConnection, SqliteFile

_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'snapshots'"
_COUNTS = "SELECT memories FROM snapshots WHERE scope = ?"
# What the index holds of a changed memory may be erased by now.
_CHANGED = (
    "SELECT 1 FROM records WHERE scope = ? AND kind = 'memory' AND revision > ? AND seq <= ? "
    "LIMIT 1"
)


def folder_of(path: Path) -> Path:
    """Return the folder of the snapshots of a store, the same for all names of its file."""
    path = path.resolve()  # as SQLite does for its log
    return path.with_name(f"{path.name}-index")


def tie(db: AgentConnection, path: Path) -> None:
    """Delete the file of a snapshot when its row is deleted, before that is committed."""
    folder = folder_of(path)
    names: list[str] = []

    def unlink() -> None:
        for path in [folder / name for name in names if _is_name(name)]:
            if not path.is_dir():  # not a path that leads elsewhere
                path.unlink(missing_ok=True)
        names.clear()

    if db.execute(_HAS_TABLE).fetchone():
        db.doomed, db.unlink = names, unlink
        # No Python code runs in the trigger: SQLite would turn a Ctrl-C there into an error.
        db.create_function("snapshot_deleted", 1, names.append)
        db.execute(
            "CREATE TEMP TRIGGER IF NOT EXISTS snapshots_deleted AFTER DELETE ON main.snapshots "
            "BEGIN SELECT snapshot_deleted(old.name); END"
        )


def save(
    file: SqliteFile,
    folder: Path,
    owner: str,
    state: State,
    made: Snapshot,
    is_unchanged: Callable[[], bool],
    *,
    replaces: bool,
) -> bool | None:
    """Store a snapshot in a folder; see `storage.snapshots.Save`."""
    del owner  # the header has it
    name = secrets.token_hex(16)
    made.header["about"]["name"] = name
    path = folder / name
    reserved = file.in_transaction(lambda db: _reserve(db, path, state, made, replaces=replaces))
    if not reserved:
        return None if reserved is None else True
    is_stored = is_ready = False
    try:
        _write(path, made)
        is_stored = is_unchanged()
        is_ready = is_stored and file.in_transaction(lambda db: _publish(db, name, state))
    finally:
        if not is_ready:
            drop = "DELETE FROM snapshots WHERE name = ?"
            file.in_transaction(lambda db: db.execute(drop, (name,)))
    return is_stored


def _reserve(
    db: AgentConnection, path: Path, state: State, made: Snapshot, *, replaces: bool
) -> bool | None:
    """Make an empty file and its row; False if the snapshot is needless, None if outdated."""
    found = db.execute("SELECT generation FROM scopes WHERE scope = ?", (state.scope,)).fetchone()
    others = [] if replaces else db.execute(_COUNTS, (state.scope,)).fetchall()
    facts = made.header["facts"]
    changed = db.execute(_CHANGED, (state.scope, state.revision, facts["last"])).fetchone()
    if found != (state.generation,) or changed:
        return None
    if any(is_recent(count, made) for (count,) in others):
        return False
    path.parent.mkdir(mode=0o700, exist_ok=True)
    row = (path.name, state.scope, facts["rows"][0])
    db.execute("INSERT INTO snapshots (name, scope, memories) VALUES (?, ?, ?)", row)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return True


def _write(path: Path, made: Snapshot) -> None:
    with path.open("r+b") as stream:  # not made anew if it was deleted meanwhile
        stream.writelines(made.blocks())


def _publish(db: AgentConnection, name: str, state: State) -> bool:
    """Mark a snapshot as ready, in the place of older ones; False if it was dropped meanwhile."""
    if not db.execute("UPDATE snapshots SET ready = 1 WHERE name = ?", (name,)).rowcount:
        return False
    db.execute("DELETE FROM snapshots WHERE scope = ? AND name <> ?", (state.scope, name))
    return True


def load(file: SqliteFile, name: str, owner: str, state: State) -> tuple[State, ScopeIndex] | None:
    """Return the state and the index of a snapshot; None if it cannot be used."""
    if file.path is None:
        return None
    try:
        block = _mapped(folder_of(file.path) / name)
    except (OSError, ValueError):
        return None
    return opened(block, file.agent_id, owner, state, name)


def _mapped(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a file; what is written to them stays in this process."""
    if os.name != "posix":  # where a file that is in use could not be deleted
        return np.fromfile(path, np.uint8)
    import mmap  # few processes need it

    with path.open("rb") as stream:
        return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)


def tidy(file: SqliteFile) -> None:
    """Remove what killed processes left behind, and files of another store."""
    folder = file.path and folder_of(file.path)
    if folder is None or file.is_read_only or not folder.is_dir():
        return

    def remove(db: AgentConnection) -> None:
        db.execute("DELETE FROM snapshots WHERE NOT ready")
        names = {name for (name,) in db.execute("SELECT name FROM snapshots").fetchall()}
        for path in folder.iterdir():
            if path.name not in names and _is_name(path.name) and path.is_file():
                path.unlink(missing_ok=True)

    with suppress(StoreError):
        file.in_transaction(remove)


def _is_name(name: str) -> bool:
    return len(name) == 32 and set(name) <= set("0123456789abcdef")
