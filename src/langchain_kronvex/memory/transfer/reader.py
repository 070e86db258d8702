"""Reading an export: from its lines to batches of records, and errors that name the line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.memory.transfer.files import Line
from langchain_kronvex.memory.transfer.format import (
    Counts,
    Fields,
    check_footer,
    read_header,
    read_line,
    read_record,
)
from langchain_kronvex.storage.backend import Record

_BATCH_CHARS = 8 << 20
_CUT_OFF = "The file ends at line {} and was cut off. Import it again when it is whole."


@dataclass(slots=True)
class ArchiveReader:
    """Reads an export once, from its beginning to its end.

    Args:
        lines: The lines of the file.

    Attributes:
        header: The first line.
        counts: How many records of each kind were read so far.

    Raises:
        InvalidInput: The file is not an export, or of a later version.
    """

    lines: Iterator[Line]
    header: Fields = field(init=False)
    counts: Counts = field(init=False, default_factory=Counter)
    _width: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        line = next(self.lines, Line(1, "", complete=False))
        with _errors_name(line):
            self.header = read_header(read_line(line.text, complete=False) or {})

    def batches(self, size: int) -> Iterator[list[Record]]:
        """Return the records in batches; from a file that was cut off, those before the cut.

        Args:
            size: How many records a batch holds at most.

        Raises:
            InvalidInput: A line does not fit, or the file is not whole.
        """
        batch: list[Record] = []
        chars, line, fields = 0, Line(1, "", complete=True), None
        for line in self.lines:
            with _errors_name(line):
                fields = read_line(line.text, complete=line.complete)
                if fields is None or "end" in fields:
                    break
                batch.append(self._record(fields))
            chars += len(line.text)
            if len(batch) == size or chars > _BATCH_CHARS:
                yield batch
                batch, chars = [], 0
        yield batch
        if fields is None or "end" not in fields:
            raise InvalidInput(_CUT_OFF.format(line.number))
        with _errors_name(line):
            check_footer(fields, self.counts)
        after = next(self.lines, None)
        if after is not None and not after.text:  # a compressed file without its check sum
            raise InvalidInput(_CUT_OFF.format(after.number))
        if after is not None:
            raise InvalidInput(f"Line {after.number}: the file goes on after its last line.")

    def _record(self, fields: Fields) -> Record:
        record, user_id = read_record(fields), self.header["user_id"]
        if user_id is not None and (record.scope.owner != user_id or record.kind == "item"):
            raise InvalidInput(f"the header names the user {user_id!r}; this is another owner's.")
        if record.vector is not None:
            if self.header["model"] is None:
                raise InvalidInput("the record has a vector, but the header names no model.")
            self._width = self._width or len(record.vector)
            if len(record.vector) != self._width:
                raise InvalidInput(f"the vector has not {self._width} dimensions, as those before.")
        self.counts[record.kind] += 1
        return record


@contextmanager
def _errors_name(line: Line) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"Line {line.number}: {error}") from error
