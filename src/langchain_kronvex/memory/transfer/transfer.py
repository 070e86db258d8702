"""Export of all memories, or one user's, to a file, and import from a file into a store."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from os import PathLike
from typing import IO

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.effects import Plan, both, call, run
from langchain_kronvex.core.errors import InvalidInput, KronvexError, NotSupported
from langchain_kronvex.core.progress import Progress, reporting
from langchain_kronvex.core.types import MoveSummary, Scope
from langchain_kronvex.embeddings.model import EmbeddingModel
from langchain_kronvex.memory.engine import OpenMemory
from langchain_kronvex.memory.transfer.files import File, Write, reading, writing
from langchain_kronvex.memory.transfer.format import (
    Counts,
    Fields,
    Header,
    footer_fields,
    header_fields,
    read_record,
    record_fields,
)
from langchain_kronvex.memory.transfer.reader import ArchiveReader
from langchain_kronvex.storage.backend import MemoryBackend, Record

logger = logging.getLogger("langchain_kronvex")
_SETTLE_SECONDS = 10.0  # for what waits to be written, such as access counts


@dataclass(slots=True)
class Move:
    """One export or import, which runs in one thread; in the async colour, in one of its own."""

    backend: MemoryBackend
    file: File
    clock: Callable[[], datetime]
    progress: bool | Progress | None
    _abandoned: bool = field(default=False, init=False)

    def complete(self) -> MoveSummary:
        """Move everything."""
        raise NotImplementedError

    async def acomplete(self) -> MoveSummary:
        """Twin of `complete`; when it is cancelled, the work ends with the batch under way."""
        try:
            return await asyncio.to_thread(self.complete)
        finally:
            self._abandoned = True

    def _go_on(self) -> None:
        if self._abandoned:
            raise KronvexError("The export or import was abandoned.")


@dataclass(slots=True)
class Export(Move):
    """An export to a file."""

    agent_id: str
    user_id: str | None
    model: EmbeddingModel | None
    page_records: int = field(default=1000, kw_only=True)

    def complete(self) -> MoveSummary:
        """Write the file; return how many records are in it."""
        with reporting("export", self.progress) as tell, writing(self.file) as write:
            total = self._expected()
            write(header_fields(self._header(total)))
            counts: Counts = Counter()
            tell(0, total)
            for page in self._pages():
                self._write(page, write, counts)
                tell(sum(counts.values()), max(total, sum(counts.values())))
                self._go_on()
            write(footer_fields(counts))
        return _summary(counts, sum(counts.values()))

    def _write(self, page: Sequence[Record], write: Write, counts: Counts) -> None:
        for record in page:
            fields = record_fields(record)
            if self.backend.is_service and not _is_valid(fields):
                continue
            write(fields)
            counts[record.kind] += 1

    def _pages(self) -> Iterator[list[Record]]:
        model, position = self.model.name if self.model else None, 0
        last = self.backend.last_position()  # others may write without end
        while position < last and (
            page := self.backend.export_page(
                self.user_id, self.page_records, self.clock(), after=position, model=model
            )
        ):
            position = page[-1][0]
            yield [record for place, record in page if place <= last]

    def _expected(self) -> int:
        """Return about how many records there are, without the items."""
        now = self.clock()
        if self.user_id is None:
            stats = self.backend.stats(now)
            return stats.memories + stats.messages
        found = self.backend.sessions(Scope(self.user_id), now)
        return sum(session.memories + session.messages for session in found)

    def _header(self, total: int) -> Header:
        return Header(
            agent_id=self.agent_id,
            user_id=self.user_id,
            model=self.model.name if self.model else None,
            created_at=self.clock(),
            package=version("langchain-kronvex"),
            records=total,
        )


@dataclass(slots=True)
class Import(Move):
    """An import from a file."""

    model: EmbeddingModel | None
    batch_records: int = field(default=1000, kw_only=True)

    def complete(self) -> MoveSummary:
        """Store the records of the file; return how many there are, and how many were new."""
        with reporting("import", self.progress) as tell, reading(self.file) as lines:
            reader = ArchiveReader(lines)
            done, stored, total = 0, 0, reader.header.records
            tell(0, total)
            try:
                for batch in reader.batches(self.batch_records):
                    stored += self._store(batch, reader.header.model)
                    done += len(batch)
                    tell(done, max(done, total))
                    self._go_on()
            except InvalidInput as error:
                raise InvalidInput(f"{error} {_imported_so_far(done, stored)}") from error
            if done < total:  # some were erased while the file was written
                tell(done, done)
        return _summary(reader.counts, stored)

    def _store(self, batch: Sequence[Record], maker: str | None) -> int:
        """Store a batch whose vectors are of the model `maker`; return how many were new."""
        now, model = self.clock(), self.model
        records = [r for r in batch if r.pinned or r.expires_at is None or r.expires_at > now]
        width = next((len(r.vector) for r in records if r.vector is not None), None)
        is_ours = model and maker == model.name and model.width in (None, width)
        if width is not None and not is_ours:
            records = [replace(record, vector=None) for record in records]
        if model is not None and model.instant:
            records = _with_vectors(records, model)
        if not records:
            return 0
        return self.backend.restore(records, now, model.name if model else None)


class MemoryMoving(OpenMemory):
    """Exports and imports the memories of an open memory."""

    def _export(
        self,
        file: str | PathLike[str] | IO[str] | IO[bytes],
        *,
        user_id: str | None = None,
        vectors: bool = False,
        progress: bool | Progress | None = None,
    ) -> Plan[MoveSummary]:
        """Write everything of this agent, or of one user, to a file of JSON lines.

        Memories, chat histories and key-value items go with their ids, times, pins, metadata and
        access counts, in the order of writing; any `KronvexMemory` can `import_` them. What
        others write meanwhile is not in it, what they change may be. Of a server, what its API
        can say; what does not fit into a memory is left out, and logged.

        Args:
            file: A path: the file appears there when it is complete, readable by its owner alone,
                compressed when the name ends in `.gz`. Or an open stream, text or binary.
            user_id: The memories and chat histories of this user alone.
            vectors: With the vectors, so that an import with the same embeddings need not
                compute them; makes the file some 1.1 KB larger for each memory.
            progress: True draws a bar on stderr (extra: `progress`), False none, None one if stderr
                is a terminal and tqdm is installed; or a function that is called with (records
                done, records in all).

        Returns:
            How many of each kind were written.

        Raises:
            InvalidInput: a value does not fit; for `vectors`, there are no embeddings.
            NotSupported: `vectors` of a server.
            OSError: the file cannot be written.
            StoreError: the store failed.
        """
        checks.check_optional_id(user_id, "user_id")
        model = self._model.current if vectors else None
        if vectors and self._backend.is_service:
            raise NotSupported("vectors: a Kronvex server keeps them to itself.")
        if vectors and model is None:
            raise InvalidInput("This memory was opened without embeddings; it has no vectors.")
        yield call(self.writer, "flush", _SETTLE_SECONDS)
        work = Export(self._backend, file, self._clock, progress, self.agent_id, user_id, model)
        summary: MoveSummary = yield call(work, "complete")
        return summary

    def _import_(
        self,
        file: str | PathLike[str] | IO[str] | IO[bytes],
        *,
        progress: bool | Progress | None = None,
    ) -> Plan[MoveSummary]:
        """Store what `export` wrote, as it was; doing so again changes nothing.

        What is there already is left alone; where the same text of the same type is there in the
        same scope, its dates are renewed. An id that stands for something else in this store,
        such as another agent's memory, stays that one's: the imported record gets a new id, the
        same one each time. What has expired is passed over. When it is broken off, even by
        `kill -9`, the next import of the same file adds what is missing.

        Args:
            file: A path, also of a compressed file; or an open stream, text or binary.
            progress: As for `export`.

        Returns:
            How many of each kind were read, and how many of them were new.

        Raises:
            InvalidInput: the file is no export, of a later version, not whole, or holds what does
                not fit. The message names the line, and says what was taken in before.
            OSError: the file cannot be read.
            StoreError: the store failed.
        """
        model = self._model.current
        work = Import(self._backend, file, self._clock, progress, model)
        try:
            summary: MoveSummary = yield call(work, "complete")
        finally:
            self._embedder.wake()
        return summary

    export, aexport = both(_export)
    import_, aimport_ = both(_import_)


def _is_valid(fields: Fields) -> bool:
    """Return whether an import would accept a record; a server's may come from any client."""
    try:
        read_record(fields)
    except InvalidInput as error:
        logger.warning("left out of the export: record %.80r: %s", fields["id"], error)
        return False
    return True


def _with_vectors(records: Sequence[Record], model: EmbeddingModel) -> list[Record]:
    """Return the records; memories that have no vector get one."""
    missing = [r for r in records if r.kind == "memory" and r.vector is None]
    if not missing:
        return list(records)
    vectors = run(model.document_vectors([record.found_by for record in missing]))
    vector_of = {id(record): vector for record, vector in zip(missing, vectors, strict=True)}
    return [replace(r, vector=vector_of[id(r)]) if id(r) in vector_of else r for r in records]


def _summary(counts: Counts, stored: int) -> MoveSummary:
    return MoveSummary(
        memories=counts.get("memory", 0),
        messages=counts.get("message", 0),
        items=counts.get("item", 0),
        stored=stored,
    )


def _imported_so_far(done: int, stored: int) -> str:
    if not done:
        return "Nothing was stored."
    return (
        f"The first {done:,} records are in, {stored:,} of them new; importing the corrected file "
        "adds what is missing."
    )
