"""Work on indexes in the background: snapshots are written, and turns taken in before a recall."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.errors import KronvexError, MemoryClosed
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.snapshot import Snapshot, read
from langchain_kronvex.storage.indexes import CachedIndex, IndexCache, State

logger = logging.getLogger("langchain_kronvex")
_LEAST_MEMORIES = 500  # fewer are read about as fast from their records
_BEHIND = 0.2  # the share of an index that is not in its snapshot, from which on it is renewed
_TRIES = 3  # of writing an index that changes meanwhile
_PAUSE_SECONDS = 60.0  # after a failure
_CLOSING_SECONDS = 10.0
_REST_SECONDS = 0.05  # after a turn, whose answer is on its way to the user
_MOST_RESTING = 2  # turns; where more end within that time, the processor has no time to spare


class Save(Protocol):
    """Stores a snapshot of an owner's index."""

    def __call__(
        self,
        owner: str,
        state: State,
        made: Snapshot,
        is_unchanged: Callable[[], bool],
        *,
        replaces: bool,
    ) -> bool | None:
        """Return False if the index changed while it was written; then nothing is stored.

        Nor is it if memories of the index were changed or erased in the store since; then return
        None: the next recall brings the index up to date. A store with another snapshot that is
        not much older keeps that one, unless this one `replaces` it.
        """


class SnapshotKeeper:
    """Writes snapshots of large indexes, whose owners then need not be read anew.

    What fails costs nothing but time: without a snapshot, the index is made of the records. So
    failures are only logged, for debugging.

    Args:
        agent_id: The agent of the indexes.
        save: Stores a snapshot; None if the store keeps none.
        renew: Brings an owner's index up to date.
        spare: Whether snapshots are to have room for more memories.
    """

    def __init__(
        self, agent_id: str, save: Save | None, renew: Callable[[str, CachedIndex], object],
        *, spare: bool,
    ) -> None:  # fmt: skip
        self._agent_id, self._save, self._spare = agent_id, save, spare
        self._renew = renew
        self._writer = BackgroundWriter(attempts=1)

    def look(self, owner: str, entry: CachedIndex) -> None:
        """Have a snapshot written if the index has grown by enough since the last one."""
        if self._save is not None and _is_due(entry):
            with suppress(MemoryClosed):
                self._writer.submit(owner, partial(self._write, owner, entry), once=True)

    def renew_soon(self, owner: str, cache: IndexCache) -> None:
        """Bring an owner's index up to date so that the next recall need not.

        Only if it is in RAM, and once between two recalls, so that writing much is not slowed
        down. A busy process leaves it to the recall: done apart, it costs a little more in all.
        """
        if self._writer.pending < _MOST_RESTING and cache.in_use(owner):
            job = partial(self._renew_used, owner, cache)
            with suppress(MemoryClosed):
                self._writer.submit((owner,), job, once=True, delay_seconds=_REST_SECONDS)

    def _renew_used(self, owner: str, cache: IndexCache) -> None:
        entry = cache.in_use(owner)
        if entry is None or not len(entry.index):
            return  # it has been dropped since
        entry.is_used = False
        try:
            self._renew(owner, entry)
            cache.shrink(owner)
        except Exception as error:  # noqa: BLE001 - the next recall tries again
            logger.debug("an index was not brought up to date: %s", type(error).__name__)

    def _write(self, owner: str, entry: CachedIndex) -> None:
        try:
            if any(self._has_written(owner, entry) for _ in range(_TRIES)):
                return
        except (KronvexError, OSError, OverflowError) as error:
            logger.debug("no snapshot of an index was stored: %s", type(error).__name__)
        entry.save_from = time.monotonic() + _PAUSE_SECONDS

    def _has_written(self, owner: str, entry: CachedIndex) -> bool:
        if self._save is None or not _is_due(entry):
            return True
        self._renew(owner, entry)  # the turn that recalled has changed something since
        used, count = entry.index, entry.unsaved
        source = CachedIndex() if used.has_former else entry
        if source is not entry:  # erased words are in RAM, and go into no file
            self._renew(owner, source)
        with source.lock:
            index, state = source.index, source.state
            about = identity(self._agent_id, owner, state)
            made, changes = Snapshot.of(index, about, spare=self._spare), index.changes

        def is_unchanged() -> bool:
            with source.lock:
                return source.index is index and index.changes == changes

        replaces = entry.replaces or source.replaces
        stored = self._save(owner, state, made, is_unchanged, replaces=replaces)
        if stored:
            with entry.lock:
                entry.replaces = False
                entry.unsaved -= count if entry.index is used else 0
        return stored is not False

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all are written; return False if `timeout` seconds were not enough."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Wait a while for what is being written, and end the thread.

        What is not done by then is given up: the next process to open the store removes it.
        """
        if not self._writer.flush(_CLOSING_SECONDS):
            self._writer.discard(lambda _: True, 0)
        self._writer.close(0)


def _is_due(entry: CachedIndex) -> bool:
    memories = len(entry.index)
    is_behind = memories >= _LEAST_MEMORIES and entry.unsaved >= _BEHIND * memories
    return is_behind and time.monotonic() >= entry.save_from


def is_recent(memories: int, made: Snapshot) -> bool:
    """Return whether a snapshot of so many memories makes another one needless."""
    rows: int = made.header["facts"]["rows"][0]
    return memories > (1 - _BEHIND) * rows


def identity(agent_id: str, owner: str, state: State) -> dict[str, Any]:
    """Return what a snapshot is of. It holds no ids in clear text."""
    whose = hashlib.sha256(f"{agent_id}\0{owner}".encode("utf-8", "surrogatepass")).hexdigest()
    return {"owner": whose, "state": list(state)}


def opened(
    block: NDArray[np.uint8], agent_id: str, owner: str, state: State, name: str = ""
) -> tuple[State, ScopeIndex] | None:
    """Return the state and the index of a snapshot; None if it is not of this owner and store.

    Args:
        block: The bytes, which the index keeps and writes to.
        agent_id: The agent.
        owner: The owner.
        state: The present state of the owner's records.
        name: The name under which it was stored.
    """
    found = read(block)
    if found is None:
        return None
    about, index = found
    known = State(*about["state"])
    if about != identity(agent_id, owner, known) | ({"name": name} if name else {}):
        return None
    if known[:2] != state[:2] or known.revision > state.revision:
        return None
    return known, index
