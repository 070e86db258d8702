"""Forks of the process: locks, threads and database connections must not pass to the child.

Some web servers open a memory and then fork their workers. The child inherits locks that another
thread held, and would hang on them. It also inherits SQLite's notes on the parent's file locks, and
would lose writes (https://www.sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress


class ForkAware:
    """Base of objects that prepare for a fork of the process, once they call `watch_forks`."""

    def watch_forks(self) -> None:
        """Register this object, so that the other methods are called at every fork."""
        _aware.add(self)

    def before_fork(self) -> None:
        """Finish the work of other threads; called in the thread that forks."""

    def after_fork_in_parent(self) -> None:
        """Let other threads go on."""

    def after_fork_in_child(self) -> None:
        """Reset everything that other threads used: only the forking thread exists here."""


_aware: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_resting: list[ForkAware] = []
_one_fork_at_a_time = threading.Lock()


def _before() -> None:
    _one_fork_at_a_time.acquire()
    for each in list(_aware):
        _resting.append(each)  # first: if a signal ends this, it is let go as far as it was held
        each.before_fork()


def _after_in_parent() -> None:
    while _resting:
        with suppress(RuntimeError):  # a lock that was not taken yet
            _resting.pop().after_fork_in_parent()
    _one_fork_at_a_time.release()


def _after_in_child() -> None:
    while _resting:
        _resting.pop().after_fork_in_child()
    _one_fork_at_a_time.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
