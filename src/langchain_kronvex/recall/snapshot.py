"""An index as bytes, from which it is read again without computing anything.

The arrays follow each other as they are in RAM, each at a multiple of 64 bytes. Behind them are a
header in JSON, which says what is where, and a trailer. So a snapshot is read by making views of
it, and several processes that map one file into memory share it.

It is dropped rather than mended: whatever does not fit, in whatever way, is `None` when it is read.
"""

from __future__ import annotations

import functools
import json
import math
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall.arrays import columns
from langchain_kronvex.recall.arrays.names import Names
from langchain_kronvex.recall.arrays.postings import Postings
from langchain_kronvex.recall.arrays.table import Array, Layout, Parts, Sections, Table
from langchain_kronvex.recall.arrays.vectors import QuantizedVectors
from langchain_kronvex.recall.features import text_features
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.metadata import MetadataTable
from langchain_kronvex.recall.neighbours import Neighbours
from langchain_kronvex.recall.ranking import Form
from langchain_kronvex.recall.spelling import Spelling

# To be counted up with every change of what the arrays mean or how features are computed.
_FORMAT = 1
_MAGIC = b"KRNVIDX\n"
_TRAILER = struct.Struct("<QLL8s")  # size of the header, its checksum, that of the arrays, magic
_ALIGNED = 64
_PAGE = 4096
BLOCK_BYTES = 1 << 20
# Room for more memories in a file: until they are added, the arrays need not be copied.
_SPARE = 8
# Texts whose features change when a stemmer, a list of function words or a rule does.
_PROBE = (
    "Yesterday I was running to Lisbon's libraries, 3 times; wasn't it in March 2023?",
    "Gestern liefen die Kinder in den Häusern der Großmutter und spielten nicht mit uns.",
    "Hier, nous avons mangé les pommes dans la maison de ma sœur avec des amis.",
    "Ayer los niños jugaban en las casas de sus abuelos, y no quería ir con ellos.",
    "Вчера дети играли в домах, но мы не были там.",
    "昨日は東京で友達と会いました。我昨天没有去北京。",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An index that is to become bytes.

    Attributes:
        pieces: The bytes of all arrays, as arrays that follow each other. They are not copies.
        header: What is where, and what the snapshot is of.
    """

    pieces: list[Array]
    header: dict[str, Any]

    @classmethod
    def of(cls, index: ScopeIndex, about: dict[str, Any], *, spare: bool) -> Snapshot:
        """Describe an index.

        Args:
            index: The index. It may not change until the bytes are written.
            about: What identifies the snapshot, as JSON has it.
            spare: Whether there is to be room for more memories.
        """
        facts, parts = _taken_apart(index, len(index) // _SPARE if spare else 0)
        pieces: list[Array] = []
        places, end = {}, 0
        for name, arrays in parts.items():
            size = sum(array.nbytes for array in arrays)
            places[name] = end, size
            padding = -size % _ALIGNED
            pieces += [*arrays, np.zeros(padding, np.uint8)]
            end += size + padding
        pieces.append(np.zeros(-end % _PAGE, np.uint8))
        header = {"fingerprint": fingerprint(), "about": about, "facts": facts, "places": places}
        return cls(pieces, header)

    def blocks(self) -> Iterator[bytes]:
        """Yield all bytes; blocks of `BLOCK_BYTES`, and then the header with the trailer."""
        block, filled, sums = np.empty(BLOCK_BYTES, np.uint8), 0, [np.empty(0, np.uint64)]
        for piece in self.pieces:
            left = np.ascontiguousarray(piece).reshape(-1).view(np.uint8)
            while len(left):
                part, left = left[: BLOCK_BYTES - filled], left[BLOCK_BYTES - filled :]
                block[filled : filled + len(part)] = part
                filled += len(part)
                if filled == BLOCK_BYTES:
                    sums.append(_page_sums(block))
                    yield block.tobytes()
                    filled = 0
        sums.append(_page_sums(block[:filled]))
        yield block[:filled].tobytes()
        header = json.dumps(self.header).encode()
        checks = zlib.crc32(header), zlib.crc32(np.concatenate(sums).data)
        yield header + _TRAILER.pack(len(header), *checks, _MAGIC)


def read(block: NDArray[np.uint8]) -> tuple[dict[str, Any], ScopeIndex] | None:
    """Return what identifies a snapshot, and its index; None if it is damaged or of other code.

    Args:
        block: The bytes, which the index keeps and writes to.
    """
    try:
        header, arrays = _opened(block)
        if header["fingerprint"] != fingerprint():
            return None
        places = header["places"].items()
        sections = {name: arrays[start : start + size] for name, (start, size) in places}
        return header["about"], _put_together(header["facts"], sections)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error):
        return None


def _opened(block: NDArray[np.uint8]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    end = len(block) - _TRAILER.size
    size, of_header, of_arrays, magic = _TRAILER.unpack(block[max(end, 0) :].tobytes())
    text, arrays = block[max(end - size, 0) : end].tobytes(), block[: max(end - size, 0)]
    if magic != _MAGIC or zlib.crc32(text) != of_header:
        raise ValueError("damaged")
    if zlib.crc32(_page_sums(arrays).data) != of_arrays:
        raise ValueError("damaged")
    header: dict[str, Any] = json.loads(text)
    return header, arrays


def _page_sums(pages: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the sum of each page. The CRC-32 of these is several times as fast as that of all.

    Any changed bit changes the sum of its page, and any page that is lost or in the wrong place
    changes the CRC-32 of the sums.
    """
    sums: NDArray[np.uint64] = pages.view(np.uint64).reshape(-1, _PAGE // 8).sum(axis=1)
    return sums


@functools.cache
def fingerprint() -> str:
    """Return what two programs must have in common to read each other's snapshots."""
    found = text_features(_PROBE)
    terms = (found.terms.names, found.terms.term.tolist(), found.terms.text.tolist())
    layouts = [_described(each) for each in (columns.MEMORIES, columns.FIRST_WORDS, columns.TAILS)]
    text = repr((_FORMAT, sys.byteorder, layouts, terms, found.languages, found.first_words))
    return f"{zlib.crc32(text.encode()):08x}"


def _described(layout: Layout) -> list[tuple[str, str, float, int]]:
    return [
        (name, place.dtype.str, place.fill, math.prod(place.width))
        for name, place in layout.places.items()
    ]


def _taken_apart(index: ScopeIndex, spare: int) -> tuple[dict[str, Any], Parts]:
    """Return all that an index consists of: facts as JSON has them, and arrays."""
    vectors, near = index.vectors, index.neighbours
    parts: Parts = {
        "memories": index.table.pieces(spare),
        "first word counts": index.first_words.pieces(spare),
        "tails": near.tails.pieces(spare),
        **index.postings.parts("terms"),
        **index.replies.parts("terms of replies"),
        **index.codes.parts("codes"),
        **index.first_word_codes.parts("first words"),
        **index.metadata.texts.parts("metadata"),
        **(vectors.parts(spare) if vectors else {}),
    }
    facts = {
        "rows": [len(index), len(index.first_words), len(near.tails)],
        "last": int(index.table["seq"].max(initial=0)),
        "links": [near.conversations, near.links, near.borrowed_length],
        "languages": [[each, index.texts_in[each]] for each in index.languages],
        "forms": sorted(map(int, index.forms)),
        "rest": [index.soonest_expiry, index.has_superseded, index.own_lengths],
    }
    return facts, parts


def _put_together(facts: dict[str, Any], sections: Sections) -> ScopeIndex:
    """Return the index of some facts and arrays."""
    index, (rows, first_words, tails) = ScopeIndex(), facts["rows"]
    index.table = Table(columns.MEMORIES, sections["memories"], rows)
    words = Table(columns.FIRST_WORDS, sections["first word counts"], first_words)
    index.first_words, index.neighbours = words, Neighbours(index.table, words)
    index.neighbours.tails = Table(columns.TAILS, sections["tails"], tails)
    conversations, links, borrowed = facts["links"]
    index.neighbours.conversations, index.neighbours.links = conversations, links
    index.neighbours.borrowed_length = borrowed
    index.postings = Postings.read(sections, "terms")
    index.replies = Postings.read(sections, "terms of replies")
    index.spelling = Spelling(index.postings)
    index.codes = Names.read(sections, "codes")
    index.first_word_codes = Names.read(sections, "first words")
    index.metadata = MetadataTable(Names.read(sections, "metadata"))
    index.texts_in = Counter(dict(facts["languages"]))
    index.languages = {name: number for number, (name, _) in enumerate(facts["languages"])}
    index.forms = set(map(Form, facts["forms"]))
    index.soonest_expiry, index.has_superseded, index.own_lengths = facts["rest"]
    has_vectors = "vectors" in sections
    index.begin_with(QuantizedVectors.read(sections, rows) if has_vectors else None)
    return index
