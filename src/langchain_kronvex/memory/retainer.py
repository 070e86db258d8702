"""Erasing in the background: the bytes of deletions, and what a retention does not keep."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.errors import InvalidInput, NotSupported
from langchain_kronvex.core.records import LastUse, Page, Record, Scope, Selection
from langchain_kronvex.core.types import Retention
from langchain_kronvex.memory.recalling.recaller import AccessCounter
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.client_envelope import is_session_without_memories

if TYPE_CHECKING:
    from langchain_kronvex.memory.engine import Engine

logger = logging.getLogger("langchain_kronvex")

_FULL_PAUSE_SECONDS = 86_400.0  # from one run that looks at all owners to the next
_SLICE_SECONDS = 0.05  # of work, then of a pause, in which others write
_BATCH = 500  # memories deleted at once, while other writers of the owner or the file wait
_ERASE_AFTER_SECONDS = 0.5
# The pause before the next erasure, in durations of the last: writers have to wait during one.
_PAUSE_FACTOR = 20


class Eraser:
    """Erases many deletions at once.

    Because erasing rewrites the file, it is delayed a little; longer for larger files.

    Attributes:
        pause_seconds: The present delay.
    """

    def __init__(
        self, backend: MemoryBackend, writer: BackgroundWriter, clock: Callable[[], datetime]
    ) -> None:
        self._backend, self._writer, self._clock = backend, writer, clock
        self.pause_seconds = _ERASE_AFTER_SECONDS

    def wake(self) -> None:
        """Erase in the background; cheap enough to call after every deletion."""
        self._writer.submit("erasing", self._erase, once=True, delay_seconds=self.pause_seconds)

    def _erase(self) -> None:
        began = time.monotonic()
        self._backend.finish_erasing(self._clock())
        took = time.monotonic() - began
        self.pause_seconds = max(_ERASE_AFTER_SECONDS, took * _PAUSE_FACTOR)


@dataclass(slots=True)
class Retainer:
    """Deletes the memories of an agent that a retention does not keep.

    A run in the background looks at the owners that were written to since the last one. At opening,
    and then once a day, it looks at all of them, because memories also grow old by themselves.

    Args:
        backend: The store of the memories.
        retention: What is kept.
        writer: Runs the background work.
        accesses: Counts accesses, also those that the store does not know yet.
        clock: Returns the current time, as an aware datetime.
        erase: Called when memories were deleted in the background, to erase their bytes soon.
        closing: Set when the memory is being closed; then a run ends early.

    Attributes:
        pause_seconds: The least time from the beginning of one run to that of the next.
    """

    backend: MemoryBackend
    retention: Retention
    writer: BackgroundWriter
    accesses: AccessCounter
    clock: Callable[[], datetime]
    erase: Callable[[], None]
    closing: threading.Event
    pause_seconds: float = field(default=600.0, init=False)
    # Any thread may add to it, with methods that no other thread can interrupt.
    _owners: set[str] = field(default_factory=set, init=False)
    _batches: deque[tuple[str, Sequence[LastUse]]] = field(default_factory=deque, init=False)
    _taken: int = field(default=0, init=False)
    # Moments of `time.monotonic()`.
    _began: float = field(default=-math.inf, init=False)
    _all_due: float = field(default=-math.inf, init=False)

    def wake(self, owners: Iterable[str] = ()) -> None:
        """Note owners that were written to, and begin a run if the last was long enough ago.

        Cheap enough to call after every write.
        """
        self._owners.update(owners)
        if (now := time.monotonic()) - self._began >= self.pause_seconds:
            self._began = now
            self.writer.submit("retention", self._run, once=True)

    def unused(self) -> list[Record]:
        """Return the memories that are not kept, each owner's least recently used first."""
        return [record for owner, batch in self._all() for record in self._read(owner, batch)]

    def take(self) -> list[Record]:
        """Delete these memories, and return them; their bytes are still to be erased."""
        return [record for owner, batch in self._all() for record in self._take(owner, batch)]

    def _all(self) -> Iterator[tuple[str, Sequence[LastUse]]]:
        for owner in sorted(self.backend.owners("", self.clock())):
            yield from self._unused(owner)

    def _unused(self, owner: str) -> Iterator[tuple[str, Sequence[LastUse]]]:
        if is_session_without_memories(owner):  # chats and items of a server's clients
            return
        self.accesses.store()
        found = self.backend.unused(owner, self.retention, self.clock())
        for start in range(0, len(found), _BATCH):
            yield owner, found[start : start + _BATCH]

    def _read(self, owner: str, batch: Sequence[LastUse]) -> list[Record]:
        ids = tuple(each.id for each in batch)
        chosen = Selection(kind="memory", scope=Scope(owner or None), ids=ids)
        return _in_order(self.backend.find(chosen, Page(), self.clock()), batch)

    def _take(self, owner: str, batch: Sequence[LastUse]) -> list[Record]:
        return _in_order(self.backend.take(owner, batch, self.retention, self.clock()), batch)

    # -- in the background ---------------------------------------------------------------------

    def _run(self) -> None:
        """Work for a moment. What is left is done after other background work."""
        end = time.monotonic() + _SLICE_SECONDS
        if end > self._all_due:
            self._owners.update(self.backend.owners("", self.clock()))
            self._all_due = end + _FULL_PAUSE_SECONDS
        while self._batches or self._owners:
            self._step()
            if time.monotonic() > end:
                if self.closing.is_set():
                    break
                self.writer.submit("retention", self._run, once=True, delay_seconds=_SLICE_SECONDS)
                return
        if self._taken:
            logger.info("memories erased by the retention: %d", self._taken)
            self._taken = 0
            self.erase()

    def _step(self) -> None:
        """Delete one batch, or look at the next owner."""
        if self._batches:
            self._taken += len(self._take(*self._batches[0]))
            self._batches.popleft()  # only now: a job that fails is tried again
            return
        owner = self._owners.pop()
        try:
            self._batches.extend(self._unused(owner))
        except BaseException:
            self._owners.add(owner)
            raise


def expire(engine: Engine, *, dry_run: bool) -> list[Record]:
    """Erase what the retention of a memory does not keep; see `KronvexMemory.expire`."""
    if engine.backend.is_remote:
        raise NotSupported(
            "expire() needs a store of its own, sqlite:///path.db or postgresql://…: a Kronvex "
            "API does not say when a memory was last recalled."
        )
    if engine.retainer is None:
        raise InvalidInput(
            "This memory has no retention, so it keeps everything; open it with "
            "KronvexMemory(…, retention=Retention(max_memories=1000))."
        )
    if dry_run:
        return engine.retainer.unused()
    taken = engine.retainer.take()
    # Nothing is left to delete; this erases the bytes, and waits for others as `forget` does.
    engine.erase(Selection(kind="memory", scope=None, ids=()))
    return taken


def _in_order(records: Iterable[Record], batch: Iterable[LastUse]) -> list[Record]:
    by_id = {record.id: record for record in records}
    return [by_id[each.id] for each in batch if each.id in by_id]
