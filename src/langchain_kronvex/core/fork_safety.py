"""What must not be shared with a forked child: locks, threads, database connections.

Web servers open a memory and then fork their workers. A child inherits locks that another thread
held and SQLite's notes on the parent's file locks, and would hang on the ones and lose writes by
the others (https://www.sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
import threading
import weakref


class ForkAware:
    """Told before and after a fork of the process, from `watch_forks` on."""

    def watch_forks(self) -> None:
        """Start being told."""
        _aware.add(self)

    def before_fork(self) -> None:
        """Come to rest; in the forking thread."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Start anew: the only thread is the one that forked."""


_aware: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_resting: list[ForkAware] = []
_one_fork_at_a_time = threading.Lock()


def _before() -> None:
    _one_fork_at_a_time.acquire()
    _resting.extend(_aware)
    for each in _resting:
        each.before_fork()


def _after_in_parent() -> None:
    while _resting:
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
