"""What can be known of the file of a SQLite store; nothing is changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from langchain_kronvex.core.config.urls import sqlite_path
from langchain_kronvex.core.errors import KronvexError, printable
from langchain_kronvex.core.sqlite_files import HAS_MODES, uri_to_read

_PROBE_SECONDS = 0.5
_MOST_CHECKED_BYTES = 1 << 29  # of a larger file, a check takes minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """A store file.

    Attributes:
        path: Its absolute path.
        is_relative: Whether the URL names it relative to the working directory.
        exists: Whether it is there.
        size_bytes: Its size.
        log_bytes: The size of its write-ahead log.
        mode: Its permissions, such as 0o600.
        free_bytes: Room on the disk; None if unknown.
        file_system: The kind of file system, "" if unknown.
        journal: How SQLite keeps the log; None unless it was opened.
        unwritable: Why it cannot be written; None if it can be, or was not tried.
        damage: What SQLite found wrong in it.
        holders: Processes that have it open, as `pid (name)`; found out if it is locked.
    """

    path: Path
    is_relative: bool
    exists: bool
    size_bytes: int = 0
    log_bytes: int = 0
    mode: int = 0o600
    free_bytes: int | None = None
    file_system: str = ""
    journal: str | None = None
    unwritable: str | None = None
    damage: str | None = None
    holders: tuple[str, ...] = ()


def file_facts(url: str) -> FileFacts | None:
    """Return the facts about the file of a SQLite URL, without opening it; None if it has none."""
    try:
        path = sqlite_path(url)
    except KronvexError:
        return None
    if path is None:
        return None
    is_absolute = Path(url.removeprefix("sqlite:///")).expanduser().is_absolute()
    facts = FileFacts(path=path, is_relative=not is_absolute, exists=os.path.isfile(path))
    with suppress(OSError):
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
        facts = replace(facts, file_system=file_system_of(path.resolve(), mounts))
    with suppress(OSError):
        folder = next(each for each in path.parents if each.is_dir())
        facts = replace(facts, free_bytes=shutil.disk_usage(folder).free)
    with suppress(OSError):
        log = Path(f"{path}-wal")
        log_bytes, found = log.stat().st_size if log.exists() else 0, path.stat()
        mode = found.st_mode & 0o777 if HAS_MODES else facts.mode
        facts = replace(facts, size_bytes=found.st_size, log_bytes=log_bytes, mode=mode)
    return facts


def with_probe(facts: FileFacts) -> FileFacts:
    """Return the facts with the result of taking the write lock, and of SQLite's own check."""
    path, journal, damage, uri = facts.path, None, None, uri_to_read(facts.path)
    if "mode=ro" in uri:  # then the lock is not even tried
        facts = replace(facts, unwritable="this user has no right to write")
    opened = partial(sqlite3.connect, uri, uri=True, timeout=_PROBE_SECONDS, isolation_level=None)
    try:
        with closing(opened()) as connection:
            journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if facts.size_bytes <= _MOST_CHECKED_BYTES:
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                damage = None if found == "ok" else printable(found)
            connection.execute("BEGIN IMMEDIATE")  # takes the lock, and writes nothing
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        facts = replace(facts, holders=_holders(path), unwritable=str(error))
    except sqlite3.DatabaseError as error:
        damage = str(error)
    return replace(facts, journal=journal, damage=damage)


def file_system_of(path: Path, mounts: str) -> str:
    """Return the kind of file system that holds a path, from the text of /proc/mounts."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found, *_ = [*line.split(" "), "", "", ""]
        point = point.replace("\\040", " ")
        if point and path.is_relative_to(point) and len(point) >= longest:
            kind, longest = found, len(point)
    return kind


def _holders(path: Path) -> tuple[str, ...]:
    """Return the processes that have a file open, where /proc shows them."""
    found, real = [], os.path.realpath(path)
    with suppress(OSError):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if int(pid) != os.getpid() and real in _opened_by(pid):
                name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
                found.append(f"{pid} ({name.strip()})")
    return tuple(found)


def _opened_by(pid: str) -> set[str]:
    opened = set[str]()
    with suppress(OSError):  # of another user, or it has ended
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                opened.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return opened
