"""The store files that this process has open; nothing else in it may open and close them.

When a process closes any descriptor of a file, POSIX removes all its locks on that file
(fcntl(2)), including those of SQLite (https://www.sqlite.org/howtocorrupt.html, section 2.2).
Another process then considers the store abandoned and deletes the log of the latest writes.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from langchain_kronvex.core.fork_safety import ForkAware

_Identity = tuple[int, int]  # device and inode of a file, the same for all its names


class HeldFiles(ForkAware):
    """The holders of each file; safe for threads and forks."""

    def __init__(self) -> None:
        self._holders: dict[_Identity, weakref.WeakSet[object]] = {}
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()

    def hold(self, path: Path, holder: object, prepare: Callable[[], None]) -> None:
        """Note that a holder opens a file.

        Args:
            path: The file; `prepare` creates it if it does not exist.
            holder: The file counts as held until this object is gone, or passed to `let_go`.
            prepare: Called first, unless the file is held already: only then may it open and close
                the file.
        """
        with self._lock:
            identity = _identity(path)
            if identity is None or not self._holders.get(identity):
                prepare()
                identity = _identity(path)
            if identity is not None:
                self._holders.setdefault(identity, weakref.WeakSet()).add(holder)

    def let_go(self, holder: object) -> None:
        """Note that a holder has closed its file."""
        with self._lock:
            for identity, holders in list(self._holders.items()):
                holders.discard(holder)
                if not holders:
                    del self._holders[identity]

    def holds(self, path: Path) -> bool:
        """Return whether this process has a file open as a store."""
        with self._lock:
            identity = _identity(path)
            return identity is not None and bool(self._holders.get(identity))


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


HELD = HeldFiles()
