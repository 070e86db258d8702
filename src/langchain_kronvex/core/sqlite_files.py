"""The files of SQLite stores: made for their owner alone, and looked into with care.

When a process closes any descriptor of a file, POSIX removes all its locks on that file
(fcntl(2)), including those of SQLite (https://www.sqlite.org/howtocorrupt.html, section 2.2).
Another process then considers a store abandoned and deletes the log of the latest writes. So only
SQLite may look into the file: it keeps its descriptor as long as it holds a lock.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

from langchain_kronvex.core.errors import ConfigurationError, NotAStore, StoreUnavailable

logger = logging.getLogger("langchain_kronvex")
# Elsewhere, as on Windows, access lists say who may open a file, and its mode says nothing.
HAS_MODES = hasattr(os, "getuid")
Identity = tuple[int, int]  # device and inode of a file, the same for all its names


def application_id(path: Path) -> int | None:
    """Return the application id of a SQLite database; None for any other file. Changes nothing.

    Raises:
        sqlite3.DatabaseError: the file cannot be read, or the database is damaged.
    """
    # Immutable: SQLite takes no lock, and leaves the log of another program alone. So it may see
    # another process in the middle of copying the log into the file, the first page before the
    # ones that it counts. Only the header is read, and only with this setting is it not checked
    # against the size of the file.
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        try:
            connection.execute("PRAGMA writable_schema = ON")
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            (pages,) = (1,) if found else connection.execute("PRAGMA page_count").fetchone()
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                return None
            raise
    return int(found) if pages else None


def prepare(path: Path, our_id: int) -> Identity:
    """Create a store and missing folders for this user alone; reject a file that is not ours.

    SQLite must not open such a file for writing.

    Args:
        path: The file.
        our_id: The application id of our files.

    Raises:
        ConfigurationError: no file can have this path.
        StoreUnavailable: it is a folder, a pipe or a device.
        NotAStore: it belongs to another program.
    """
    try:
        path = path.resolve()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # the log and its index get the mode of the file
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except ValueError as error:
        raise ConfigurationError(
            "The path of the store is not one that a file can have."
        ) from error
    identity = existing(path, our_id)
    _keep_private(path, path.stat().st_mode)
    return identity


def existing(path: Path, our_id: int) -> Identity:
    """Check that a file can be a store, and change nothing.

    Raises:
        StoreUnavailable: it is a folder, a pipe or a device.
        NotAStore: it belongs to another program.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable(f"{path} is not a file. Check that the path is the one you meant.")
    if found.st_size and application_id(path) != our_id:
        raise NotAStore(
            f"{path} belongs to another program: it is not an SQLite database of this package. "
            f"Choose another path; the file was left as it is."
        )
    return found.st_dev, found.st_ino


def uri_to_read(path: Path) -> str:
    """Return the URI that opens a database to read it, and leaves no file behind.

    A connection that may write removes the log that it had to make. Where it may not write, a
    database without a log is read as one that nobody changes.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return f"{path.as_uri()}?mode=rw"
    has_log = Path(f"{path}-wal").exists()
    return f"{path.as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"


def _keep_private(path: Path, mode: int) -> None:
    """Take the rights of other users away, and say so."""
    if not HAS_MODES or not mode & 0o077:
        return
    try:
        for side in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{path}{side}").chmod(0o600)
        is_private = not path.stat().st_mode & 0o077  # some file systems keep no modes
    except PermissionError:
        is_private = False
    if is_private:
        logger.warning("%s was open to other users of this machine; it is now private (0600)", path)
    else:
        logger.warning(
            "%s is open to other users of this machine; only its owner can mend it, and only on a "
            "file system with permissions",
            path,
        )
