"""Looking into a file that SQLite may have open in this process.

When a process closes any descriptor of a file, POSIX removes all its locks on that file
(fcntl(2)), including those of SQLite (https://www.sqlite.org/howtocorrupt.html, section 2.2).
Another process then considers a store abandoned and deletes the log of the latest writes. So only
SQLite may look into the file: it keeps its descriptor as long as it holds a lock.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def application_id(path: Path) -> int | None:
    """Return the application id of a SQLite database; None for any other file. Changes nothing.

    Raises:
        sqlite3.DatabaseError: the file cannot be read, or the database is damaged.
    """
    # Immutable: SQLite takes no lock, and leaves the log of another program alone.
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        try:
            pages, found = connection.execute(
                "SELECT page_count, application_id FROM pragma_page_count, pragma_application_id"
            ).fetchone()
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                return None
            raise
    return int(found) if pages else None
