"""The files that this process holds as stores: nothing else in it may open and close them.

When a process closes any descriptor of a file, POSIX takes away all its locks on that file
(fcntl(2)), SQLite's with them (https://www.sqlite.org/howtocorrupt.html, section 2.2). Another
process then takes the store for abandoned and deletes the log of what was written last.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from langchain_kronvex.core.fork_safety import ForkAware

_Identity = tuple[int, int]  # device and number of a file, whatever its names


class HeldFiles(ForkAware):
    """Who holds which files; safe for threads and forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[_Identity, weakref.WeakSet[object]] = {}
        self.watch_forks()

    def hold(self, path: Path, holder: object, prepare: Callable[[], None]) -> None:
        """Note that a holder opens a file.

        Args:
            path: The file; `prepare` makes it when it does not exist.
            holder: As long as it lives, or until it lets go, the file counts as held.
            prepare: Done before, unless somebody holds the file already: only then may it open
                and close the file.
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
        """Tell whether somebody in this process holds a file."""
        with self._lock:
            identity = _identity(path)
            return identity is not None and bool(self._holders.get(identity))

    def before_fork(self) -> None:
        """Wait until no other thread is at it."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Let the others go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start with a lock that nobody holds."""
        self._lock = threading.Lock()


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


HELD = HeldFiles()
