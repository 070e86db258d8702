"""Export of all memories, or one user's, to a file, and import from a file into a store."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from langchain_kronvex.core import __version__
from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, KronvexError, NotSupported
from langchain_kronvex.core.progress import Progress, reporting
from langchain_kronvex.core.records import Record, Scope
from langchain_kronvex.core.types import MoveSummary
from langchain_kronvex.embeddings.model import EmbeddingModel
from langchain_kronvex.memory.engine import Engine, with_local_vectors
from langchain_kronvex.memory.transfer.files import File, Line, reading, writing
from langchain_kronvex.memory.transfer.format import (
    FORMAT,
    VERSION,
    Counts,
    Fields,
    check_footer,
    footer_fields,
    read_header,
    read_line,
    read_record,
    record_fields,
)

logger = logging.getLogger("langchain_kronvex")
MAX_BATCH_CHARS = 8 << 20
MAX_BATCH_RECORDS = 1000
_CUT_OFF = "The file ends at line {} and was cut off. Import it again when it is whole."
_SETTLE_SECONDS = 10.0  # for background writes, such as access counts


@dataclass(slots=True)
class Export:
    """One export to a file; see `KronvexMemory.export`.

    Raises:
        InvalidInput: a value does not fit; for `vectors`, there are no embeddings.
        NotSupported: `vectors` of a server.
    """

    engine: Engine
    file: File
    user_id: str | None
    vectors: bool
    progress: bool | Progress | None
    abandoned: bool = False
    model: EmbeddingModel | None = field(init=False)
    page_records: int = field(default=1000, kw_only=True)

    def __post_init__(self) -> None:
        checks.check_optional_id(self.user_id, "user_id")
        checks.check_flag(self.vectors, "vectors")
        self.model = self.engine.model.current if self.vectors else None
        if self.vectors and self.engine.backend.is_remote:
            raise NotSupported("vectors: a Kronvex server does not hand them out.")
        if self.vectors and self.model is None:
            raise InvalidInput("This memory was opened without embeddings; it has no vectors.")

    def complete(self) -> MoveSummary:
        """Write the file; return how many records are in it."""
        self.engine.writer.flush(_SETTLE_SECONDS)
        with reporting("export", self.progress) as tell, writing(self.file) as write:
            total = self._expected()
            write(
                {
                    "format": FORMAT,
                    "version": VERSION,
                    "agent_id": self.engine.agent_id,
                    "user_id": self.user_id,
                    "model": self.model.name if self.model else None,
                    "created_at": self.engine.clock().isoformat(),
                    "package": __version__,
                    "records": total,
                }
            )
            counts: Counts = Counter()
            tell(0, total)
            for page in self._pages():
                for record in page:
                    fields = record_fields(record)
                    if not self.engine.backend.is_remote or _is_valid(fields):
                        write(fields)
                        counts[record.kind] += 1
                tell(counts.total(), max(total, counts.total()))
                if self.abandoned:
                    raise KronvexError("The export was abandoned.")
            write(footer_fields(counts))
        return _summary(counts, counts.total())

    def _pages(self) -> Iterator[list[Record]]:
        model, position = self.model.name if self.model else None, 0
        last = self.engine.backend.last_position()  # others may write without end
        while position < last and (
            page := self.engine.backend.export_page(
                self.user_id, self.page_records, self.engine.clock(), after=position, model=model
            )
        ):
            position = page[-1][0]
            yield [record for place, record in page if place <= last]

    def _expected(self) -> int:
        """Return about how many records there are, without the items."""
        now = self.engine.clock()
        if self.user_id is None:
            stats = self.engine.backend.stats(now)
            return stats.memories + stats.messages
        sessions = self.engine.backend.sessions(Scope(self.user_id), now)
        return sum(session.memories + session.messages for session in sessions)


@dataclass(slots=True)
class Import:
    """One import from a file; see `KronvexMemory.import_`."""

    engine: Engine
    file: File
    progress: bool | Progress | None
    abandoned: bool = False
    batch_records: int = field(default=MAX_BATCH_RECORDS, kw_only=True)
    _header: Fields = field(default_factory=dict, init=False)
    _counts: Counts = field(default_factory=Counter, init=False)
    _width: int | None = field(default=None, init=False)

    def complete(self) -> MoveSummary:
        """Store the records of the file; return how many there are, and how many were new."""
        with reporting("import", self.progress) as tell, reading(self.file) as lines:
            number, text = next(lines, (1, ""))
            with _errors_name(number):
                self._header = read_header(read_line(text, complete=False) or {})
            done, stored, total = 0, 0, self._header["records"]
            tell(0, total)
            try:
                for batch in self._batches(lines):
                    stored += restore(self.engine, batch, self._header["model"])
                    done += len(batch)
                    tell(done, max(done, total))
                    if self.abandoned:
                        raise KronvexError("The import was abandoned.")
            except InvalidInput as error:
                raise InvalidInput(f"{error} {_imported_so_far(done, stored)}") from error
            finally:
                self.engine.embedder.wake()
            if done < total:  # some were erased while the file was written
                tell(done, done)
        return _summary(self._counts, stored)

    def _batches(self, lines: Iterator[Line]) -> Iterator[list[Record]]:
        """Return the records in batches; from a file that was cut off, those before the cut.

        Raises:
            InvalidInput: A line does not fit, or the file is not whole.
        """
        batch: list[Record] = []
        chars, number, fields = 0, 1, None
        for number, text in lines:
            with _errors_name(number):
                fields = read_line(text, complete=text.endswith("\n"))
                if fields is None or "end" in fields:
                    break
                batch.append(self._record(fields))
            chars += len(text)
            if len(batch) == self.batch_records or chars > MAX_BATCH_CHARS:
                yield batch
                batch, chars = [], 0
        yield batch
        if fields is None or "end" not in fields:
            raise InvalidInput(_CUT_OFF.format(number))
        with _errors_name(number):
            check_footer(fields, self._counts)
        for after, text in lines:
            if not text:  # a compressed file without its check sum
                raise InvalidInput(_CUT_OFF.format(after))
            raise InvalidInput(f"Line {after}: the file goes on after its last line.")

    def _record(self, fields: Fields) -> Record:
        record, user_id = read_record(fields), self._header["user_id"]
        if user_id is not None and (record.scope.owner != user_id or record.kind == "item"):
            raise InvalidInput(f"the header names the user {user_id!r}; this is another owner's.")
        if record.vector is not None:
            if self._header["model"] is None:
                raise InvalidInput("the record has a vector, but the header names no model.")
            self._width = self._width or len(record.vector)
            if len(record.vector) != self._width:
                raise InvalidInput(f"the vector has not {self._width} dimensions, as those before.")
        self._counts[record.kind] += 1
        return record


def restore(engine: Engine, batch: Sequence[Record], vectors_of: str | None = None) -> int:
    """Store records in one transaction, without those that have expired.

    Args:
        engine: The engine of the memory.
        batch: The records; vectors that the memory cannot use are left out.
        vectors_of: The name of the model of their vectors.

    Returns:
        How many of them were new.
    """
    now, model = engine.clock(), engine.model.current
    records = [record for record in batch if record.is_visible(now)]
    width = next((len(r.vector) for r in records if r.vector is not None), None)
    is_ours = model and vectors_of == model.name and model.width in (None, width)
    if width is not None and not is_ours:
        records = [replace(record, vector=None) for record in records]
    if not records:
        return 0
    complete, _ = with_local_vectors(model, records)
    return engine.backend.restore(complete, now, model.name if model else None)


@contextmanager
def _errors_name(number: int) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"Line {number}: {error}") from error


def _is_valid(fields: Fields) -> bool:
    """Return whether an import would accept a record; a server's may come from any client."""
    try:
        read_record(fields)
    except InvalidInput as error:
        logger.warning("left out of the export: record %.80r: %s", fields["id"], error)
        return False
    return True


def _summary(counts: Counts, stored: int) -> MoveSummary:
    memories, messages, items = counts["memory"], counts["message"], counts["item"]
    return MoveSummary(memories=memories, messages=messages, items=items, stored=stored)


def _imported_so_far(done: int, stored: int) -> str:
    if not done:
        return "Nothing was stored."
    return (
        f"The first {done:,} records are in, {stored:,} of them new; importing the corrected file "
        "adds what is missing."
    )
