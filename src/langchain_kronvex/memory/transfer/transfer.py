"""Moving house: all memories, or one user's, into a file, and from a file into a store."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, KronvexError, NotSupported
from langchain_kronvex.core.progress import Progress, reporting
from langchain_kronvex.core.types import MoveSummary, Scope
from langchain_kronvex.embeddings.model import EmbeddingModel
from langchain_kronvex.memory.engine import Engine
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
from langchain_kronvex.storage.backend import Record

logger = logging.getLogger("langchain_kronvex")
_PAGE_RECORDS = 1000
_SETTLE_SECONDS = 10.0  # for what waits to be written, such as access counts


@dataclass(slots=True)
class Export:
    """One export to a file; see `KronvexMemory.export`."""

    engine: Engine
    file: File
    user_id: str | None
    model: EmbeddingModel | None
    progress: bool | Progress | None
    abandoned: bool = False

    @classmethod
    def of(
        cls,
        engine: Engine,
        file: File,
        user_id: str | None,
        vectors: bool,
        progress: bool | Progress | None,
    ) -> Export:
        """Check what a caller asks for.

        Raises:
            InvalidInput: a value does not fit; for `vectors`, there are no embeddings.
            NotSupported: `vectors` of a server.
        """
        checks.check_optional_id(user_id, "user_id")
        model = engine.model.current if vectors else None
        if vectors and engine.backend.is_remote:
            raise NotSupported("vectors: a Kronvex server does not hand them out.")
        if vectors and model is None:
            raise InvalidInput("This memory was opened without embeddings; it has no vectors.")
        return cls(engine, file, user_id, model, progress)

    def complete(self) -> MoveSummary:
        """Write the file; return how many records are in it."""
        self.engine.writer.flush(_SETTLE_SECONDS)
        with writing(self.file) as write, reporting("export", self.progress) as tell:
            total = self._expected()
            write(header_fields(self._header(total)))
            counts: Counts = Counter()
            tell(0, total)
            for page in self._pages():
                self._write(page, write, counts)
                tell(sum(counts.values()), max(total, sum(counts.values())))
                _go_on(self.abandoned)
            write(footer_fields(counts))
        return _summary(counts, sum(counts.values()))

    def _write(self, page: Sequence[Record], write: Write, counts: Counts) -> None:
        for record in page:
            fields = record_fields(record)
            if self.engine.backend.is_remote and not _can_be_read(fields):
                continue
            write(fields)
            counts[record.kind] += 1

    def _pages(self) -> Iterator[list[Record]]:
        model, position = self.model.name if self.model else None, 0
        last = self.engine.backend.last_position()  # others may be writing without end
        while position < last and (
            page := self.engine.backend.export_page(
                self.user_id, _PAGE_RECORDS, self.engine.clock(), after=position, model=model
            )
        ):
            position = page[-1][0]
            yield [record for place, record in page if place <= last]

    def _expected(self) -> int:
        """Return about how many there are, without the items."""
        now = self.engine.clock()
        if self.user_id is None:
            stats = self.engine.backend.stats(now)
            return stats.memories + stats.messages
        found = self.engine.backend.sessions(Scope(self.user_id), now)
        return sum(session.memories + session.messages for session in found)

    def _header(self, total: int) -> Header:
        return Header(
            agent_id=self.engine.agent_id,
            user_id=self.user_id,
            model=self.model.name if self.model else None,
            created_at=self.engine.clock(),
            package=version("langchain-kronvex"),
            records=total,
        )


@dataclass(slots=True)
class Import:
    """One import from a file; see `KronvexMemory.import_`."""

    engine: Engine
    file: File
    progress: bool | Progress | None
    abandoned: bool = False
    _stored: int = field(default=0, init=False)

    def complete(self) -> MoveSummary:
        """Store what the file holds; return how many records it holds, and how many were new."""
        try:
            return self._complete()
        finally:
            self.engine.embedder.wake()

    def _complete(self) -> MoveSummary:
        with reading(self.file) as lines, reporting("import", self.progress) as tell:
            reader = ArchiveReader(lines)
            done, total = 0, reader.header.records
            tell(0, total)
            for batch in self._batches(reader):
                try:
                    self._stored += self._store(batch, reader.header)
                except InvalidInput as error:  # more than this place takes
                    raise InvalidInput(f"{error} {_taken_in(done, self._stored)}") from error
                done += len(batch)
                tell(done, max(done, total))
                _go_on(self.abandoned)
            if done < total:  # some were erased while the file was written
                tell(done, done)
        return _summary(reader.counts, self._stored)

    def _batches(self, reader: ArchiveReader) -> Iterator[list[Record]]:
        done = 0
        try:
            for batch in reader.batches():
                yield batch
                done += len(batch)
        except InvalidInput as error:
            raise InvalidInput(f"{error} {_taken_in(done, self._stored)}") from error

    def _store(self, batch: Sequence[Record], header: Header) -> int:
        now, model = self.engine.clock(), self.engine.model.current
        records = [r for r in batch if r.pinned or r.expires_at is None or r.expires_at > now]
        if model is None or not _are_comparable(records, header, model):
            records = [replace(r, vector=None) if r.vector is not None else r for r in records]
        if model is not None and model.is_local:
            records = _with_vectors(records, model)
        if not records:
            return 0
        return self.engine.backend.restore(records, now, model.name if model else None)


def _are_comparable(records: Sequence[Record], header: Header, model: EmbeddingModel) -> bool:
    """Return whether the vectors are like those of this memory's own embeddings."""
    width = next((len(r.vector) for r in records if r.vector is not None), None)
    return header.model == model.name and (width is None or model.width in (None, width))


def _go_on(abandoned: bool) -> None:
    if abandoned:
        raise KronvexError("The export or import was abandoned.")


def _can_be_read(fields: Fields) -> bool:
    """Tell whether an import would take a record; a server's may be by anybody, and of any form."""
    try:
        read_record(fields)
    except InvalidInput as error:
        logger.warning("left out of the export: %.80r, of which %s", fields["id"], error)
        return False
    return True


def _with_vectors(records: Sequence[Record], model: EmbeddingModel) -> list[Record]:
    """Return the records; memories that have no vector get one."""
    missing = [r for r in records if r.kind == "memory" and r.vector is None]
    if not missing:
        return list(records)
    vectors = model.document_vectors([record.found_by for record in missing])
    vector_of = {id(record): vector for record, vector in zip(missing, vectors, strict=True)}
    return [replace(r, vector=vector_of[id(r)]) if id(r) in vector_of else r for r in records]


def _summary(counts: Counts, stored: int) -> MoveSummary:
    return MoveSummary(
        memories=counts.get("memory", 0),
        messages=counts.get("message", 0),
        items=counts.get("item", 0),
        stored=stored,
    )


def _taken_in(done: int, stored: int) -> str:
    if not done:
        return "Nothing was stored."
    return (
        f"The first {done:,} records are in, {stored:,} of them new; to import the mended file "
        "adds what is missing."
    )
