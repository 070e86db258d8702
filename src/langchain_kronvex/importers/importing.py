"""One import of another project's file into a memory, and its report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import ConfigurationError, InvalidInput
from langchain_kronvex.core.messages import decode_message, encode_message
from langchain_kronvex.core.records import Record
from langchain_kronvex.core.validation import checked_names
from langchain_kronvex.importers.chatgpt import read_chatgpt
from langchain_kronvex.importers.entries import Asked, Entry, Found, Misfit, attempted
from langchain_kronvex.importers.kronvex import read_kronvex
from langchain_kronvex.importers.langgraph import read_langgraph
from langchain_kronvex.importers.mem0 import read_mem0
from langchain_kronvex.importers.zep import read_zep
from langchain_kronvex.memory.before_save import BeforeSave
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.namespaced_items import AGENT_SUFFIX
from langchain_kronvex.memory.scope_from_config import check_memory
from langchain_kronvex.memory.transfer.files import File
from langchain_kronvex.memory.transfer.transfer import MAX_BATCH_CHARS, MAX_BATCH_RECORDS, restore

SOURCES: dict[str, Callable[[File, Asked], Found]] = {
    "mem0": read_mem0,
    "langgraph": read_langgraph,
    "zep": read_zep,
    "chatgpt": read_chatgpt,
    "kronvex": read_kronvex,
}
_SETTLE_SECONDS = 60.0  # for background work; the next opening goes on with it
_FIRST = 20  # misfits that a report shows
_MOST_REASONS = 50
_OTHER_REASONS = "other reasons"
_REPEATED = "its id was in the file before; the first one counts."


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import has done, or would do.

    Attributes:
        source: The project that the file comes from.
        dry_run: Whether nothing was to be stored.
        memories: How many memories fit.
        messages: How many chat messages fit.
        items: How many items of LangGraph fit.
        stored: How many of all these were new; 0 for a dry run.
        left_out: How many things of the file did not fit, or only in part.
        reasons: How many for each reason.
        first: The first 20 of them.
    """

    source: str
    dry_run: bool
    memories: int
    messages: int
    items: int
    stored: int
    left_out: int
    reasons: Mapping[str, int]
    first: Sequence[Misfit]


