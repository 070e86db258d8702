"""Reading an export: from its lines to batches of records, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.memory.transfer.files import Line
from langchain_kronvex.memory.transfer.format import (
    Counts,
    DamagedLine,
    Fields,
    Header,
    check_footer,
    is_footer,
    read_header,
    read_line,
    read_record,
)
from langchain_kronvex.storage.backend import Record

BATCH_RECORDS = 1000
_BATCH_CHARS = 8 << 20
_CUT_OFF = (
    "The file ends at line {number} before its end: it was cut off. Import it again when it is "
    "whole."
)


@dataclass(slots=True)
class ArchiveReader:
    """Reads an export once, from its beginning to its end.

    Args:
        lines: Of the file.

    Attributes:
        header: What the first line says.
        counts: How many records of each kind were read.

    Raises:
        InvalidInput: the file is no export, or of a later version.
    """

    lines: Iterator[Line]
    header: Header = field(init=False)
    counts: Counts = field(init=False, default_factory=Counter)
    _width: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        line = next(self.lines, None)
        try:
            self.header = read_header(read_line(line.text if line else ""))
        except DamagedLine as error:
            raise InvalidInput("Line 1: the file is no export of this package.") from error
        except InvalidInput as error:
            raise InvalidInput(f"Line 1: {error}") from error

    def batches(self) -> Iterator[list[Record]]:
        """Give the records, some at a time; those of a file that was cut off, as far as it goes.

        Raises:
            InvalidInput: a line does not fit, or the file is not whole; the message says where.
        """
        batch: list[Record] = []
        chars = number = 0
        for line in self.lines:
            number = line.number
            fields = self._fields(line)
            if fields is None:
                break
            if is_footer(fields):
                yield batch
                self._end(line, fields)
                return
            batch.append(self._record(line, fields))
            chars += len(line.text)
            if len(batch) == BATCH_RECORDS or chars > _BATCH_CHARS:
                yield batch
                batch, chars = [], 0
        yield batch
        raise InvalidInput(_CUT_OFF.format(number=number or 1))

    def _fields(self, line: Line) -> Fields | None:
        """Return the object of a line; None for one that was cut off."""
        try:
            return read_line(line.text)
        except DamagedLine as error:
            if not line.complete:
                return None
            raise InvalidInput(f"Line {line.number}: {error}") from error
        except InvalidInput as error:
            raise InvalidInput(f"Line {line.number}: {error}") from error

    def _record(self, line: Line, fields: Fields) -> Record:
        try:
            record = read_record(fields)
            self._check_place(record)
        except InvalidInput as error:
            raise InvalidInput(f"Line {line.number}: {error}") from error
        self.counts[record.kind] = self.counts.get(record.kind, 0) + 1
        return record

    def _check_place(self, record: Record) -> None:
        """Refuse a record that does not belong into this file."""
        user_id = self.header.user_id
        if user_id is not None and (record.scope.owner != user_id or record.kind == "item"):
            raise InvalidInput(
                f"the header says that everything is the user's {user_id!r}; this is not."
            )
        if record.vector is None:
            return
        if self.header.model is None:
            raise InvalidInput("the header names no model, so whose vector this is is unknown.")
        self._width = self._width or len(record.vector)
        if len(record.vector) != self._width:
            raise InvalidInput(
                f"its vector has {len(record.vector)} dimensions, those before have {self._width}."
            )

    def _end(self, line: Line, fields: Fields) -> None:
        try:
            check_footer(fields, self.counts)
        except InvalidInput as error:
            raise InvalidInput(f"Line {line.number}: {error}") from error
        after = next(self.lines, None)
        if after is not None and not after.text:  # of a compressed file, the check sum is missing
            raise InvalidInput(_CUT_OFF.format(number=after.number))
        if after is not None:
            raise InvalidInput(f"Line {after.number}: the file goes on after its last line.")
