"""What is said to PostgreSQL, apart from how it gets there: statements, and the work made of them.

Work is a generator that holds the logic and does no I/O. It yields a statement, or several whose
answers it needs only together, and is sent the rows. One run of a piece of work is one
transaction; when the connection breaks it is run again from the beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from psycopg.adapt import Dumper
from psycopg.pq import Format

from langchain_kronvex.recall.ranking import Floats

Row = tuple[Any, ...]
Rows = list[Row]
T = TypeVar("T")
_RANGE, _LONGEST_RANGE = 5_000, 1_000_000  # numbers of records


class Statement(NamedTuple):
    """One statement; with `many`, the same for each of several rows of parameters."""

    sql: str
    parameters: Sequence[Any] = ()
    many: bool = False


Work = Generator[Statement | list[Statement], Any, T]


def in_order(after: int, part: Callable[[int, int], Statement]) -> Work[Rows]:
    """Return the first rows in the order of writing, across owners, without sorting them all.

    The records are asked for by ranges of their numbers, which a block-range index finds.

    Args:
        after: The number to begin after.
        part: Returns the statement for a range: after its first, up to its second number.
    """
    ((last,),) = yield Statement("SELECT last_value FROM langchain_kronvex.records_seq")
    size = _RANGE
    while after < last:
        found: Rows = yield part(after, after + size)
        if found:
            return found
        after, size = after + size, min(size * 2, _LONGEST_RANGE)
    return []


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """Work to be run as one transaction.

    Attributes:
        work: Makes the generator, a new one for each attempt.
        reach: The scopes that it touches, for row-level security; None for all.
        reads_once: It is one reading statement, or several that need not agree.
        is_quick: It is about so little that a server that says nothing for as long as the verb
            may wait is held up, rather than at work.
    """

    work: Callable[[], Work[T]]
    reach: tuple[str, ...] | None = None
    reads_once: bool = False
    is_quick: bool = False


def telling_retries(work: Callable[[bool], Work[T]]) -> Callable[[], Work[T]]:
    """Return what makes a job's work, which is told whether an attempt was broken off before.

    The connection may have broken while the end of the transaction was being confirmed.
    """
    attempts = count()
    return lambda: work(next(attempts) > 0)


def telling_the_most(
    work: Callable[[], Work[T]], count: Callable[[T], int]
) -> Callable[[], Work[T]]:
    """Return what makes a job's work, whose answer is that of the attempt which did the most.

    An attempt that was broken off at its very end may have done all: the next one then finds
    nothing left to do. Had it done nothing, the next one does and tells the same.
    """
    answers: list[T] = []

    def attempt() -> Work[T]:
        answers.append((yield from work()))
        return max(answers, key=count)

    return attempt


class Vector(NamedTuple):
    """A vector as a parameter; it travels as `real[]`, whose type every server knows."""

    values: Floats


class VectorDumper(Dumper):
    """Writes a vector in the binary form of a one-dimensional array.

    Number of dimensions, a flag for NULLs, type of the elements, length and lower bound, then each
    element after its size: what `array_recv` of the server reads.
    """

    oid = 1021  # float4[]
    format = Format.BINARY
    _ELEMENT = np.dtype([("size", ">i4"), ("value", ">f4")])

    def dump(self, obj: Vector) -> bytes:
        """Return the bytes of a vector."""
        cells = np.empty(len(obj.values), self._ELEMENT)
        cells["size"], cells["value"] = 4, obj.values
        return struct.pack(">5i", 1, 0, 700, len(cells), 1) + cells.tobytes()


def from_halfvec(sent: bytes) -> Floats:
    """Read what `halfvec_send` writes: the width, two unused bytes, 16-bit floats."""
    found: Floats = np.frombuffer(sent, ">f2", offset=4).astype(np.float32)
    return found