@checked_names
def import_from(
    memory: KronvexMemory | None,
    source: str,
    file: File,
    *,
    user_id: str | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Store what another project has remembered; importing again stores nothing twice.

    Times, users and ids are kept; the metadata says `imported_from` and `source_id`. What is stored
    already stays as it is, also if its source has changed since. What does not fit is left out and
    reported; the rest is stored. If the import is interrupted, even by `kill -9`, the next import
    of the same file adds what is missing.

    The items of LangGraph go where `KronvexStore(memory)` finds them, under their namespaces and
    keys. Everything else becomes memories and chat histories of the users that the file names.

    Args:
        memory: Where to store. With `dry_run` it may be None.
        source: `mem0`, `langgraph`, `zep`, `chatgpt` or `kronvex`, a Kronvex API's own export.
        file: A path, also of a compressed file; or an open stream. For `langgraph`, the path of a
            SQLite file, or a `postgresql://` URL. Of a list, one value at a time is in memory; any
            other document is read whole.
        user_id: The user of what names none. A ChatGPT export needs one.
        dry_run: Only report; nothing is stored.

    Raises:
        InvalidInput: there is no such file, it is damaged, or not one of this source. What stands
            before the damage is stored.
        OSError: the file cannot be read.
        StoreError: the store failed.
    """
    if source not in SOURCES:
        raise InvalidInput(f"source must be one of {', '.join(SOURCES)}.")
    checks.check_optional_id(user_id, "user_id")
    checks.check_flag(dry_run, "dry_run")
    if memory is not None or not dry_run:
        check_memory(memory)
    before_save = BeforeSave(None) if memory is None else memory.engine.before_save
    asked = Asked(user_id, _written_at(file), _name(file), before_save)
    with _target(None if dry_run else memory, source) as target:
        run = _Run(source, target, before_save)
        try:
            run.take(SOURCES[source](file, asked))
        except InvalidInput as error:
            run.store()
            if not run.fitting():
                raise
            raise InvalidInput(
                f"{error} The {run.fitting():,} records before it are in; importing the corrected "
                "file adds what is missing."
            ) from error
        run.store()
    return run.report()


@contextmanager
def _target(memory: KronvexMemory | None, source: str) -> Iterator[KronvexMemory | None]:
    """Provide the memory that stores the records of a source."""
    if memory is None or source != "langgraph":
        yield memory
        return
    if memory.engine.url == "sqlite://":
        raise ConfigurationError(
            "A memory in RAM (sqlite://) does not keep items for a KronvexStore. Use a file: "
            "sqlite:///memory.db"
        )
    with memory.for_agent(f"{memory.agent_id}{AGENT_SUFFIX}", retention=None) as items:
        yield items
        items.flush(_SETTLE_SECONDS)


def _written_at(file: File) -> datetime:
    if isinstance(file, str | os.PathLike) and os.path.isfile(file):
        return datetime.fromtimestamp(os.stat(file).st_mtime, timezone.utc)
    return datetime.now(timezone.utc)


def _name(file: File) -> str:
    return Path(file).name.partition(".")[0] if isinstance(file, str | os.PathLike) else ""


@dataclass(slots=True)
class _Run:
    source: str
    memory: KronvexMemory | None
    before_save: BeforeSave
    _batch: list[Record] = field(default_factory=list)
    _chars: int = 0
    _seen: set[str] = field(default_factory=set)
    _counts: Counter[str] = field(default_factory=Counter)
    _stored: int = 0
    _reasons: Counter[str] = field(default_factory=Counter)
    _first: list[Misfit] = field(default_factory=list)

    def take(self, found: Found) -> None:
        """Take in everything that is found; it is stored in batches."""
        for each in found:
            if isinstance(each, Misfit):
                self._note(each)
                continue
            # A refused text is only a mark in its chat, but no memory.
            made = [
                attempted(record.kind, each.where, partial(self._as_saved, record))
                for record in each.records
            ]
            for refused in made:
                if isinstance(refused, Misfit):
                    self._note(refused)
            self._add(each, [record for record in made if not isinstance(record, Misfit)])

    def store(self) -> None:
        """Store the present batch."""
        if self.memory is not None and self._batch:
            self._stored += restore(self.memory.engine, self._batch)
            self.memory.engine.embedder.wake()
        self._batch, self._chars = [], 0

    def report(self) -> ImportReport:
        """Return what has been done."""
        memories, messages, items = (self._counts[n] for n in ("memory", "message", "item"))
        return ImportReport(
            source=self.source, dry_run=self.memory is None, memories=memories, messages=messages,
            items=items, stored=self._stored, left_out=self._reasons.total(),
            reasons=dict(self._reasons.most_common()), first=tuple(self._first),
        )  # fmt: skip

    def fitting(self) -> int:
        """Return how many records have fitted."""
        return self._counts.total()

    def _add(self, entry: Entry, records: Sequence[Record]) -> None:
        new = [record for record in records if record.id not in self._seen]
        if len(new) < len(records):
            self._note(Misfit(entry.what, entry.where, _REPEATED))
        self._seen.update(record.id for record in new)
        self._counts.update("item" if entry.what == "item" else record.kind for record in new)
        self._batch += new
        self._chars += sum(len(record.content) for record in new)
        if len(self._batch) >= MAX_BATCH_RECORDS or self._chars > MAX_BATCH_CHARS:
            self.store()

    def _note(self, misfit: Misfit) -> None:
        is_known = misfit.reason in self._reasons or len(self._reasons) < _MOST_REASONS
        self._reasons[misfit.reason if is_known else _OTHER_REASONS] += 1
        if len(self._first) < _FIRST:
            self._first.append(misfit)

    def _as_saved(self, record: Record) -> Record:
        """Return a record as the memory's `before_save` lets it be stored."""
        if self.before_save.function is None or self.source == "langgraph":  # asked by its reader
            return record
        if record.kind == "memory":
            return self.before_save.memory(record)
        message = self.before_save.message(decode_message(record.content))
        return replace(record, content=encode_message(message))
