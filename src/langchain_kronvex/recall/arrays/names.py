"""Distinct texts with numbers, such as the terms of a vocabulary."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, count, filterfalse, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.arrays.table import Parts, Sections

_LEAST_PACKED = 48  # texts
_FOUND_ENOUGH = 1_000  # from so many texts on, lookups are remembered
_MOST_FOUND = 20_000
_KNOWN_ALL = range(_FOUND_ENOUGH, 50_000)  # texts that were added here stay in a dictionary as well
_ADDED_BYTES = 150  # about, of a text that was added since, beyond the text
_MOST_BYTES = 2**32  # of all texts
_ENCODING = ("utf-8", "surrogatepass")


class Names:
    """Distinct texts, numbered in the order in which they were added.

    Most are packed: their UTF-8 follows each other in one block, and a hash table finds them. So a
    million texts are not a million objects, and none is made when they are read from a snapshot.
    Those added since are in a dictionary.

    Args:
        text: The block.
        numbers: How many texts there are, n; where each begins, and the last ends, n + 1 numbers;
            the numbers of all, by bucket of the hash table; where each bucket begins among these,
            and the last ends.
    """

    __slots__ = (
        "_added", "_buckets", "_chars", "_known", "_knows_all", "_mask", "_numbers", "_packed",
        "_text",
    )  # fmt: skip

    def __init__(
        self, text: bytes | memoryview = b"", numbers: NDArray[np.uint32] | None = None
    ) -> None:
        self._set_packed(text, _NONE if numbers is None else numbers.data)

    def _set_packed(self, text: bytes | memoryview, numbers: memoryview) -> None:
        self._text, self._numbers, self._packed = text, numbers, numbers[0]
        self._buckets = 2 * self._packed + 2
        self._mask = len(numbers) - self._buckets - 2
        self._added: list[str] = []
        self._known: dict[str, int] = {}  # the added ones, and what was looked up; -1 for none
        self._knows_all = not self._packed
        self._chars = 0

    @classmethod
    def read(cls, sections: Sections, prefix: str) -> Names:
        """Return names whose texts are in sections; see `parts`."""
        numbers = sections[f"{prefix} numbers"].view(np.uint32)
        return cls(sections[f"{prefix} text"].data, numbers)

    def parts(self, prefix: str) -> Parts:
        """Return the texts as arrays.

        Raises:
            OverflowError: they take more than 4 GiB.
        """
        self._pack()
        if self._added:
            raise OverflowError("The texts take more than 4 GiB.")
        numbers = np.asarray(self._numbers).astype(np.uint32, copy=False)
        text = np.frombuffer(self._text, np.uint8)
        return {f"{prefix} text": [text], f"{prefix} numbers": [numbers]}

    def __len__(self) -> int:
        return self._packed + len(self._added)

    @property
    def nbytes(self) -> int:
        """About how many bytes they take."""
        packed = len(self._text) + self._numbers.nbytes - _NONE.nbytes
        return packed + self._chars + _ADDED_BYTES * len(self._known)

    def __getitem__(self, number: int) -> str:
        if number >= self._packed:
            return self._added[number - self._packed]
        return str(self._text[self._numbers[number + 1] : self._numbers[number + 2]], *_ENCODING)

    def after(self, number: int) -> Iterator[str]:
        """Yield the texts from a number on."""
        return map(self.__getitem__, range(number, len(self)))

    def bytes_after(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """Return the UTF-8 of the texts from a number on, and where each begins."""
        starts = np.asarray(self._numbers)[1 : self._packed + 2].astype(np.intp)
        added = [text.encode(*_ENCODING) for text in self._added]
        ends = list(accumulate(map(len, added), initial=int(starts[-1])))
        starts = np.append(starts, np.array(ends[1:], np.intp))
        first = starts[number]
        every = np.frombuffer(b"".join([self._text, *added]), np.uint8)
        return every[first:], starts[number:-1] - first

    def get(self, text: str, default: int = -1) -> int:
        """Return the number of a text."""
        number = self._known.get(text)
        if number is None:
            number = -1 if self._knows_all else self._look_up(text)
        return default if number < 0 else number

    def _look_up(self, text: str) -> int:
        packed, numbers, found = self._packed, self._numbers, -1
        encoded = text.encode(*_ENCODING)
        bucket = (zlib.crc32(encoded) & self._mask) + self._buckets
        for place in range(numbers[bucket], numbers[bucket + 1]):
            number = numbers[packed + 2 + place]
            if self._text[numbers[number + 1] : numbers[number + 2]] == encoded:
                found = number
        if packed >= _FOUND_ENOUGH:  # for the next time
            if len(self._known) - len(self._added) >= _MOST_FOUND:
                self._known = {each: n for n, each in enumerate(self._added, packed)}
            self._known[text] = found
        return found

    def number(self, text: str) -> int:
        """Return the number of a text, which is added if it is new."""
        number = self.get(text)
        if number < 0:
            number = len(self)
            self._known[text] = number
            self._added.append(text)
            self._chars += len(text)
        return number

    def numbers(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the numbers of texts; new ones are added."""
        if not self._knows_all:
            return list(map(self.number, texts))
        known = self._known
        fresh = dict.fromkeys(filterfalse(known.__contains__, texts))
        known.update(zip(fresh, count(len(self)), strict=False))
        self._added += fresh
        self._chars += sum(map(len, fresh))
        return list(map(known.__getitem__, texts))

    def pack(self) -> None:
        """Pack the texts, if enough were added to be worth it."""
        if len(self._added) >= max(_LEAST_PACKED, self._packed // 4):
            self._pack()

    def _pack(self) -> None:
        if not self._added:
            return
        added = [text.encode(*_ENCODING) for text in self._added]
        ends = list(accumulate(map(len, added), initial=len(self._text)))[1:]
        if ends[-1] >= _MOST_BYTES:
            return
        starts = np.asarray(self._numbers)[1 : self._packed + 2].tolist()
        earlier = (self._text[start:end] for start, end in pairwise(starts))
        hashes = np.fromiter(map(zlib.crc32, chain(earlier, added)), np.int64, len(self))
        buckets = 1 << max(len(self) - 1, 1).bit_length()
        bucket = hashes & (buckets - 1)
        order = np.argsort(bucket, kind="stable")
        filled = np.bincount(bucket, minlength=buckets).cumsum()
        numbers = np.concatenate([[len(self)], starts, ends, order, [0], filled])
        known = self._known
        self._set_packed(b"".join([self._text, *added]), packed_numbers(numbers))
        if self._packed in _KNOWN_ALL and len(known) == self._packed:
            self._known, self._knows_all = known, True


def packed_numbers(numbers: NDArray[Any]) -> memoryview:
    """Return numbers from 0 to 2^32 - 1 in two bytes each if they fit, else in four."""
    is_small = numbers.max(initial=0) < 1 << 16
    return numbers.astype(np.uint16 if is_small else np.uint32).data


_NONE = np.array([0, 0, 0], np.uint16).data
